"""Where the parts of the machine put their commands, and where they get ids, turn numbers and the time."""

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from server.realtime.commands import Command, Send, SendRetrieved
from server.realtime.schema import AudioFormat
from server.realtime.server_events import ItemRetrieved, ServerEvent

E = TypeVar("E", bound=ServerEvent)

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
        self._commands.append(Send(self._named(event)))

    def send_retrieved(self, event: ItemRetrieved, format: AudioFormat) -> None:
        """Sends an item with its sound; see `SendRetrieved`."""
        self._commands.append(SendRetrieved(self._named(event), format))

    def _named(self, event: E) -> E:
        event.event_id = self.new_id("event")
        return event

    def new_turn(self) -> int:
        self._turns += 1
        return self._turns

    def drain(self) -> list[Command]:
        """Returns the commands since the last call, in order."""
        commands, self._commands = self._commands, []
        return commands
