"""Sound that comes inside items: put into words beside what is being said, in its place in the history."""

from collections.abc import Iterable

from server.realtime.commands import KeepRecording, TranscribeRecording
from server.realtime.conversation import Conversation
from server.realtime.given import GivenMessage, GivenSound
from server.realtime.inbox import Transcribed, TranscriptionFault
from server.realtime.items import NewItem
from server.realtime.outbox import Outbox
from server.realtime.server_events import (
    TranscriptionCompleted,
    TranscriptionDelta,
    TranscriptionError,
    TranscriptionFailed,
)
from server.realtime.usage import transcription_usage


class Recordings:
    """The recordings of one session that are being put into words, by turn."""

    def __init__(self, outbox: Outbox, conversation: Conversation) -> None:
        self._outbox = outbox
        self._conversation = conversation
        self._turns: dict[int, tuple[GivenMessage, int, GivenSound]] = {}

    def take(self, new: Iterable[NewItem], *, keep: bool = True) -> None:
        """Has the sound of items transcribed, and kept for whoever retrieves them."""
        for each in new:
            assert isinstance(each.item, GivenMessage) or not each.recordings
            for recording in each.recordings:
                assert isinstance(each.item, GivenMessage)
                turn = self._outbox.new_turn()
                self._turns[turn] = (each.item, recording.content_index, recording.part)
                if keep:
                    self._outbox.put(KeepRecording(each.item.id, recording.content_index, recording.audio))
                self._outbox.put(TranscribeRecording(turn, recording.audio))

    def transcribed(self, result: Transcribed, shows: bool) -> GivenMessage | None:
        """Notes what a recording says. Returns its message; None: the turn is no recording's."""
        if result.turn not in self._turns:
            return None
        item, index, sound = self._turns.pop(result.turn)
        sound.text = result.transcript.text
        if shows and self._is_there(item):
            if sound.text:
                self._outbox.send(TranscriptionDelta(item_id=item.id, content_index=index, delta=sound.text))
            usage = transcription_usage(result.transcript, sound.ticks)
            self._outbox.send(
                TranscriptionCompleted(item_id=item.id, content_index=index, transcript=sound.text, usage=usage)
            )
        return item

    def failed(self, fault: TranscriptionFault, shows: bool) -> GivenMessage | None:
        """Notes that a recording is not understood. Returns its message; None: the turn is no recording's."""
        if fault.turn not in self._turns:
            return None
        item, index, sound = self._turns.pop(fault.turn)
        sound.text = ""
        if shows and self._is_there(item):
            error = TranscriptionError(type=fault.kind, code=fault.code, message=fault.problem)
            self._outbox.send(TranscriptionFailed(item_id=item.id, content_index=index, error=error))
        return item

    def _is_there(self, item: GivenMessage) -> bool:
        return self._conversation.find(item.id) is item
