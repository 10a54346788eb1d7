"""Many clients in one thread: sessions that send what a microphone hears, frame by frame, in real time.

They are plain sockets and frames encoded beforehand, so that a client costs one system call a frame.
"""

import base64
import os
import socket
import struct
import time
from collections.abc import Sequence

import msgspec

from pipeline.audio import pcm16_to_bytes
from pipeline.types import WIRE_RATE, Pcm16

_ANSWER_S = 20.0
_READ = 1 << 20
_LOOK_S = 0.05
"""How often what the server sent is read, and dropped."""


def text_frame(payload: bytes) -> bytes:
    """Returns a masked text frame of a WebSocket (RFC 6455, 5.2). The mask is zeros, which changes nothing."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", 0x81, 0x80 | size)
    elif size < 1 << 16:
        header = struct.pack("!BBH", 0x81, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", 0x81, 0x80 | 127, size)
    return header + b"\0\0\0\0" + payload


def event_frame(kind: str, **fields: object) -> bytes:
    """Returns the frame of a client event."""
    return text_frame(msgspec.json.encode({"type": kind, **fields}))


def append_frames(sound: Pcm16, frame_ms: int) -> list[bytes]:
    """Returns int16 at 24 kHz as the frames that append it."""
    size = WIRE_RATE * frame_ms // 1000
    pieces = [sound[start : start + size] for start in range(0, len(sound) - size + 1, size)]
    return [
        event_frame("input_audio_buffer.append", audio=base64.b64encode(pcm16_to_bytes(piece)).decode())
        for piece in pieces
    ]


class Client:
    """One session, open; it sends its frames over and over, from `first` on."""

    def __init__(self, port: int, frames: Sequence[bytes], first: int = 0) -> None:
        self._frames = frames
        self._next = first
        self._socket = socket.create_connection(("127.0.0.1", port), _ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /v1/realtime HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._wait_for(b"session.created")
        self.send(
            event_frame(
                "session.update",
                session={
                    "type": "realtime",
                    "audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}},
                },
            )
        )
        self._wait_for(b"session.updated")
        self._socket.setblocking(False)

    def _wait_for(self, kind: bytes) -> None:
        seen = b""
        while kind not in seen:
            piece = self._socket.recv(_READ)
            if not piece:
                raise ConnectionError(f"The server closed the connection: {seen[-300:]!r}")
            seen += piece

    def send(self, frame: bytes) -> None:
        """Sends a frame whole.

        Raises:
            BlockingIOError: the server does not take it.
        """
        if self._socket.send(frame) < len(frame):
            raise BlockingIOError("half a frame was taken")

    def send_next(self) -> None:
        """Sends the next of its frames."""
        self.send(self._frames[self._next])
        self._next = (self._next + 1) % len(self._frames)

    def drain(self) -> int:
        """Reads what has come. Returns how many bytes."""
        try:
            return len(self._socket.recv(_READ))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self._socket.close()


class Streams:
    """All clients. Their frames are spread evenly over the time of one, as with microphones that know nothing of each
    other."""

    def __init__(self, clients: Sequence[Client], frame_ms: int) -> None:
        self._clients = clients
        self._frame_s = frame_ms / 1000
        self.late_ms: list[float] = []
        """How late each frame was sent: a rig that cannot keep up measures itself."""
        self.received = 0
        self.stopped = False

    def run(self) -> None:
        """Sends until `stopped`."""
        began, looked, turn = time.monotonic(), 0.0, 0
        while not self.stopped:
            due = began + turn * self._frame_s
            for index, client in enumerate(self._clients):
                wait = due + index * self._frame_s / len(self._clients) - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                client.send_next()
                self.late_ms.append(-1000 * min(wait, 0.0))
            if time.monotonic() - looked > _LOOK_S:
                looked = time.monotonic()
                self.received += sum(client.drain() for client in self._clients)
            turn += 1
