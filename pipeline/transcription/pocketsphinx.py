"""PocketSphinx (https://github.com/cmusphinx/pocketsphinx), which carries an American English model in its wheel.

It decodes while the user speaks, in processes of its own: `process_raw` holds the GIL, and a decoder serves one
utterance at a time. How the processes come and go: pocketsphinx_host.py.
"""

import contextlib
import itertools
import math
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

import msgspec
import numpy as np

from pipeline.errors import EngineError, StageError
from pipeline.stages import EngineOptions, TranscriberCapabilities
from pipeline.transcription import pocketsphinx_host as host
from pipeline.transcription.pocketsphinx_model import find_model
from pipeline.types import LISTENING_RATE, Pcm16, TokenLogProbability, Transcript

_LOAD_S = 60.0
"""How long the model may take to load. On 2 cores it takes 0.4 s."""

_BUSY_S = 10.0
"""How long an utterance waits for a decoder process when all are busy: by then nobody waits for an answer."""

_END_S = 5.0

_CLOSED = "The stream has been closed."

_PIPE_BYTES = 512 * 1024
"""What the socket to a decoder process holds before `feed` waits (the system may grant less): seconds of sound."""

_LEAST = 1e-10
"""A probability that is told as none would have no logarithm."""

_MARKER = re.compile(r"^(<.*>|\[.*\]|\+\+.*\+\+)$")
_PRONUNCIATION = re.compile(r"\(\d+\)$")


def clean(text: str) -> str:
    """Returns PocketSphinx's words without its marks: `<sil> [NOISE] was(2) not` → `was not`."""
    words = (_PRONUNCIATION.sub("", word) for word in text.split() if not _MARKER.match(word))
    return " ".join(words)


def _tokens(words: Iterable[tuple[str, float]]) -> Iterator[TokenLogProbability]:
    """Yields words with their probabilities as the tokens that spell the transcript."""
    space = ""
    for marked, probability in words:
        if word := clean(marked):
            yield TokenLogProbability(space + word, min(0.0, math.log(max(probability, _LEAST))))
            space = " "


