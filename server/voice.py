"""Voice activity detection for all sessions: whatever frames are waiting go through the detector in one call."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from pipeline.audio import StreamResampler, slices, to_float
from pipeline.stages import VoiceActivityDetector
from pipeline.types import LISTENING_RATE, WIRE_RATE, Pcm16, Samples
from pipeline.workers import BatchWorker, post
from server.realtime.inbox import VoiceFailed, VoiceVerdict

log = logging.getLogger(__name__)

_ROUNDS = 32
"""Frames of one session (32 ms each) that are judged before those who came meanwhile get their turn."""

_FAR_BEHIND = 10 * WIRE_RATE
"""Sound that may wait for the detector before its sender has to: ten seconds."""

_IN_FLIGHT = WIRE_RATE // 5
"""Sound that is on its way even when all is well: a frame, and what the resampler holds back; 200 ms are ample."""

Deliver: TypeAlias = Callable[[VoiceVerdict | VoiceFailed], None]


class _Ear:
    """What the worker's thread keeps of one session and epoch; only that thread touches it, but for `dropped`."""

    def __init__(self, detector: VoiceActivityDetector, epoch: int, position: int, deliver: Deliver) -> None:
        self.dropped = False
        """Set by the session when nobody wants to know any more."""
        self.epoch = epoch
        self.deliver = deliver
        self.loop = asyncio.get_running_loop()
        self._detector = detector
        self._state: object | None = None
        self._frame = detector.frame
        self._position = position
        self._resampler = StreamResampler(WIRE_RATE, LISTENING_RATE, quality="low")
        self._waiting: deque[Pcm16] = deque()
        self._frames: deque[Samples] = deque()
        self._rest: Samples = np.zeros(0, np.float32)

    @property
    def state(self) -> object:
        """The detector's state for this ear, opened when it is first wanted: what goes wrong then is a failed call."""
        if self._state is None:
            self._state = self._detector.open()
        return self._state

    def hear(self, samples: Pcm16) -> None:
        """Takes int16 `[n]` at 24 kHz; a long piece is worked through second by second."""
        self._waiting.extend(slices(samples, WIRE_RATE))

    def next_frame(self) -> Samples | None:
        if self.dropped:
            self.forget()
        while not self._frames and self._waiting:
            heard = to_float(self._resampler.process(self._waiting.popleft()))
            samples = np.concatenate((self._rest, heard))
            whole = len(samples) // self._frame * self._frame
            self._frames.extend(samples[:whole].reshape(-1, self._frame))
            self._rest = samples[whole:]
        return self._frames.popleft() if self._frames else None

    def verdict(self, probability: float) -> VoiceVerdict:
        """Returns the verdict on the frame that was next, and moves on by it."""
        start = self._position
        self._position += self._frame * WIRE_RATE // LISTENING_RATE
        return VoiceVerdict(self.epoch, start, self._position, probability)

    def forget(self) -> None:
        self._waiting.clear()
        self._frames.clear()


class _Judge:
    """The detector's thread, and whose frames are before it."""

    def __init__(self, detector: VoiceActivityDetector) -> None:
        self._detector = detector
        self._behind: dict[_Ear, None] = {}
        self.worker: BatchWorker[tuple[_Ear, Pcm16]] = BatchWorker("vad", self._work)

    def _work(self, batch: list[tuple[_Ear, Pcm16]]) -> None:
        for ear, samples in batch:
            ear.hear(samples)
            self._behind[ear] = None
        for _ in range(_ROUNDS):
            frames = [(ear, frame) for ear in self._behind if (frame := ear.next_frame()) is not None]
            self._behind = dict.fromkeys(ear for ear, _ in frames)
            if not frames:
                return
            self._judge(frames)
        for ear in self._behind:
            self.worker.submit((ear, np.zeros(0, np.int16)))

    def _judge(self, frames: list[tuple[_Ear, Samples]]) -> None:
        try:
            probabilities = self._detector.detect([(ear.state, frame) for ear, frame in frames])
            judged = list(zip((ear for ear, _ in frames), probabilities, strict=True))
        except Exception as error:
            log.exception("vad: the engine raised")
            problem = f"The vad stage failed: {type(error).__name__}: {error}"
            for ear, _ in frames:
                ear.forget()
                post(ear.loop, ear.deliver, VoiceFailed(ear.epoch, problem))
            return
        for ear, probability in judged:
            post(ear.loop, ear.deliver, ear.verdict(probability))


