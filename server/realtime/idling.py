"""The user's long silences: what happens when nothing is said for `idle_timeout_ms` after a reply was played.

The machine has no clock. Two waits are asked for with `SetIdleTimer`, one after the other: until the reply has been
played, and then for as long as the client says.
"""

from collections.abc import Callable
from dataclasses import dataclass

from server.realtime.commands import SetIdleTimer
from server.realtime.conversation import Conversation
from server.realtime.listening import Listening, Phase
from server.realtime.outbox import Outbox
from server.realtime.responding import Responding
from server.realtime.schema import ServerVad, TurnDetection


@dataclass(slots=True)
class _Silence:
    """Since when it is silent: in ms, and as a position in the user's sound, in ticks."""

    since: int
    start: int


class Idling:
    """Watches one session, and has `listening` end a silence that has lasted too long."""

    def __init__(
        self,
        outbox: Outbox,
        listening: Listening,
        responding: Responding,
        conversation: Conversation,
        played_until: Callable[[], int],
    ) -> None:
        """`played_until` returns when the replies have been played that there are, in ms."""
        self._outbox = outbox
        self._listening = listening
        self._responding = responding
        self._conversation = conversation
        self._played_until = played_until
        self._number = 0
        self._due: int | None = None
        self._silence: _Silence | None = None

    def watch(self, detection: TurnDetection | None) -> None:
        """Sets the timer by how things stand now. To be called after each event."""
        timeout_ms = self._timeout_ms(detection)
        if timeout_ms is None:
            self._silence = None
            self._set(None)
            return
        played_until, now = self._played_until(), self._outbox.now
        if self._silence is None and played_until <= now:
            self._silence = _Silence(now, self._listening.judged)
        self._set(played_until if self._silence is None else self._silence.since + timeout_ms)

    def elapsed(self, number: int, detection: TurnDetection | None) -> None:
        """Takes a timer that has run out."""
        if number != self._number:
            return
        self._due = None  # should it have come early, it is set once more
        timeout_ms, silence = self._timeout_ms(detection), self._silence
        if timeout_ms is not None and silence is not None and self._outbox.now >= silence.since + timeout_ms:
            self._silence = None
            self._listening.time_out(silence.start)

    def close(self) -> None:
        """Ends the wait with the session."""
        self._set(None)

    def _timeout_ms(self, detection: TurnDetection | None) -> int | None:
        """Returns how long the user may be silent; None where nobody waits for them: nothing has been answered yet,
        something is being answered, or the client has a call to make first.
        """
        if not isinstance(detection, ServerVad) or detection.idle_timeout_ms is None:
            return None
        waiting = self._responding.has_answered and self._responding.active is None
        if not waiting or self._listening.phase is not Phase.IDLE or self._conversation.awaits_output():
            return None
        return detection.idle_timeout_ms

    def _set(self, due: int | None) -> None:
        if due != self._due:
            self._due = due
            self._number += 1
            after_ms = None if due is None else max(0, due - self._outbox.now)
            self._outbox.put(SetIdleTimer(self._number, after_ms))