class _Places:
    """How many decoder processes may be at work; whoever finds none free waits."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = count
        self._changed = threading.Condition()

    def take(self, unwanted: Callable[[], bool]) -> None:
        """Waits for a free place, until `unwanted()` (see `wake`).

        Raises:
            StageError: none came free in time, or it is not wanted any more.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._free > 0 or unwanted(), _BUSY_S):
                raise StageError(
                    "transcription",
                    f"All {self._count} decoders are busy with other utterances (`decoders` in models.yaml).",
                )
            if unwanted():
                raise StageError("transcription", _CLOSED)
            self._free -= 1

    def give_back(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify()

    def wake(self) -> None:
        """Lets those who wait look again whether they are wanted."""
        with self._changed:
            self._changed.notify_all()


class _Decoder:
    """Parley's hold on the decoder process of one utterance."""

    def __init__(self, sock: socket.socket, on_end: Callable[[], None]) -> None:
        self._sock = sock
        self._on_end = on_end
        self._lock = threading.Lock()
        self._in_use = False
        self._ended = False

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Sends a frame. Raises EOFError when the process has ended."""
        with self._using() as sock:
            host.send_frame(sock, kind, payload)

    def ask(self, kind: bytes) -> host.Reply:
        """Sends a frame and waits for the reply. Raises EOFError when the process has ended."""
        with self._using() as sock:
            host.send_frame(sock, kind)
            frame = host.receive_frame(sock)
        if frame is None:
            raise EOFError
        return msgspec.msgpack.decode(frame[1], type=host.Reply)

    def end(self) -> None:
        """Ends the process, and with EOFError a call of another thread that waits for it. Again: does nothing."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            with contextlib.suppress(OSError):  # the other side may have gone first
                self._sock.shutdown(socket.SHUT_RDWR)
            if not self._in_use:
                self._sock.close()
        self._on_end()

    @contextlib.contextmanager
    def _using(self) -> Iterator[socket.socket]:
        # The descriptor is closed by its last user: closed under a call, its number could already be another's.
        with self._lock:
            if self._ended:
                raise EOFError
            self._in_use = True
        try:
            yield self._sock
        except OSError as error:
            raise EOFError from error
        finally:
            with self._lock:
                self._in_use = False
                if self._ended:
                    self._sock.close()


class _Host:
    """The host process: loaded with the engine, and again when it has died."""

    def __init__(self, config: dict[str, object]) -> None:
        self._config = msgspec.json.encode(config).decode()
        self._lock = threading.Lock()
        self._utterances = itertools.count()
        self._closed = False
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def lend(self) -> tuple[socket.socket, int]:
        """Has a decoder process made. Returns the socket to it and its utterance's number, without waiting for it.

        Raises:
            StageError: the host has died and cannot be started again.
        """
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIPE_BYTES)
        with theirs, self._lock:
            utterance = next(self._utterances)
            record = host.RECORD.pack(host.LEND, utterance)
            try:
                self._send_lend(record, theirs)
            except BaseException:
                ours.close()
                raise
        return ours, utterance

    def release(self, utterance: int) -> None:
        """Has the process of an utterance ended and reaped."""
        with self._lock, contextlib.suppress(OSError):  # a host that has died has nothing to reap
            self._control.sendall(host.RECORD.pack(host.RELEASE, utterance))

    def close(self) -> None:
        """Ends the host, and with it every decoder process."""
        with self._lock:
            self._closed = True
            self._end()

    def _send_lend(self, record: bytes, sock: socket.socket) -> None:
        try:
            try:
                socket.send_fds(self._control, [record], [sock.fileno()])
            except OSError:
                self._restart()
                socket.send_fds(self._control, [record], [sock.fileno()])
        except (OSError, EngineError) as error:
            raise StageError("transcription", f"The decoders' host process has died: {error}") from error

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # -P: a folder `pipeline` where the user happens to be must not be taken for ours.
                [sys.executable, "-P", "-m", host.__name__, str(theirs.fileno()), self._config],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C in the terminal is for Parley
            )
        self._control.settimeout(_LOAD_S)
        try:
            report = host.receive_frame(self._control)
        except TimeoutError:
            report = (host.FAILED, f"no sign of life for {_LOAD_S:g} s".encode())
        self._control.settimeout(None)
        if report is not None and report[0] == host.READY:
            return
        status = self._end()
        problem = report[1].decode() if report is not None else f"its process ended with status {status}"
        raise _unusable(f"PocketSphinx cannot load its model: {problem}.")

    def _restart(self) -> None:
        if self._closed:
            raise StageError("transcription", "The engine has been closed.")
        self._end()
        self._start()

    def _end(self) -> int:
        self._control.close()
        try:
            return self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class PocketSphinxStream:
    """One session's ear. The cepstral mean is what it remembers from one utterance to the next."""

    def __init__(self, places: _Places, processes: _Host, language: str) -> None:
        self._places = places
        self._host = processes
        self._language = language
        self._mean = ""
        self._lock = threading.Lock()
        self._decoder: _Decoder | None = None
        self._closed = False

    def feed(self, samples: Pcm16) -> None:
        decoder = self._decoder or self._begin()
        with self._failing(decoder):
            decoder.send(host.AUDIO, samples.astype("<i2", copy=False).tobytes())

    def hypothesis(self) -> Transcript:
        """Returns what is understood so far: costs what is still to be decoded, then ~0.2 ms."""
        decoder = self._decoder
        if decoder is None:
            return self._nothing()
        with self._failing(decoder):
            return self._transcript(decoder.ask(host.HYPOTHESIS))

    def pause(self) -> Transcript:
        """Returns what `finish` would: costs what is still to be decoded and some 20 ms. `finish` is free after it."""
        decoder = self._decoder
        if decoder is None:
            return self._nothing()
        with self._failing(decoder):
            return self._transcript(decoder.ask(host.PAUSE))

    def finish(self) -> Transcript:
        decoder = self._decoder
        if decoder is None:
            return self._nothing()
        with self._failing(decoder):
            reply = decoder.ask(host.FINISH)
        self._mean = reply.mean
        self.discard()
        return self._transcript(reply)

    def discard(self) -> None:
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            decoder.end()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            decoder = self._decoder
        self._places.wake()
        if decoder is not None:
            decoder.end()

    def _begin(self) -> _Decoder:
        self._places.take(unwanted=lambda: self._closed)
        try:
            sock, utterance = self._host.lend()
        except BaseException:
            self._places.give_back()
            raise

        def on_end() -> None:
            self._host.release(utterance)
            self._places.give_back()

        decoder = _Decoder(sock, on_end)
        with self._lock:
            self._decoder = decoder
            closed = self._closed
        if closed:  # while the decoder was being borrowed
            decoder.end()
        with self._failing(decoder):
            decoder.send(host.BEGIN, self._mean.encode())
        return decoder

    @contextlib.contextmanager
    def _failing(self, decoder: _Decoder) -> Iterator[None]:
        """Turns the end of the decoder process into the end of the utterance."""
        try:
            yield
        except EOFError as error:
            self.discard()
            problem = _CLOSED if self._closed else "The decoder's process has died."
            raise StageError("transcription", problem) from error

    def _nothing(self) -> Transcript:
        """Returns what is understood where nothing has been said."""
        if self._closed:
            raise StageError("transcription", _CLOSED)
        return Transcript("", language=self._language)

    def _transcript(self, reply: host.Reply) -> Transcript:
        text = clean(reply.text)
        return Transcript(
            text,
            tokens=len(text.split()),
            language=self._language,
            token_log_probabilities=tuple(_tokens(reply.words)),
        )


