"""An utterance on its way to an endpoint: a form with a WAV file in it, sent whole or while it is spoken."""

import asyncio
import secrets
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from pipeline.types import LISTENING_RATE
from pipeline.workers import post

_UNKNOWN = 0xFFFF_FFFF
"""What a WAV header says of a length that is not known yet."""
_HEADER_BYTES = 44


class Upload(Protocol):
    """A body for a request. `body` may be called again, and then begins at the beginning."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that go with it."""

    def body(self) -> AsyncIterator[bytes]:
        """Returns the body in pieces."""


class _Form:
    """The two ends of a multipart form (RFC 7578) around its last field, a WAV file."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        boundary = secrets.token_hex(16)
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
            for name, value in fields
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\n'
            "Content-Type: audio/wav\r\n\r\n"
        )
        self.begin = "".join(parts).encode("utf-8", "replace")
        self.end = f"\r\n--{boundary}--\r\n".encode()
        self.content_type = f"multipart/form-data; boundary={boundary}"


class WholeUpload:
    """Sound that is complete: int16, little-endian, mono, 16 kHz."""

    def __init__(self, fields: Sequence[tuple[str, str]], sound: Sequence[bytes]) -> None:
        self._form = _Form(fields)
        self._sound = tuple(sound)
        size = sum(map(len, self._sound))
        self._header = wav_header(size)
        length = len(self._form.begin) + _HEADER_BYTES + size + len(self._form.end)
        self.headers = {"Content-Type": self._form.content_type, "Content-Length": str(length)}

    async def body(self) -> AsyncIterator[bytes]:
        yield self._form.begin + self._header
        for piece in self._sound:
            yield piece
        yield self._form.end


class LiveUpload:
    """Sound that is still being spoken. `send` and `end` are for any one thread, `body` for the loop that sends."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._form = _Form(fields)
        self.headers = {"Content-Type": self._form.content_type}
        self._sound: list[bytes] = []
        self._ended = False
        self._more = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def send(self, piece: bytes) -> None:
        """Adds sound, some at least."""
        self._sound.append(piece)
        self._wake()

    def end(self) -> None:
        """Says that this was all."""
        self._ended = True
        self._wake()

    async def body(self) -> AsyncIterator[bytes]:
        self._loop = asyncio.get_running_loop()
        yield self._form.begin + wav_header(None)
        sent = 0
        while not (self._ended and sent == len(self._sound)):
            if sent < len(self._sound):
                yield self._sound[sent]
                sent += 1
            else:
                self._more.clear()
                await self._more.wait()
        yield self._form.end

    def _wake(self) -> None:
        if self._loop is not None:  # else it has not begun, and will see
            post(self._loop, self._more.set)


def wav_header(size: int | None) -> bytes:
    """Returns the header of a WAV file of 16 kHz, mono, 16 bits, with `size` bytes of samples (None: not known yet)."""
    riff, data = (_UNKNOWN, _UNKNOWN) if size is None else (size + _HEADER_BYTES - 8, size)
    form = struct.pack("<HHIIHH", 1, 1, LISTENING_RATE, LISTENING_RATE * 2, 2, 16)
    return b"".join(
        [
            b"RIFF",
            struct.pack("<I", riff),
            b"WAVEfmt ",
            struct.pack("<I", len(form)),
            form,
            b"data",
            struct.pack("<I", data),
        ]
    )


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
