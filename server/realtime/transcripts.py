"""What was said, on its way into words: what the client is told of it, and who waits for it."""

from collections.abc import Callable, Iterable

from msgspec import UNSET, UnsetType

from pipeline.types import TokenLogProbability, Transcript
from server.realtime.conversation import Conversation, MessageItem
from server.realtime.inbox import PartialTranscript, Transcribed, TranscriptionFault
from server.realtime.listening import Utterance
from server.realtime.outbox import Outbox
from server.realtime.responding import Responding
from server.realtime.schema import LogProb, Session, StatusError
from server.realtime.server_events import (
    TranscriptionCompleted,
    TranscriptionDelta,
    TranscriptionError,
    TranscriptionFailed,
    TranscriptionSegment,
)
from server.realtime.usage import transcription_usage

_PART = 0
"""Items of Parley have one content part."""


class Transcripts:
    """The transcripts of one session that are in the making."""

    def __init__(
        self, outbox: Outbox, conversation: Conversation, responding: Responding, session: Callable[[], Session]
    ) -> None:
        """`session` returns the configuration in force."""
        self._outbox = outbox
        self._conversation = conversation
        self._responding = responding
        self._session = session
        self._spoken: dict[int, tuple[Utterance, MessageItem]] = {}
        """What was said and is still being put into words, by turn."""

    def expect(self, utterance: Utterance, item: MessageItem) -> None:
        """Notes that the words of this item are being found out."""
        self._spoken[utterance.turn] = (utterance, item)

    def show_partial(self, partial: PartialTranscript, spoken: Utterance | None) -> None:
        """Shows the words that were agreed on since the last time; the final transcript may correct them.

        `spoken` is the utterance under way, if one is.
        """
        if partial.turn in self._spoken:
            spoken, item = self._spoken[partial.turn]
            if self._conversation.find(item.id) is None:
                return
        if spoken is not None and spoken.turn == partial.turn and self._is_wanted:
            self._show(spoken, partial.text)

    def finish(self, result: Transcribed) -> None:
        """Takes the transcript of a committed utterance."""
        if result.turn not in self._spoken:
            return
        utterance, item = self._spoken.pop(result.turn)
        transcript = result.transcript
        item.text = transcript.text
        if self._is_wanted and self._conversation.find(item.id) is not None:
            self._show(utterance, item.text)
            self._send_segments(item, transcript)
            self._outbox.send(
                TranscriptionCompleted(
                    item_id=item.id,
                    content_index=_PART,
                    transcript=item.text,
                    usage=transcription_usage(transcript, item.heard_ticks),
                    logprobs=self._log_probs(transcript),
                )
            )
        self._responding.words_are_known(item.id)

    def fail(self, fault: TranscriptionFault) -> None:
        """Notes that the words of a committed utterance are lost."""
        if fault.turn not in self._spoken:
            return
        _, item = self._spoken.pop(fault.turn)
        item.text = ""
        if self._is_wanted and self._conversation.find(item.id) is not None:
            error = TranscriptionError(type=fault.kind, code=fault.code, message=fault.problem)
            self._outbox.send(TranscriptionFailed(item_id=item.id, content_index=_PART, error=error))
        self._responding.drop_held()
        self._responding.words_are_lost(item.id, StatusError(type=fault.kind, code=fault.code, message=fault.problem))

    @property
    def _is_wanted(self) -> bool:
        """Whether the client wants to see the words."""
        return self._session().audio.input.transcription is not None

    def _show(self, utterance: Utterance, text: str) -> None:
        """Sends what `text` goes on with behind what was shown; nothing where it is another text."""
        if text.startswith(utterance.shown) and (delta := text[len(utterance.shown) :]):
            utterance.shown = text
            self._outbox.send(TranscriptionDelta(item_id=utterance.item_id, content_index=_PART, delta=delta))

    def _send_segments(self, item: MessageItem, transcript: Transcript) -> None:
        # A session that answers is followed by clients that know nothing of segments: OpenAI's has none either.
        for segment in transcript.segments if self._session().type == "transcription" else ():
            self._outbox.send(
                TranscriptionSegment(
                    id=self._outbox.new_id("seg"),
                    item_id=item.id,
                    content_index=_PART,
                    text=segment.text,
                    start=segment.start,
                    end=segment.end,
                )
            )

    def _log_probs(self, transcript: Transcript) -> list[LogProb] | UnsetType | None:
        if not self._session().include:
            return UNSET
        if transcript.text and not transcript.token_log_probabilities:
            return None
        return log_probs(transcript.token_log_probabilities)


def log_probs(tokens: Iterable[TokenLogProbability]) -> list[LogProb]:
    """Returns log probabilities as the protocol writes them."""
    return [
        LogProb(token=token.text, logprob=token.log_probability, bytes=list(token.text.encode())) for token in tokens
    ]