class PocketSphinx:
    """Speech to text with PocketSphinx 5, word by word while the user speaks; ~0.1 s of one core a second."""

    class Options(EngineOptions, frozen=True, kw_only=True):
        """`hmm`, `lm` and `dict` choose another model, and go together."""

        decoders: Annotated[
            int,
            msgspec.Meta(ge=1, le=1024, description="Utterances decoded at the same time, 23 MB each; others wait."),
        ] = 16
        fwdflat: Annotated[
            bool, msgspec.Meta(description="A second pass when an utterance ends: +70 ms, hardly more accurate.")
        ] = False
        bestpath: Annotated[
            bool,
            msgspec.Meta(
                description="A search of the word lattice when an utterance ends: likewise. It tells the probability "
                "of each word."
            ),
        ] = False
        maxhmmpf: Annotated[
            int,
            msgspec.Meta(
                ge=100,
                description="Hidden Markov models kept a frame. PocketSphinx's own 30000 understands no more of 16 "
                "recordings than 3000, which takes 0.6 times the computing; 2000 made twice the errors.",
            ),
        ] = 3000
        language: Annotated[str, msgspec.Meta(description="The model's language, a BCP 47 tag.")] = "en"
        hmm: Annotated[str | None, msgspec.Meta(description="Folder of another acoustic model.")] = None
        lm: Annotated[str | None, msgspec.Meta(description="File of another language model (ARPA or binary).")] = None
        dict: Annotated[str | None, msgspec.Meta(description="File of another pronouncing dictionary.")] = None

    def __init__(self, options: Options) -> None:
        """Starts the host process and waits until it has loaded the model.

        Raises:
            EngineError: a file is missing or the model cannot be loaded.
        """
        self.capabilities = TranscriberCapabilities(
            languages=frozenset({options.language}),
            streaming=True,
            partial_s=0.3,
            log_probabilities=options.bestpath,
            concurrency=options.decoders,
        )
        config: dict[str, object] = {
            "samprate": LISTENING_RATE,
            "fwdflat": options.fwdflat,
            "bestpath": options.bestpath,
            "maxhmmpf": options.maxhmmpf,
            "loglevel": "FATAL",
            **find_model(options.hmm, options.lm, options.dict),
        }
        self._host = _Host(config)
        self._places = _Places(options.decoders)

    def open(
        self, language: str | None = None, prompt: str | None = None, word_times: bool = False
    ) -> PocketSphinxStream:
        """Opens a session's stream. What is asked for changes nothing, as the capabilities say."""
        return PocketSphinxStream(self._places, self._host, next(iter(self.capabilities.languages)))

    def warm_up(self) -> None:
        """Decodes half a second of noise, which brings the model's files into memory.

        Raises:
            EngineError: the decoder dies of it, as it does where a file ends too soon.
        """
        stream = self.open()
        noise = np.random.default_rng(0).normal(0, 1000, LISTENING_RATE // 2)
        try:
            stream.feed(noise.astype(np.int16))
            stream.finish()
        except StageError as error:
            raise _unusable(f"PocketSphinx cannot use its model: {error}") from error
        finally:
            stream.close()

    def close(self) -> None:
        """Ends the host and its decoder processes."""
        self._host.close()


def _unusable(problem: str) -> EngineError:
    return EngineError(
        problem, "Check that `hmm`, `lm` and `dict` belong together, or leave them out for the built-in model."
    )
