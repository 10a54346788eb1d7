"""The user's long silences: how long it has been since the last reply was played out.

The machine has no clock. Two waits are asked for with `SetIdleTimer`, one after the other: until the reply has been
played, and then for as long as the client's `idle_timeout_ms` says.
"""

from dataclasses import dataclass

from server.realtime.commands import SetIdleTimer
from server.realtime.outbox import Outbox


@dataclass(slots=True)
class _Silence:
    """Since when it is silent: in ms, and as a position in the user's sound, in ticks."""

    since: int
    start: int


class Idling:
    """Watches one session. Tell it after each event how things stand; it sets the timer."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._number = 0
        self._due: int | None = None
        self._silence: _Silence | None = None

    def watch(self, timeout_ms: int | None, played_until: int, position: int) -> None:
        """Sets the timer anew, if it has to be.

        Args:
            timeout_ms: how long the silence may last; None: it is the user's turn or the model's, or nobody wants to
                know.
            played_until: when the last reply has been played, in ms of the machine's time.
            position: how far the user's sound is known to be silent, in ticks.
        """
        if timeout_ms is None:
            self._silence = None
            self._set(None)
            return
        if self._silence is None and played_until <= self._outbox.now:
            self._silence = _Silence(self._outbox.now, position)
        self._set(played_until if self._silence is None else self._silence.since + timeout_ms)

    def elapsed(self, number: int, timeout_ms: int | None) -> int | None:
        """Takes a timer that has run out.

        Returns:
            Where the silence began, in ticks, if it has lasted `timeout_ms`.
        """
        if number != self._number:
            return None
        self._due = None  # should it have come early, it is set once more
        silence = self._silence
        if timeout_ms is None or silence is None or self._outbox.now < silence.since + timeout_ms:
            return None
        self._silence = None
        return silence.start

    def close(self) -> None:
        self._set(None)

    def _set(self, due: int | None) -> None:
        if due != self._due:
            self._due = due
            self._number += 1
            after_ms = None if due is None else max(0, due - self._outbox.now)
            self._outbox.put(SetIdleTimer(self._number, after_ms))