class VoiceHub:
    """One voice activity detector, shared by every session that listens through it."""

    def __init__(self, detector: VoiceActivityDetector, timeout: float) -> None:
        """`timeout` is how many seconds the detector may take for a frame before its thread is given up."""
        self.timeout = timeout
        self._detector = detector
        self._judge = _Judge(detector)
        self._feeds: set[VoiceFeed] = set()

    def open(self, deliver: Deliver) -> "VoiceFeed":
        """Returns the feed of one session; `deliver` is called on the running loop with each verdict, in order."""
        feed = VoiceFeed(self, deliver)
        self._feeds.add(feed)
        return feed

    def leave(self, feed: "VoiceFeed") -> None:
        """Notes that a session listens no more."""
        self._feeds.discard(feed)

    def close(self) -> None:
        self._judge.worker.close()

    def new_ear(self, epoch: int, position: int, deliver: Deliver) -> _Ear:
        return _Ear(self._detector, epoch, position, deliver)

    def submit(self, ear: _Ear, samples: Pcm16) -> None:
        self._judge.worker.submit((ear, samples))

    def give_up(self) -> None:
        """Leaves a detector that hangs behind, thread and all; every session starts over with another thread."""
        problem = f"The vad stage gave no sign of life for {self.timeout:g} s (`timeout` of its block in models.yaml)."
        log.error("vad: %s", problem)
        self._judge.worker.abandon()
        self._judge = _Judge(self._detector)
        for feed in list(self._feeds):
            feed.fail(problem)


class VoiceFeed:
    """One session's way into the detector."""

    def __init__(self, hub: VoiceHub, deliver: Deliver) -> None:
        self._hub = hub
        self._deliver = deliver
        self._open = True
        self._ear: _Ear | None = None
        self._epoch = 0
        self._heard = 0
        self._judged = 0
        self._caught_up = asyncio.Event()
        self._caught_up.set()
        self._watch: asyncio.TimerHandle | None = None

    def reset(self, epoch: int) -> None:
        """Makes the detector's state new. What is on its way is dropped, or arrives under the old epoch."""
        self._epoch = epoch
        self._drop_ear()

    def hear(self, samples: Pcm16, position: int) -> None:
        """Takes int16 `[n]` at 24 kHz that begins at tick `position`; sound of one epoch has no gaps."""
        if self._ear is None:
            self._ear = self._hub.new_ear(self._epoch, position, self._take)
            self._judged = position
        self._heard = position + len(samples)
        if self._heard - self._judged > _FAR_BEHIND:
            self._caught_up.clear()
        self._hub.submit(self._ear, samples)
        if self._watch is None:
            self._look_later()

    async def caught_up(self) -> None:
        """Waits while the detector is far behind, so that whoever sends faster than it hears has to wait."""
        await self._caught_up.wait()

    def fail(self, problem: str) -> None:
        """Starts over with the sound that comes now, and tells the session."""
        if self._ear is not None:
            self._drop_ear()
            self._deliver(VoiceFailed(self._epoch, problem))

    def close(self) -> None:
        self._open = False
        self._drop_ear()
        self._hub.leave(self)
        if self._watch is not None:
            self._watch.cancel()

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(self._hub.timeout, self._look, self._ear, self._judged)

    def _look(self, ear: _Ear | None, judged: int) -> None:
        """Looks whether the detector has moved on by a frame since the last look, where it had one to judge."""
        self._watch = None
        if ear is None or ear is not self._ear:
            return
        if self._heard - judged > _IN_FLIGHT and self._judged == judged:
            self._hub.give_up()
        elif self._heard - self._judged > _IN_FLIGHT:
            self._look_later()

    def _drop_ear(self) -> None:
        if self._ear is not None:
            self._ear.dropped = True
            self._ear = None
        self._caught_up.set()

    def _take(self, verdict: VoiceVerdict | VoiceFailed) -> None:
        if not self._open:
            return
        if verdict.epoch == self._epoch:
            self._judged = verdict.end if isinstance(verdict, VoiceVerdict) else self._heard
            if self._heard - self._judged <= _FAR_BEHIND:
                self._caught_up.set()
        self._deliver(verdict)
