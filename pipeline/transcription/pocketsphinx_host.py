"""The processes in which PocketSphinx decodes, and the frames in which Parley speaks with them.

    Parley ── control ──> host, holds the model ── fork ──> decoder process ── one utterance ──> ends
       └────────────────── a socket for each utterance ──────────────┘

The host is a clean interpreter with one thread, so that forking it is safe, on macOS too. A decoder process shares
the host's memory until it writes to it: it takes 2 ms to make, 23 MB of its own (of 105), and since it is made for one
utterance, nothing of one speaker reaches another. Parley hands the host one end of a socket pair with each
utterance; the other end is Parley's only hold on the decoder process, and when it closes, the process ends. So does
everything here when Parley dies, however it dies.

This module is imported by the host: it may import nothing that starts threads (numpy does).
"""

import gc
import itertools
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

import msgspec

# Frames on an utterance's socket. Parley says BEGIN once, then the others; REPLY answers HYPOTHESIS, PAUSE and FINISH.
BEGIN: Final = b"B"  # the cepstral mean of the session, or nothing
AUDIO: Final = b"A"  # int16, little-endian, 16 kHz
HYPOTHESIS: Final = b"H"
PAUSE: Final = b"P"  # what would be understood if the utterance ended here
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

NICENESS: Final = 3
"""How far decoding stands back (nice(2)) when there is more to do than cores: a frame of the server's is due within
milliseconds, and with eight speaking at once decoders kept it waiting for a tenth of a second. No further: at 10, four
busy programs of others on two cores left a decoder so little that its turns timed out."""

STEP_BYTES: Final = 320
"""10 ms: one frame of PocketSphinx's front end. Decoding in such steps, whatever the size of the pieces in which
sound arrives, makes the transcript independent of them."""

MEASURED_BYTES: Final = tuple(STEP_BYTES * steps for steps in (60, 120, 240))
"""How much of an utterance has been heard when its cepstral mean is measured: from 0.6 s on, and not after 2.4 s, where
starting over would take too long (0.11 s for each second)."""

FAR: Final = 0.3
"""How far the mean in use may be from the one measured, as a root mean square in units of `USUAL_SPREAD`.

Chosen with `MEASURED_BYTES` among fifteen settings on 16 whole recordings, each as the first of a session: 5 word
errors of 81 (18 with PocketSphinx's own running mean, 4 with the mean of the whole utterance known beforehand) at about
twice the decoding; 1.0 gave 8 to 10 at 1.5 times. The recordings that it was chosen on are the ones that it was counted
on, so expect less of others."""

USUAL_SPREAD: Final = (9.0, 11.0, 10.7, 9.2, 9.1, 4.8, 5.3, 6.2, 6.8, 6.5, 4.8, 2.3, 3.9)
"""Standard deviation of the cepstral means of 26 recordings at two levels: three people, two voices of flite and one of
espeak-ng."""


class Reply(msgspec.Struct, array_like=True):
    """What has been understood, and at the end of an utterance the session's new cepstral mean.

    `words` are the words in order, marks included, with the probability of each; empty where none is known.
    """

    text: str
    mean: str
    words: list[tuple[str, float]] = []


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


