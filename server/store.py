"""The sound of a session that may still be needed, by position."""

from collections import deque

import numpy as np

from pipeline.audio import pcm16_from_bytes
from pipeline.types import Pcm16


class AudioStore:
    """Keeps appended sound, int16 at 24 kHz, addressed by tick since the session began. It is kept as it came: most of
    it is silence that nobody reads.
    """

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._start = 0
        self.end = 0

    @property
    def kept(self) -> int:
        """Ticks of sound that are held in memory."""
        return self.end - self._start

    def append(self, audio: bytes) -> None:
        """Takes whole samples, little-endian."""
        if audio:
            self._pieces.append(audio)
            self.end += len(audio) // 2

    def read(self, start: int, end: int) -> Pcm16:
        """Returns `[start, end)`.

        Raises:
            IndexError: some of it has been forgotten, or was never appended.
        """
        if not self._start <= start <= end <= self.end:
            raise IndexError(f"[{start}, {end}) is not within [{self._start}, {self.end})")
        parts: list[Pcm16] = []
        position = self.end
        for piece in reversed(self._pieces):  # what is read lies nearly always at the end
            position -= len(piece) // 2
            if position < end:
                parts.append(pcm16_from_bytes(piece)[max(start - position, 0) : end - position])
            if position <= start:
                break
        return np.concatenate(parts[::-1]) if parts else np.zeros(0, np.int16)

    def forget(self, before: int) -> None:
        """Lets go of the pieces that lie wholly before this tick."""
        while self._pieces and self._start + len(self._pieces[0]) // 2 <= before:
            self._start += len(self._pieces.popleft()) // 2
