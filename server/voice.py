"""Voice activity detection for all sessions: whatever frames are waiting go through the detector in one call.

Sound waits in each session's ear as the bytes that came. The detector's thread is woken when a frame is whole, takes
the frames of all that have one, and hands all verdicts back to the event loop at once.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from pipeline.stages import VoiceActivityDetector
from pipeline.types import WIRE_RATE
from pipeline.vad.frames import HISTORY, FrameMaker
from pipeline.workers import BatchWorker, post
from server.realtime.inbox import VoiceFailed, VoiceVerdict

log = logging.getLogger(__name__)

_ROUNDS: Final = 32
"""Frames of one session (32 ms each) that are judged before those who came meanwhile get their turn."""

_TOLD: Final = 32
"""Verdicts that the event loop takes in one go, some 0.5 ms of work: it has others to serve."""

_FAR_BEHIND: Final = 10 * WIRE_RATE
"""Sound that may wait for the detector before its sender has to: ten seconds."""

_IN_FLIGHT: Final = WIRE_RATE // 5
"""Sound that is on its way even when all is well: a frame, and what has come of the next; 200 ms are ample."""

Deliver: TypeAlias = Callable[[VoiceVerdict | VoiceFailed], None]
_Told: TypeAlias = list[tuple[Deliver, VoiceVerdict | VoiceFailed]]


class _Ear:
    """One session and epoch. The session's loop puts sound in and may set `dropped`; the rest is the worker's."""

    def __init__(
        self, detector: VoiceActivityDetector, frames: FrameMaker, epoch: int, position: int, deliver: Deliver
    ) -> None:
        self.dropped = False
        """Set by the session when nobody wants to know any more."""
        self.epoch = epoch
        self.deliver = deliver
        self.loop = asyncio.get_running_loop()
        self.waiting: deque[bytes] = deque()
        """Sound that came and has not been looked at."""
        self._detector = detector
        self._state: object | None = None
        self._ticks = frames.ticks
        self._window_bytes = frames.window_bytes
        self._position = position
        self._sound = bytes(2 * HISTORY)
        self._at = 0

    @property
    def state(self) -> object:
        """The detector's state for this ear, opened when it is first wanted: what goes wrong then is a failed call."""
        if self._state is None:
            self._state = self._detector.open()
        return self._state

    def next_window(self) -> bytes | None:
        """Returns the next frame as a `FrameMaker` wants it; None when there is none yet."""
        if self.dropped:
            self.forget()
        missing = self._window_bytes - (len(self._sound) - self._at)
        if missing > 0:
            pieces = [self._sound[self._at :]]
            while missing > 0 and self.waiting:
                pieces.append(self.waiting.popleft())
                missing -= len(pieces[-1])
            self._sound, self._at = b"".join(pieces), 0
            if missing > 0:
                return None
        window = self._sound[self._at : self._at + self._window_bytes]
        self._at += 2 * self._ticks
        return window

    def verdict(self, probability: float) -> VoiceVerdict:
        """Returns the verdict on the frame that was next, and moves on by it."""
        start = self._position
        self._position += self._ticks
        return VoiceVerdict(self.epoch, start, self._position, probability)

    def forget(self) -> None:
        self.waiting.clear()
        self._sound, self._at = b"", 0


class _Mail:
    """Verdicts on their way to a loop, in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Deliver, VoiceVerdict | VoiceFailed]] = deque()

    def post(self, told: _Told) -> None:
        """Sends verdicts, from another thread: one wake-up of the loop, however many there are."""
        self._waiting.extend(told)
        post(self._loop, self._deliver)

    def _deliver(self) -> None:
        try:
            for _ in range(min(_TOLD, len(self._waiting))):
                deliver, verdict = self._waiting.popleft()
                deliver(verdict)
        finally:  # what one session makes of its verdict must not cost the others theirs
            if self._waiting:
                self._loop.call_soon(self._deliver)


class _Judge:
    """The detector's thread, and whose frames are before it."""

    def __init__(self, detector: VoiceActivityDetector, frames: FrameMaker) -> None:
        self._detector = detector
        self._frames = frames
        self._behind: dict[_Ear, None] = {}
        self._mails: dict[asyncio.AbstractEventLoop, _Mail] = {}
        self.worker: BatchWorker[_Ear] = BatchWorker("vad", self._work)

    def _work(self, batch: list[_Ear]) -> None:
        self._behind.update(dict.fromkeys(batch))
        for _ in range(_ROUNDS):
            waiting = [(ear, window) for ear in self._behind if (window := ear.next_window()) is not None]
            self._behind = dict.fromkeys(ear for ear, _ in waiting)
            if not waiting:
                return
            self._judge([ear for ear, _ in waiting], [window for _, window in waiting])
        for ear in self._behind:
            self.worker.submit(ear)

    def _judge(self, ears: list[_Ear], windows: list[bytes]) -> None:
        told: list[VoiceVerdict | VoiceFailed]
        try:
            frames = self._frames.frames(windows)
            probabilities = self._detector.detect([(ear.state, frame) for ear, frame in zip(ears, frames, strict=True)])
            told = [ear.verdict(probability) for ear, probability in zip(ears, probabilities, strict=True)]
        except Exception as error:
            log.exception("vad: the engine raised")
            problem = f"The vad stage failed: {type(error).__name__}: {error}"
            told = [VoiceFailed(ear.epoch, problem) for ear in ears]
            for ear in ears:
                ear.forget()
        by_loop: dict[asyncio.AbstractEventLoop, _Told] = {}
        for ear, verdict in zip(ears, told, strict=True):
            by_loop.setdefault(ear.loop, []).append((ear.deliver, verdict))
        for loop, theirs in by_loop.items():
            self._mail(loop).post(theirs)

    def _mail(self, loop: asyncio.AbstractEventLoop) -> _Mail:
        if loop not in self._mails:
            self._mails[loop] = _Mail(loop)
        return self._mails[loop]