class _Meter:
    """Measures the cepstral mean of sound: a decoder without a vocabulary, at 3 to 8 ms a second of sound.

    The mean tells the sound of a voice, a room and a microphone from what is said. PocketSphinx subtracts one that it
    carries along, and that is no good until it has heard a few utterances; the one of the utterance itself is.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        import pocketsphinx

        self._decoder = pocketsphinx.Decoder(pocketsphinx.Config(**{**config, "lm": None, "dict": None}))
        # It must search for something; with one word it has next to nothing to do.
        self._decoder.add_word("silence", "SIL", True)
        self._decoder.add_jsgf_string("silence", "#JSGF V1.0; grammar silence; public <silence> = silence;")
        self._decoder.activate_search("silence")

    def measure(self, sound: bytes) -> list[float]:
        """Returns the mean of each cepstral coefficient; not numbers where the sound is digital silence."""
        self._decoder.start_utt()
        self._decoder.process_raw(sound, True, True)
        mean = _numbers(self._decoder.get_cmn())
        self._decoder.end_utt()
        return mean


def _numbers(mean: str) -> list[float]:
    return [float(number) for number in mean.split(",")]


class _Utterance:
    """One utterance in a decoder process.

    When enough sound is there to measure its own cepstral mean, and again as it grows, decoding starts over with that
    mean, unless it is near the one in use: so it is with the first utterance of a session, hardly ever later on. The
    restarts depend on the sound alone, never on when it came or what was asked.
    """

    def __init__(self, decoder: Any, meter: _Meter, mean: str) -> None:
        self._decoder = decoder
        self._meter = meter
        self._sound = bytearray()
        self._decoded = 0
        self._ended = False
        self._foreseen: tuple[int, Reply] | None = None
        self._measurements = iter(MEASURED_BYTES)
        self._next_measurement = next(self._measurements, None)
        self._start(mean)

    def hear(self, sound: bytes) -> None:
        """Decodes what is there in whole steps."""
        self._sound += sound
        while self._decoded + STEP_BYTES <= len(self._sound):
            self._decode(STEP_BYTES)
            if self._decoded == self._next_measurement:
                self._next_measurement = next(self._measurements, None)
                self._reconsider()

    def end(self) -> Reply:
        """Decodes the rest. Returns what is understood."""
        if self._foreseen is not None and self._foreseen[0] == len(self._sound):
            return self._foreseen[1]
        self._decode(STEP_BYTES)
        self._decoder.end_utt()
        self._ended = True
        return self.reply()

    def foresee(self) -> Reply:
        """Returns what `end` would return now; the utterance may go on.

        PocketSphinx changes its mind at the end of an utterance (one text in eight of 65), takes 6 to 13 ms for it, and
        cannot take it back. So the end is tried out in a copy of this process, which makes it 20 ms.
        """
        reply = _in_a_copy(self.end)
        if reply is None:
            return self.reply()
        self._foreseen = len(self._sound), reply
        return reply

    def reply(self) -> Reply:
        """Returns what is understood so far."""
        hypothesis = self._decoder.hyp()
        text = hypothesis.hypstr if hypothesis is not None else None
        return Reply(text or "", self._decoder.get_cmn(), self._words())

    def _words(self) -> list[tuple[str, float]]:
        """Returns the words with their posteriors in the word lattice. Without one PocketSphinx calls all certain."""
        if not self._ended or not self._decoder.config["bestpath"]:
            return []
        words = [(segment.word, float(segment.prob)) for segment in self._decoder.seg() or ()]
        return words if any(probability < 1.0 for _, probability in words) else []

    def _start(self, mean: str) -> None:
        if mean:
            self._decoder.set_cmn(mean)
        self._mean = _numbers(self._decoder.get_cmn())
        self._decoder.start_utt()
        self._decoded = 0

    def _decode(self, size: int) -> None:
        step = bytes(self._sound[self._decoded : self._decoded + size])
        if step:
            self._decoder.process_raw(step)
            self._decoded += len(step)

    def _reconsider(self) -> None:
        mean = self._meter.measure(bytes(self._sound[: self._decoded]))
        squares = [((new - old) / usual) ** 2 for new, old, usual in zip(mean, self._mean, USUAL_SPREAD, strict=True)]
        if sum(squares) / len(squares) > FAR**2:  # never so where the mean is not a number
            self._decoder.end_utt()
            self._start(",".join(f"{number:.6g}" for number in mean))


def _serve(decoder: Any, meter: _Meter, sock: socket.socket) -> None:
    """Decodes one utterance: the life of a decoder process."""
    begin = receive_frame(sock)
    if begin is None:
        return
    utterance = _Utterance(decoder, meter, begin[1].decode())
    while (frame := receive_frame(sock)) is not None:
        kind, payload = frame
        if kind == AUDIO:
            utterance.hear(payload)
            continue
        answer = {HYPOTHESIS: utterance.reply, PAUSE: utterance.foresee, FINISH: utterance.end}[kind]
        send_frame(sock, REPLY, msgspec.msgpack.encode(answer()))
        if kind == FINISH:
            return


def _in_a_copy(find_out: Callable[[], Reply]) -> Reply | None:
    """Returns what a copy of this process finds out, which ends with that; None when it cannot. The system reaps it."""
    reading, writing = os.pipe()
    with open(reading, "rb") as told, open(writing, "wb") as tells:
        try:
            process = os.fork()
        except OSError:  # too many processes
            return None
        if process == 0:
            try:
                tells.write(msgspec.msgpack.encode(find_out()))
                tells.flush()
            finally:
                os._exit(0)  # never back into the code of the original
        tells.close()
        reply = told.read()
    return msgspec.msgpack.decode(reply, type=Reply) if reply else None


class _Host:
    """Forks decoder processes and reaps them."""

    def __init__(self, decoder: Any, meter: _Meter, control: socket.socket) -> None:
        self._decoder = decoder
        self._meter = meter
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
            os.nice(NICENESS)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for `_in_a_copy`'s: it takes them 5 ms to end
            _serve(self._decoder, self._meter, sock)
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


def _check_dictionary(decoder: Any, path: str) -> None:
    """PocketSphinx leaves out what it cannot read of a dictionary, and goes on without a word.

    Raises:
        ValueError: it could read none of the first entries.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        entries = [line.split()[0] for line in itertools.islice(file, 1000) if line.strip()]
    if all(decoder.lookup_word(entry) is None for entry in entries):
        raise ValueError(f"{path} spells no word in the sounds of the acoustic model")


def main() -> None:
    """Loads the model that `argv[2]` (JSON) configures and serves the control socket `argv[1]`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for Parley, which ends this by closing the socket
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        import pocketsphinx

        config = msgspec.json.decode(sys.argv[2])
        decoder, meter = pocketsphinx.Decoder(pocketsphinx.Config(**config)), _Meter(config)
        if "dict" in config:
            _check_dictionary(decoder, config["dict"])
    except Exception as error:
        send_frame(control, FAILED, f"{type(error).__name__}: {error}".encode())
        return
    gc.collect()
    gc.freeze()  # a collection in a decoder process would write to, and so copy, what it shares
    send_frame(control, READY)
    _Host(decoder, meter, control).run()


if __name__ == "__main__":
    main()
