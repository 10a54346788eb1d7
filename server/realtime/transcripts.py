"""What was said, on its way into words: what the client is told of it, and who waits for it."""

import itertools
from collections.abc import Callable
from typing import TypeAlias

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

Tokens: TypeAlias = tuple[TokenLogProbability, ...]

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
            self._show(spoken, partial.text, partial.tokens)

    def finish(self, result: Transcribed) -> None:
        """Takes the transcript of a committed utterance."""
        if result.turn not in self._spoken:
            return
        utterance, item = self._spoken.pop(result.turn)
        transcript = result.transcript
        item.text = transcript.text
        if self._is_wanted and self._conversation.find(item.id) is not None:
            self._show(utterance, item.text, transcript.token_log_probabilities)
            self._send_segments(item, transcript)
            self._outbox.send(
                TranscriptionCompleted(
                    item_id=item.id,
                    content_index=_PART,
                    transcript=item.text,
                    usage=transcription_usage(transcript, item.heard_ticks),
                    logprobs=self._log_probs(item.text, transcript.token_log_probabilities),
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

    def _show(self, utterance: Utterance, text: str, tokens: Tokens) -> None:
        """Sends what `text` goes on with behind what was shown; nothing where it is another text.

        `tokens` are those of a text that begins with this one.
        """
        start = len(utterance.shown)
        if text.startswith(utterance.shown) and (delta := text[start:]):
            utterance.shown = text
            logprobs = self._log_probs(delta, tokens_between(tokens, text, start))
            self._outbox.send(
                TranscriptionDelta(item_id=utterance.item_id, content_index=_PART, delta=delta, logprobs=logprobs)
            )

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

    def _log_probs(self, text: str, tokens: Tokens) -> list[LogProb] | UnsetType | None:
        if not self._session().include:
            return UNSET
        if text and not tokens:
            return None  # the transcriber told none of this text, and none are invented
        return [LogProb(token=each.text, logprob=each.log_probability, bytes=list(each.utf8)) for each in tokens]


def tokens_between(tokens: Tokens, text: str, start: int) -> Tokens:
    """Returns those of `tokens` that begin in `text[start:]`; none where they do not spell a text that begins so."""
    spelled = "".join(token.text for token in tokens)
    if not spelled.lstrip().startswith(text):
        return ()
    ends = itertools.accumulate((len(token.text) for token in tokens), initial=len(spelled.lstrip()) - len(spelled))
    begins = zip(tokens, ends, strict=False)
    return tuple(token for token, at in begins if start <= max(0, at) < len(text))