class VoiceHub:
    """One voice activity detector, shared by every session that listens through it."""

    def __init__(self, detector: VoiceActivityDetector, timeout: float) -> None:
        """`timeout` is how many seconds the detector may take for a frame before its thread is given up."""
        self.timeout = timeout
        self._detector = detector
        self._frames = FrameMaker(detector.frame)
        self._judge = _Judge(detector, self._frames)
        self._feeds: set[VoiceFeed] = set()
        self.watchers: list[list[float]] = []
        """Are given, in seconds, how long after the sound that completes a frame each verdict came."""

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
        return _Ear(self._detector, self._frames, epoch, position, deliver)

    @property
    def frame_ticks(self) -> int:
        """Samples at 24 kHz of the detector's frame."""
        return self._frames.ticks

    def look(self, ear: _Ear) -> None:
        """Has the detector look at an ear in which a frame is whole."""
        self._judge.worker.submit(ear)

    def give_up(self) -> None:
        """Leaves a detector that hangs behind, thread and all; every session starts over with another thread."""
        problem = f"The vad stage gave no sign of life for {self.timeout:g} s (`timeout` of its block in models.yaml)."
        log.error("vad: %s", problem)
        self._judge.worker.abandon()
        self._judge = _Judge(self._detector, self._frames)
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
        self._whole_at = 0
        self._caught_up = asyncio.Event()
        self._caught_up.set()
        self._watch: asyncio.TimerHandle | None = None
        self._arrivals: deque[tuple[int, float]] = deque()
        """Up to which tick sound had come, and when, while somebody watches the hub."""

    def reset(self, epoch: int) -> None:
        """Makes the detector's state new. What is on its way is dropped, or arrives under the old epoch."""
        self._epoch = epoch
        self._drop_ear()

    def hear(self, audio: bytes, position: int) -> None:
        """Takes int16, little-endian, at 24 kHz that begins at tick `position`; sound of one epoch has no gaps."""
        if self._ear is None:
            self._ear = self._hub.new_ear(self._epoch, position, self._take)
            self._judged = position
            self._whole_at = position + self._hub.frame_ticks
        self._ear.waiting.append(audio)
        self._heard = heard = position + len(audio) // 2
        if self._hub.watchers:
            self._arrivals.append((heard, time.monotonic()))
        if heard < self._whole_at:
            return  # no frame is whole yet: nobody need wake up
        self._whole_at += (heard - self._whole_at) // self._hub.frame_ticks * self._hub.frame_ticks
        self._whole_at += self._hub.frame_ticks
        if heard - self._judged > _FAR_BEHIND:
            self._caught_up.clear()
        self._hub.look(self._ear)
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
        if self._arrivals:
            self._tell_watchers(verdict)
        if verdict.epoch == self._epoch:
            self._judged = verdict.end if isinstance(verdict, VoiceVerdict) else self._heard
            if self._heard - self._judged <= _FAR_BEHIND:
                self._caught_up.set()
        self._deliver(verdict)

    def _tell_watchers(self, verdict: VoiceVerdict | VoiceFailed) -> None:
        if not self._hub.watchers:
            self._arrivals.clear()
        elif isinstance(verdict, VoiceVerdict):
            while self._arrivals and self._arrivals[0][0] < verdict.end:
                self._arrivals.popleft()
            if self._arrivals:
                delay = time.monotonic() - self._arrivals[0][1]
                for delays in self._hub.watchers:
                    delays.append(delay)
