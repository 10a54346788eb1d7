"""Reads sound that arrives in pieces, raw or in a WAV file, as samples. No I/O."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.audio import StreamResampler
from pipeline.types import Pcm16

_RIFF = (b"RIFF", b"RF64")
_CODECS = {b"ID3": "MP3", b"OggS": "Ogg", b"fLaC": "FLAC", b"\x1aE\xdf\xa3": "WebM"}
_MAGIC = (*_RIFF, *_CODECS)
_TEXT_TYPES = ("text/", "application/json", "application/problem+json", "application/xml")
_MPEG_TYPES = ("audio/mpeg", "audio/mp3", "audio/aac")
_UNKNOWN_SIZE = 0x7FFF_0000
"""Whoever writes a WAV before its length is known says 0, or about this or more."""
_LONGEST_HEADER = 2**16
_ENOUGH = 64
"""Bytes by which text is told from sound: as samples, that many printable bytes would be a howl."""

_PRINTABLE = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n") | frozenset(range(0x80, 0x100))

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


class NotSoundError(Exception):
    """What arrives is not sound that can be read; the message says what it is."""


class TextInsteadError(NotSoundError):
    """It is text, such as an error or a web page. `head` is what was read of it."""

    def __init__(self, head: bytes) -> None:
        super().__init__("text")
        self.head = head


def _from_24_bits(data: bytes) -> Pcm16:
    upper = np.frombuffer(data, np.uint8).reshape(-1, 3)[:, 1:].tobytes()
    return np.frombuffer(upper, "<i2").astype(np.int16, copy=False)


def _from_float(data: bytes) -> Pcm16:
    values = np.nan_to_num(np.frombuffer(data, "<f4"))
    samples: Pcm16 = np.clip(np.rint(values * 32768.0), -32768, 32767).astype(np.int16)
    return samples


_DECODERS: dict[tuple[int, int], Callable[[bytes], NDArray[np.generic]]] = {
    (_PCM, 8): lambda data: (np.frombuffer(data, np.uint8).astype(np.int16) - 128) * np.int16(256),
    (_PCM, 16): lambda data: np.frombuffer(data, "<i2"),
    (_PCM, 24): _from_24_bits,
    (_PCM, 32): lambda data: (np.frombuffer(data, "<i4") >> 16).astype(np.int16),
    (_FLOAT, 32): _from_float,
}


@dataclass(frozen=True, slots=True)
class _Form:
    """How samples lie in the bytes, and how many bytes there are (None: up to the end)."""

    rate: int
    channels: int = 1
    kind: int = _PCM
    bits: int = 16
    size: int | None = None

    @property
    def frame(self) -> int:
        return self.channels * self.bits // 8

    def decode(self, data: bytes) -> Pcm16:
        samples: Pcm16 = _DECODERS[self.kind, self.bits](data).astype(np.int16, copy=False)
        if self.channels > 1:
            total = samples.reshape(-1, self.channels).astype(np.int32).sum(axis=1)
            samples = (total // self.channels).astype(np.int16)
        return samples


class SoundReader:
    """Bytes in, mono samples at one rate out. However the bytes are cut into pieces, the samples are the same.

    A WAV is recognised whatever was asked for. Its length in the header counts where it is a length, so that chunks
    behind the sound are not played.
    """

    def __init__(self, asked: Literal["pcm", "wav"], rate_in: int, rate_out: int, declared: str = "") -> None:
        """`rate_in` is that of raw samples (int16, little-endian, mono); `declared` is the content type, if known."""
        self._asked = asked
        self._rate_in = rate_in
        self._rate_out = rate_out
        self._declared = declared
        self._head = b""
        self._form: _Form | None = None
        self._left: int | None = None
        self._rest = b""
        self._resampler: StreamResampler | None = None

    def feed(self, data: bytes) -> Pcm16:
        """Takes the next bytes. Returns the samples that are ready.

        Raises:
            NotSoundError: they are something else.
        """
        return self._take(data, last=False)

    def finish(self) -> Pcm16:
        """Ends the sound. Returns the last samples; half a sample at the end is dropped.

        Raises:
            NotSoundError: there is something else, too short to be told from sound before.
        """
        samples = self._take(b"", last=True)
        if self._resampler is None:
            return samples
        return np.concatenate([samples, self._resampler.flush()])

    def _take(self, data: bytes, last: bool) -> Pcm16:
        if self._form is None:
            self._head += data
            start = self._begin(last)
            if start is None:
                return np.zeros(0, np.int16)
            data, self._head = self._head[start:], b""
        return self._decode(data)

    def _begin(self, last: bool) -> int | None:
        """Settles the form of the samples, and returns where they begin; None while that cannot be told yet."""
        head = self._head
        if not head:
            return None
        if len(head) < 4 and not last and (head[0] == 0xFF or any(magic.startswith(head) for magic in _MAGIC)):
            return None
        if head.startswith(_RIFF):
            return self._begin_wav(last)
        for magic, name in _CODECS.items():
            if head.startswith(magic):
                raise NotSoundError(f"{name} in place of {self._asked.upper()}")
        if self._declared.startswith(_MPEG_TYPES) and head[0] == 0xFF and head[1:2] >= b"\xe0":
            raise NotSoundError(f"{self._declared} in place of {self._asked.upper()}")
        looks_like_text = self._declared.startswith(_TEXT_TYPES) or head.lstrip()[:1] in (b"", b"{", b"<", b"[")
        if looks_like_text and _PRINTABLE.issuperset(head[:_ENOUGH]):
            if len(head) < _ENOUGH and not last:
                return None
            raise TextInsteadError(head)
        if self._asked == "wav":
            raise NotSoundError("something that is not a WAV file")
        self._settle(_Form(self._rate_in))
        return 0

    def _begin_wav(self, last: bool) -> int | None:
        head, form, position = self._head, None, 12
        if len(head) >= 12 and head[8:12] != b"WAVE":
            raise NotSoundError("a RIFF file that is not a WAV")
        while len(head) >= position + 8:
            name, size = head[position : position + 4], struct.unpack_from("<I", head, position + 4)[0]
            position += 8
            if name == b"data":
                if form is None:
                    raise NotSoundError("a WAV file that does not say how its samples lie")
                known = 0 < size < _UNKNOWN_SIZE
                self._settle(_Form(form.rate, form.channels, form.kind, form.bits, size if known else None))
                return position
            if name == b"fmt " and len(head) >= position + size:
                form = _form(head[position : position + size])
            position += size + size % 2
        if last or position > _LONGEST_HEADER:
            raise NotSoundError("a WAV file without sound in it")
        return None

    def _settle(self, form: _Form) -> None:
        self._form = form
        self._left = form.size
        if form.rate != self._rate_out:
            self._resampler = StreamResampler(form.rate, self._rate_out)

    def _decode(self, data: bytes) -> Pcm16:
        assert self._form is not None
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        data = self._rest + data
        end = len(data) - len(data) % self._form.frame
        self._rest = data[end:]
        samples = self._form.decode(data[:end])
        return samples if self._resampler is None else self._resampler.process(samples)


def _form(fmt: bytes) -> _Form:
    """Reads the `fmt ` chunk of a WAV file.

    Raises:
        NotSoundError: samples that lie like that cannot be read.
    """
    if len(fmt) < 16:
        raise NotSoundError("a WAV file with a damaged header")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", fmt)
    if kind == _EXTENSIBLE and len(fmt) >= 26:
        kind = struct.unpack_from("<H", fmt, 24)[0]
    if (kind, bits) not in _DECODERS or not 1 <= channels <= 8 or not 4_000 <= rate <= 192_000:
        raise NotSoundError(f"a WAV file of format {kind} with {channels} channels of {bits} bits at {rate} Hz")
    return _Form(rate, channels, kind, bits)
