"""What a call's replies still have to be played: the server's own playback buffer, emptied 20 ms at a time."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipeline.audio import pcm16_from_bytes
from pipeline.types import WIRE_RATE, Pcm16
from server.realtime import commands as do
from server.realtime.inbox import SoundPaused, SoundPlaying

MOST_WAITING = 60 * WIRE_RATE
"""Sound that may wait to be played before no more of it is made, in samples: a minute."""


class _Track:
    """The sound of one item that has not been played yet; `place` samples of it have been."""

    def __init__(self) -> None:
        self.pieces: deque[Pcm16] = deque()
        self.waiting = 0
        self.place = 0
        self.ended = False

    def add(self, samples: Pcm16) -> None:
        self.pieces.append(samples)
        self.waiting += len(samples)

    def take(self, count: int) -> Pcm16:
        """Returns so many samples, or all there are, filled up with silence."""
        taken = np.zeros(count, np.int16)
        at = 0
        while at < count and self.pieces:
            piece = self.pieces.popleft()
            fits = min(len(piece), count - at)
            taken[at : at + fits] = piece[:fits]
            at += fits
            if fits < len(piece):
                self.pieces.appendleft(piece[fits:])
        self.waiting -= at
        self.place += at
        return taken


class Player:
    """Items one after the other, in the order of their first sound. Whoever plays it asks for frame after frame."""

    def __init__(self, tell: Callable[[SoundPlaying | SoundPaused], None]) -> None:
        """`tell` is told when an item begins to be played or goes on, and when there is nothing to play."""
        self._tell = tell
        self._tracks: dict[str, _Track] = {}
        self._playing: str | None = None
        """The item whose sound the last frame was."""
        self._over = 0
        """Where that item had its end, when it is over."""
        self._room = asyncio.Event()
        self._room.set()
        self.dispatch: Mapping[type, Callable[[Any], None]] = {
            do.PlaySound: self._play,
            do.EndSound: self._end,
            do.DropSound: self._drop,
        }
        """Who carries out which command."""

    def frame(self, samples: int) -> Pcm16 | None:
        """Returns the next int16 `[samples]` at 24 kHz; None: there is nothing to play. To be asked for when the one
        before is over.
        """
        item_id, track = self._current()
        if track is None or (track.waiting < samples and not (track.ended and track.waiting)):
            if self._playing is not None:
                place = track.place if track is not None and item_id == self._playing else self._over
                self._tell(SoundPaused(self._playing, place))
                self._playing = None
            return None
        assert item_id is not None
        if item_id != self._playing:
            self._playing = item_id
            self._tell(SoundPlaying(item_id, track.place))
        frame = track.take(samples)
        self._look_for_room()
        return frame

    def _current(self) -> tuple[str | None, _Track | None]:
        """Returns the first item that has sound to come, and forgets those before it."""
        while self._tracks:
            item_id, track = next(iter(self._tracks.items()))
            if track.waiting or not track.ended:
                return item_id, track
            if item_id == self._playing:
                self._over = track.place
            del self._tracks[item_id]
        return None, None

    def _play(self, command: do.PlaySound) -> None:
        self._tracks.setdefault(command.item_id, _Track()).add(pcm16_from_bytes(command.audio))
        self._look_for_room()

    def _end(self, command: do.EndSound) -> None:
        if (track := self._tracks.get(command.item_id)) is not None:
            track.ended = True

    def _drop(self, command: do.DropSound) -> None:
        self._tracks.pop(command.item_id, None)
        if self._playing == command.item_id:
            self._playing = None
        self._look_for_room()

    def _look_for_room(self) -> None:
        if sum(track.waiting for track in self._tracks.values()) < MOST_WAITING:
            self._room.set()
        else:
            self._room.clear()

    async def room(self) -> None:
        """Waits until more sound may come."""
        await self._room.wait()
