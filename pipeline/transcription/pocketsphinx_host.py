"""The processes in which PocketSphinx decodes, and the frames in which Parley speaks with them.

    Parley ── control ──> host, holds the model ── fork ──> decoder process ── one utterance ──> ends
       └────────────────── a socket for each utterance ──────────────┘

The host is a clean interpreter with one thread, so that forking it is safe, on macOS too. A decoder process shares
the host's memory until it writes to it: it takes 2 ms to make, 23 MB of its own (of 105), and since it is made for one
utterance, nothing of one speaker reaches the next. Parley hands the host one end of a socket pair with each
utterance; the other end is Parley's only hold on the decoder process, and when it closes, the process ends. So does
everything here when Parley dies, however it dies.

This module is imported by the host: it may import nothing that starts threads (numpy does).
"""

import gc
import os
import signal
import socket
import struct
import sys
import traceback
from typing import Any, Final

import msgspec

# Frames on an utterance's socket. Parley says BEGIN once, then the others; REPLY answers HYPOTHESIS and FINISH.
BEGIN: Final = b"B"  # the cepstral mean of the session, or nothing
AUDIO: Final = b"A"  # int16, little-endian, 16 kHz
HYPOTHESIS: Final = b"H"
FINISH: Final = b"F"
REPLY: Final = b"R"  # a Reply in msgpack
# Frames on the control socket, once, from the host.
READY: Final = b"Y"
FAILED: Final = b"N"  # why the model cannot be loaded

# Records on the control socket, from Parley: what to do and for which utterance.
RECORD: Final = struct.Struct("<cQ")
LEND: Final = b"L"  # fork a decoder process; its socket comes with the record
RELEASE: Final = b"X"  # the utterance is over: end its process, if it has not ended, and reap it

_HEADER: Final = struct.Struct("<cI")

STEP_BYTES: Final = 320
"""10 ms: one frame of PocketSphinx's front end. Decoding in such steps, whatever the size of the pieces in which
sound arrives, makes the transcript independent of them."""


class Reply(msgspec.Struct, array_like=True):
    """What has been understood, and at the end of an utterance the session's new cepstral mean."""

    text: str
    mean: str


def send_frame(sock: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    """Sends a frame. Raises OSError when the other side has gone."""
    sock.sendall(_HEADER.pack(kind, len(payload)) + payload)


def receive_frame(sock: socket.socket) -> tuple[bytes, bytes] | None:
    """Returns the next frame, or None when the other side has gone."""
    header = _receive(sock, _HEADER.size)
    if header is None:
        return None
    kind, size = _HEADER.unpack(header)
    payload = _receive(sock, size)
    return None if payload is None else (kind, payload)


def _receive(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        try:
            piece = sock.recv(size - len(data))
        except ConnectionResetError:  # it died with frames of ours unread
            return None
        if not piece:
            return None
        data += piece
    return bytes(data)


def _serve(decoder: Any, sock: socket.socket) -> None:
    """Decodes one utterance: the life of a decoder process."""
    pending = bytearray()
    while (frame := receive_frame(sock)) is not None:
        kind, payload = frame
        if kind == BEGIN:
            if payload:
                decoder.set_cmn(payload.decode())
            decoder.start_utt()
        elif kind == AUDIO:
            pending += payload
            whole = len(pending) - len(pending) % STEP_BYTES
            for start in range(0, whole, STEP_BYTES):
                decoder.process_raw(bytes(pending[start : start + STEP_BYTES]))
            del pending[:whole]
        elif kind == HYPOTHESIS:
            _reply(decoder, sock)
        elif kind == FINISH:
            if pending:
                decoder.process_raw(bytes(pending))
            decoder.end_utt()
            _reply(decoder, sock)
            return


def _reply(decoder: Any, sock: socket.socket) -> None:
    hypothesis = decoder.hyp()
    text = hypothesis.hypstr if hypothesis is not None else ""
    send_frame(sock, REPLY, msgspec.msgpack.encode(Reply(text or "", decoder.get_cmn())))


class _Host:
    """Forks decoder processes and reaps them."""

    def __init__(self, decoder: Any, control: socket.socket) -> None:
        self._decoder = decoder
        self._control = control
        self._processes: dict[int, int] = {}

    def run(self) -> None:
        """Does what Parley says until Parley has gone."""
        try:
            while (record := self._receive_record()) is not None:
                action, utterance, sockets = record
                if action == LEND:
                    self._lend(utterance, sockets[0])
                else:
                    self._release(utterance)
        finally:
            for utterance in list(self._processes):
                self._release(utterance)

    def _receive_record(self) -> tuple[bytes, int, list[int]] | None:
        # The socket that comes with a record comes with its first byte; no record asks for more than its own bytes.
        data, sockets, _, _ = socket.recv_fds(self._control, RECORD.size, 1)
        rest = _receive(self._control, RECORD.size - len(data)) if data else None
        if rest is None:
            return None
        action, utterance = RECORD.unpack(data + rest)
        return action, utterance, sockets

    def _lend(self, utterance: int, descriptor: int) -> None:
        with socket.socket(fileno=descriptor) as sock:
            try:
                process = os.fork()
            except OSError:  # too many processes: Parley sees its socket close
                traceback.print_exc()
                return
            if process == 0:
                self._become_decoder(sock)
            self._processes[utterance] = process

    def _become_decoder(self, sock: socket.socket) -> None:
        status = 1
        try:
            self._control.close()  # or Parley would not notice the end of the host
            _serve(self._decoder, sock)
            status = 0
        except OSError:  # Parley has gone while it was told something
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)  # never back into the host's code

    def _release(self, utterance: int) -> None:
        process = self._processes.pop(utterance, None)
        if process is not None:
            os.kill(process, signal.SIGKILL)  # ours until it is waited for, so its id means nobody else
            os.waitpid(process, 0)


def main() -> None:
    """Loads the model that `argv[2]` (JSON) configures and serves the control socket `argv[1]`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for Parley, which ends this by closing the socket
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        import pocketsphinx

        decoder = pocketsphinx.Decoder(pocketsphinx.Config(**msgspec.json.decode(sys.argv[2])))
    except Exception as error:
        send_frame(control, FAILED, f"{type(error).__name__}: {error}".encode())
        return
    gc.collect()
    gc.freeze()  # a collection in a decoder process would write to, and so copy, what it shares
    send_frame(control, READY)
    _Host(decoder, control).run()


if __name__ == "__main__":
    main()
