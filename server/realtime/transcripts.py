"""What was said, on its way into words: what the client is told of it, and who waits for it."""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from msgspec import UNSET, UnsetType

from pipeline.types import TokenLogProbability, Transcript
from server.realtime.commands import KeepRecording, TranscribeRecording
from server.realtime.conversation import Conversation, MessageItem
from server.realtime.given import GivenMessage, GivenSound
from server.realtime.inbox import PartialTranscript, Transcribed, TranscriptionFault
from server.realtime.items import NewItem
from server.realtime.listening import Utterance
from server.realtime.outbox import Outbox
from server.realtime.responding import Responding
from server.realtime.schema import Session
from server.realtime.server_events import (
    TranscriptionCompleted,
    TranscriptionDelta,
    TranscriptionError,
    TranscriptionFailed,
    TranscriptionSegment,
)
from server.realtime.server_objects import LogProb, StatusError
from server.realtime.usage import transcription_usage

Tokens: TypeAlias = tuple[TokenLogProbability, ...]

_PART = 0
"""What was spoken is an item of one content part."""


@dataclass(slots=True)
class _Unshown:
    """A recording, of which no words are shown before all are."""

    item_id: str
    shown: str = ""


@dataclass(frozen=True, slots=True)
class _Awaited:
    """Sound that is being put into words: the `text` of a part of an item. `ticks` is its length at 24 kHz."""

    shown: Utterance | _Unshown
    item: MessageItem | GivenMessage
    part: MessageItem | GivenSound
    ticks: int
    index: int = _PART


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
        self._awaited: dict[int, _Awaited] = {}
        """What was said and is still being put into words, by turn."""
        self._early: PartialTranscript | None = None
        """The words so far of an utterance that the client has not been told of."""

    def expect(self, utterance: Utterance, item: MessageItem) -> None:
        """Notes that the words of this item, which the client has been told of, are being found out."""
        self._awaited[utterance.turn] = _Awaited(utterance, item, item, item.heard_ticks)
        early, self._early = self._early, None
        if early is not None:
            self.show_partial(early, None)

    def take(self, new: Iterable[NewItem], *, keep: bool = True) -> None:
        """Has the sound that came inside items transcribed, and kept for whoever retrieves them."""
        for each in new:
            for recording in each.recordings:
                assert isinstance(each.item, GivenMessage)
                turn, item_id, index = self._outbox.new_turn(), each.item.id, recording.content_index
                sound = recording.part
                self._awaited[turn] = _Awaited(_Unshown(item_id), each.item, sound, sound.ticks, index)
                if keep:
                    self._outbox.put(KeepRecording(item_id, index, recording.audio))
                self._outbox.put(TranscribeRecording(turn, recording.audio))

    def show_partial(self, partial: PartialTranscript, spoken: Utterance | None) -> None:
        """Shows the words that were agreed on since the last time; the final transcript may correct them.

        `spoken` is the utterance under way, if one is. Where the client says what is one (push-to-talk), it is told of
        it by the commit, and of the words after that: until then it would have nothing that they belong to.
        """
        awaited = self._awaited.get(partial.turn)
        if awaited is not None:
            if self._is_shown(awaited):
                self._show(awaited.shown, awaited.index, partial.text, partial.tokens)
        elif spoken is not None and spoken.turn == partial.turn:
            if not spoken.is_announced:
                self._early = partial
            elif self._is_wanted:
                self._show(spoken, _PART, partial.text, partial.tokens)

    def finish(self, result: Transcribed) -> None:
        """Takes the transcript of a committed utterance, or of a recording."""
        awaited = self._awaited.pop(result.turn, None)
        if awaited is None:
            return
        transcript = result.transcript
        awaited.part.text = transcript.text
        if self._is_shown(awaited):
            self._show(awaited.shown, awaited.index, transcript.text, transcript.token_log_probabilities)
            self._send_segments(awaited, transcript)
            self._outbox.send(
                TranscriptionCompleted(
                    item_id=awaited.item.id,
                    content_index=awaited.index,
                    transcript=transcript.text,
                    usage=transcription_usage(transcript, awaited.ticks),
                    logprobs=self._log_probs(transcript.text, transcript.token_log_probabilities),
                )
            )
        if not awaited.item.is_pending:
            self._responding.words_are_known(awaited.item.id)

    def nothing_said(self, item: MessageItem) -> None:
        """Tells of an item in which nobody spoke, and which nobody is asked about."""
        if self._is_wanted:
            usage, logprobs = transcription_usage(Transcript("", tokens=0), 0), self._log_probs("", ())
            self._outbox.send(
                TranscriptionCompleted(
                    item_id=item.id, content_index=_PART, transcript="", usage=usage, logprobs=logprobs
                )
            )

    def fail(self, fault: TranscriptionFault) -> None:
        """Notes that the words of a committed utterance, or of a recording, are lost."""
        awaited = self._awaited.pop(fault.turn, None)
        if awaited is None:
            return
        awaited.part.text = ""
        item_id = awaited.item.id
        if self._is_shown(awaited):
            error = TranscriptionError(type=fault.kind, code=fault.code, message=fault.problem)
            self._outbox.send(TranscriptionFailed(item_id=item_id, content_index=awaited.index, error=error))
        self._responding.drop_held()
        self._responding.words_are_lost(item_id, StatusError(type=fault.kind, code=fault.code, message=fault.problem))

    def _is_shown(self, awaited: "_Awaited") -> bool:
        return self._is_wanted and self._conversation.find(awaited.item.id) is awaited.item

    @property
    def _is_wanted(self) -> bool:
        """Whether the client wants to see the words."""
        return self._session().audio.input.transcription is not None

    def _show(self, shown: "Utterance | _Unshown", index: int, text: str, tokens: Tokens) -> None:
        """Sends what `text` goes on with behind what was shown; nothing where it is another text.

        `tokens` are those of a text that begins with this one.
        """
        start = len(shown.shown)
        if text.startswith(shown.shown) and (delta := text[start:]):
            shown.shown = text
            logprobs = self._log_probs(delta, tokens_between(tokens, text, start))
            self._outbox.send(
                TranscriptionDelta(item_id=shown.item_id, content_index=index, delta=delta, logprobs=logprobs)
            )

    def _send_segments(self, awaited: "_Awaited", transcript: Transcript) -> None:
        # A session that answers is followed by clients that know nothing of segments: OpenAI's has none either.
        for segment in transcript.segments if self._session().type == "transcription" else ():
            self._outbox.send(
                TranscriptionSegment(
                    id=self._outbox.new_id("seg"),
                    item_id=awaited.item.id,
                    content_index=awaited.index,
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
