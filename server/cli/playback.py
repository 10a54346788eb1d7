"""What waits to be played, and how much of each item has been. Filled by the conversation, emptied by the speaker."""

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from pipeline.audio import StreamResampler
from pipeline.types import WIRE_RATE, Pcm16


@dataclass(frozen=True, slots=True)
class Cut:
    """An item that was not played to its end, and the milliseconds of it that were."""

    item_id: str
    content_index: int
    played_ms: int


@dataclass(slots=True)
class _Track:
    """The sound of one item. Counts are samples at the speaker's rate."""

    item_id: str
    content_index: int
    resampler: StreamResampler
    queue: deque[Pcm16] = field(default_factory=deque)
    pushed: int = 0
    pulled: int = 0
    finished: bool = False


class Playback:
    """The items' sound, one after the other. `pull` is called by the speaker's thread, the rest by the owner's."""

    def __init__(self, rate: int) -> None:
        """`rate`: samples a second of what `pull` gives."""
        self._rate = rate
        self._lock = threading.Lock()
        self._tracks: deque[_Track] = deque()
        self._over: set[str] = set()
        """Items that are played or cut: nothing more of them is taken."""

    @property
    def playing(self) -> bool:
        """Whether there is sound that the speaker has not fetched yet."""
        with self._lock:
            return any(track.queue for track in self._tracks)

    def push(self, item_id: str, content_index: int, samples: Pcm16) -> None:
        """Adds sound to an item, int16 at 24 kHz. Sound of an item that was cut is dropped."""
        with self._lock:
            track = self._track(item_id)
            if track is None:
                if item_id in self._over:
                    return
                for earlier in self._tracks:  # of a server that did not say so
                    self._end(earlier)
                track = _Track(item_id, content_index, StreamResampler(WIRE_RATE, self._rate))
                self._tracks.append(track)
            self._add(track, track.resampler.process(samples))

    def finish(self, item_id: str) -> None:
        """Says that all of an item's sound is there."""
        with self._lock:
            track = self._track(item_id)
            if track is not None:
                self._end(track)

    def pull(self, count: int) -> Pcm16:
        """Returns the next `count` samples for the speaker; silence where there is nothing to play."""
        block = np.zeros(count, np.int16)
        filled = 0
        with self._lock:
            for track in self._tracks:
                while track.queue and filled < count:
                    piece = track.queue.popleft()
                    taken = piece[: count - filled]
                    if len(taken) < len(piece):
                        track.queue.appendleft(piece[len(taken) :])
                    block[filled : filled + len(taken)] = taken
                    filled += len(taken)
                    track.pulled += len(taken)
            self._retire()
        return block

    def stop(self) -> list[Cut]:
        """Drops what waits. Returns the items that lose something by it.

        What the speaker has fetched is heard in the next milliseconds and counts as played.
        """
        with self._lock:
            cuts = [
                Cut(track.item_id, track.content_index, track.pulled * 1000 // self._rate)
                for track in self._tracks
                if track.queue
            ]
            self._over.update(track.item_id for track in self._tracks)
            self._tracks.clear()
            return cuts

    def pushed(self, item_id: str) -> int:
        """Returns how many samples of an item have come so far, at the speaker's rate."""
        with self._lock:
            track = self._track(item_id)
            return 0 if track is None else track.pushed

    def pulled(self, item_id: str) -> int | None:
        """Returns how many samples of an item have been fetched; None when it has no sound, or is over."""
        with self._lock:
            track = self._track(item_id)
            return None if track is None else track.pulled

    def is_over(self, item_id: str) -> bool:
        """Whether an item has been played to its end, or was cut."""
        with self._lock:
            return item_id in self._over

    def _track(self, item_id: str) -> _Track | None:
        return next((track for track in self._tracks if track.item_id == item_id), None)

    def _end(self, track: _Track) -> None:
        if not track.finished:
            self._add(track, track.resampler.flush())
            track.finished = True

    def _add(self, track: _Track, samples: Pcm16) -> None:
        if len(samples):
            track.queue.append(samples)
            track.pushed += len(samples)

    def _retire(self) -> None:
        while self._tracks and self._tracks[0].finished and not self._tracks[0].queue:
            self._over.add(self._tracks.popleft().item_id)
