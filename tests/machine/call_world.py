"""A simulated call: what the machine wants to be played is played by the real player, as time goes by."""

from typing import Any

from server.playing import Player
from server.realtime import commands as do
from server.realtime.call import Call
from server.realtime.inbox import Event, IdleTimer, SoundArrived, SoundPlaying
from server.realtime.server_events import ItemTruncated
from server.realtime.session_config import Profile
from tests.machine.world import PROFILE, World

FRAME_MS = 20
FRAME = 480


class CallWorld(World):
    def __init__(self, profile: Profile = PROFILE, call: Call | None = None) -> None:
        self._told: list[Event] = []
        self.player = Player(self._told.append)
        self.frames: list[str | None] = []
        """Whose sound was played, frame by frame of 20 ms; None: silence."""
        self._playing: str | None = None
        self._next_frame = 0
        self._client_truncates = False
        self._cut: set[str] = set()
        """Items that the client has cut, wherever it liked."""
        super().__init__(profile, call=call or Call())

    def append(self, ticks: int) -> None:
        self.pass_time(ticks * 1000 // 24_000)
        self.handle(SoundArrived(bytes(ticks * 2)))

    def wait(self, ms: int) -> list[dict[str, Any]]:
        before = len(self.wire.events)
        self.pass_time(ms)
        return self.wire.events[before:]

    def pass_time(self, ms: int) -> None:
        """Time goes by: every 20 ms a frame is played, and timers run out."""
        end = self.now + ms
        while self._next_frame <= end:
            self.now = max(self.now, self._next_frame)
            self._next_frame += FRAME_MS
            self._play_frame()
            self._look_at_timer()
        self.now = end
        self._look_at_timer()

    def _play_frame(self) -> None:
        frame = self.player.frame(FRAME)
        told, self._told[:] = list(self._told), []
        for event in told:
            if isinstance(event, SoundPlaying):
                self._playing = event.item_id
            self.handle(event)
        self.frames.append(None if frame is None else self._playing)

    def _look_at_timer(self) -> None:
        if self.timer is not None and self.timer[1] <= self.now:
            number, self.timer = self.timer[0], None
            self.handle(IdleTimer(number))

    def played_ms(self, item_id: str) -> int:
        """How much of an item has been played, in whole frames: the one that has begun counts."""
        return FRAME_MS * self.frames.count(item_id)

    def play_out(self) -> None:
        """Time goes by until all sound has been played that there is: then whoever has no more to say has stopped."""
        for _ in range(5000):
            if self.wire.playing is None or not self.wire.responses[self.wire.playing].done:
                return
            self.pass_time(FRAME_MS)
        raise AssertionError("what is played comes to an end")

    def disconnect(self) -> None:
        self.play_out()
        super().disconnect()

    def _send(self, event: Any) -> None:
        super()._send(event)
        if not isinstance(event, ItemTruncated):
            return
        if self._client_truncates:
            self._cut.add(event.item_id)
        elif event.item_id not in self._cut:
            late = self.played_ms(event.item_id) - event.audio_end_ms
            assert late <= FRAME_MS, "the history has what was played (8)"

    def client(self, **event: Any) -> list[dict[str, Any]]:
        self._client_truncates = event.get("type") == "conversation.item.truncate"
        sent = super().client(**event)
        self._client_truncates = False
        return sent

    def _carry_out(self, commands: list[do.Command]) -> None:
        for command in commands:
            if type(command) in self.player.dispatch:
                self.player.dispatch[type(command)](command)
        super()._carry_out(commands)
