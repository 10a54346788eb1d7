"""Sound → bytes of a file format, while it is made."""

from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias

import av
from av.audio.stream import AudioStream

from pipeline.audio import pcm16_to_bytes
from pipeline.types import WIRE_RATE, Pcm16

Format: TypeAlias = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

FORMATS: Final = MappingProxyType(
    {
        "mp3": "audio/mpeg",
        "opus": "audio/ogg",
        "aac": "audio/aac",
        "flac": "audio/flac",
        "wav": "audio/wav",
        "pcm": "audio/pcm",
    }
)
"""What sound can be sent as → its content type. All are mono; `pcm` is 24 kHz, 16 bits, little-endian, no header."""

_FORMS: Final = MappingProxyType(
    {
        # FFmpeg's name of the container, the codec and its samples; and what makes the container one that can be sent
        # before its end is known: no header to be filled in later, pages of 100 ms.
        "mp3": ("mp3", "libmp3lame", "s16p", {"write_xing": "0", "id3v2_version": "0"}),
        "opus": ("ogg", "libopus", "s16", {"page_duration": "100000"}),
        "aac": ("adts", "aac", "fltp", {}),
        "flac": ("flac", "flac", "s16", {}),
        "wav": ("wav", "pcm_s16le", "s16", {"fflags": "+bitexact"}),
    }
)


class Encoder(Protocol):
    """Takes sound piece by piece. Its calls take their time: make them off the event loop."""

    def feed(self, samples: Pcm16) -> bytes:
        """Takes int16 `[n]` at 24 kHz, returns the bytes that are ready."""

    def finish(self) -> bytes:
        """Ends the file and returns the rest of it."""


def encoder(format: Format) -> Encoder:
    """Returns an encoder for one file."""
    return _Raw() if format == "pcm" else _File(format)


class _Raw:
    def feed(self, samples: Pcm16) -> bytes:
        return pcm16_to_bytes(samples)

    def finish(self) -> bytes:
        return b""


class _Sink:
    """What FFmpeg writes to. It has no `seek`, so that nothing is put off until the end."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


class _File:
    def __init__(self, format: str) -> None:
        container, codec, samples, options = _FORMS[format]
        self._sink = _Sink()
        self._output = av.open(self._sink, "w", format=container, container_options={**options, "flush_packets": "1"})
        stream = self._output.add_stream(codec, rate=WIRE_RATE)
        assert isinstance(stream, AudioStream)
        stream.codec_context.layout = "mono"
        stream.codec_context.format = samples
        self._stream = stream
        self._position = 0

    def feed(self, samples: Pcm16) -> bytes:
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = WIRE_RATE
        frame.pts = self._position
        self._position += len(samples)
        self._output.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        self._output.mux(self._stream.encode(None))
        self._output.close()
        return self._sink.take()
