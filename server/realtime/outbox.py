"""Where the parts of the machine put their commands, and where they get ids, turn numbers and the time."""

from collections.abc import Callable
from typing import TypeAlias

from server.realtime.commands import Command, Send
from server.realtime.server_events import ServerEvent

IdSource: TypeAlias = Callable[[str], str]
"""Makes a new id with a prefix: `ids("item") -> "item_…"`. Passed in, so that a log replays to the same bytes."""


class Outbox:
    """Shared by the machine's parts; `now` is the time of the event being handled, in ms of any steady clock."""

    def __init__(self, ids: IdSource) -> None:
        self.new_id = ids
        self.now = 0
        self._commands: list[Command] = []
        self._turns = 0

    def put(self, command: Command) -> None:
        self._commands.append(command)

    def send(self, event: ServerEvent) -> None:
        """Sends an event to the client, with a new `event_id`."""
        event.event_id = self.new_id("event")
        self._commands.append(Send(event))

    def new_turn(self) -> int:
        self._turns += 1
        return self._turns

    def drain(self) -> list[Command]:
        """Returns the commands since the last call, in order."""
        commands, self._commands = self._commands, []
        return commands
