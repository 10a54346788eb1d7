"""The session machine: one owner of everything that happens in a session.

`handle` takes one event and the time, and returns commands. It has no sockets, no clocks, no randomness: the same
log of events gives the same commands, byte for byte. The rooms behind it:

    listening.py     the input region: sound → utterances
    responding.py    the response region: responses, the held reply
    reply.py         one response on the wire
    conversation.py  the items, and what was heard of them
    transcripts.py   what was said, on its way into words
    prefilling.py    what the model is told while the user still speaks
    session_config.py  the configuration and its updates
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET

from server.realtime import client_events as client
from server.realtime.call import Call
from server.realtime.commands import AssessPause, Command, ForgetSound, Hypothesise, ReduceNoise, SetTranscription
from server.realtime.conversation import Conversation, MessageItem
from server.realtime.given import fitting
from server.realtime.idling import Idling
from server.realtime.inbox import (
    Disconnected,
    Event,
    Hypothesis,
    IdleTimer,
    PartialTranscript,
    PauseAssessed,
    Refused,
    SoundArrived,
    SoundPaused,
    SoundPlaying,
    Transcribed,
    TranscriptionFault,
    VoiceFailed,
    VoiceVerdict,
)
from server.realtime.items import ItemReader
from server.realtime.listening import Listening, Phase, Utterance
from server.realtime.mcp import Mcp
from server.realtime.mcp_items import McpApprovalResponseItem
from server.realtime.outbox import IdSource, Outbox
from server.realtime.own_input import check_images, own_input
from server.realtime.playback import Playback
from server.realtime.prefilling import Prefilling
from server.realtime.refusal import Refusal
from server.realtime.reply import ReplyConfig
from server.realtime.reply_config import reply_config
from server.realtime.responding import Responding
from server.realtime.schema import ResponseParams, SemanticVad, Session, SessionKind, TurnDetection
from server.realtime.server_events import (
    Committed,
    ConversationCreated,
    ConversationInfo,
    Error,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemRetrieved,
    ItemTruncated,
    SessionCreated,
    SessionUpdated,
)
from server.realtime.server_objects import ErrorBody
from server.realtime.session_config import (
    Profile,
    initial_session,
    language_of,
    prompt_of,
    updated_session,
)
from server.realtime.sound_formats import decoder_of
from server.realtime.transcription_session import check_event, shown
from server.realtime.transcripts import Transcripts


class Machine:
    """One session. Call `start` once, then `handle` for every event, and carry out the commands in order."""

    def __init__(
        self,
        profile: Profile,
        ids: IdSource,
        expires_at: int,
        asked_model: str,
        *,
        kind: SessionKind = "realtime",
        changes: Mapping[str, Any] | None = None,
        call: Call | None = None,
    ) -> None:
        """Raises Refusal when the session cannot begin with `changes`.

        Args:
            profile: what the pipeline is and can do.
            ids: makes ids, given their prefix.
            expires_at: in seconds since 1970.
            asked_model: what the client called the pipeline.
            kind: whether it answers, or only hears.
            changes: what the session begins with beyond the pipeline's defaults, as the `session` of an update.
            call: where the session is one, what is special about it.
        """
        self._profile = profile
        self._asked_model = asked_model
        self._outbox = Outbox(ids)
        self._session = initial_session(profile, ids("sess"), expires_at, kind)
        if changes is not None:
            self._session = updated_session(self._session, changes, profile, False, asked_model)
        self._call = call
        if call is not None:
            call.check_session(self._session)
        self._conversation = Conversation()
        self._mcp = Mcp.of(self._outbox, self._conversation)
        self._playback = Playback(self._outbox, self._conversation) if call is not None else None
        self._responding = Responding(self._outbox, self._conversation, self._mcp, self._playback)
        self._transcripts = Transcripts(self._outbox, self._conversation, self._responding, lambda: self._session)
        self.listening = Listening(self._outbox, self, self._session.audio.input.turn_detection)
        played_until = self._conversation.played_until if self._playback is None else self._playback.ends
        self._idling = Idling(self._outbox, self.listening, self._responding, self._conversation, played_until)
        self._prefilling = Prefilling(
            self._outbox,
            profile,
            self.listening,
            self._responding,
            conversation=self._conversation,
            reply_config=self._reply_config,
        )
        self._decoder = decoder_of(self._session.audio.input.format)
        self._answer_next = False
        """Whether something was said, while a response was active, that is to be answered after it."""
        self._told_full = False
        """Whether the client knows that the sound of the call finds no room."""
        self._closed = False
        self._handlers = self._all_handlers()

    def _all_handlers(self) -> Mapping[type, Callable[[Any], None]]:
        """Returns what takes which event."""
        return {
            client.SessionUpdate: self._update_session,
            client.InputAudioBufferAppend: self._append,
            client.InputAudioBufferCommit: lambda _: self.listening.commit(),
            client.InputAudioBufferClear: lambda _: self.listening.clear(),
            client.OutputAudioBufferClear: self._clear_output,
            client.ConversationItemCreate: self._create_item,
            client.ConversationItemRetrieve: self._retrieve_item,
            client.ConversationItemDelete: self._delete_item,
            client.ConversationItemTruncate: self._truncate_item,
            client.ResponseCreate: self._create_response,
            client.ResponseCancel: self._cancel_response,
            Refused: lambda refused: self._outbox.send(Error(error=refused.error)),
            VoiceVerdict: self.listening.judge,
            VoiceFailed: self._voice_failed,
            SoundArrived: self._hear,
            **({SoundPlaying: self._playback.playing, SoundPaused: self._playback.paused} if self._playback else {}),
            IdleTimer: lambda timer: self._idling.elapsed(timer.number, self._turn_detection),
            PauseAssessed: lambda assessed: self.listening.assess(assessed.run, assessed.silence_ms),
            Hypothesis: self._hypothesis,
            PartialTranscript: lambda partial: self._transcripts.show_partial(partial, self.listening.utterance),
            Transcribed: self._transcripts.finish,
            TranscriptionFault: self._transcripts.fail,
            **self._responding.handlers,
        }

    @property
    def session(self) -> Session:
        """The effective configuration."""
        return self._session

    @property
    def _turn_detection(self) -> TurnDetection | None:
        return self._session.audio.input.turn_detection

    @property
    def _answers(self) -> bool:
        """Whether what is said will be answered, as far as is known."""
        detection = self._turn_detection
        return self._session.type == "realtime" and (detection is None or detection.create_response)

    def start(self) -> list[Command]:
        """Greets the client."""
        self._outbox.send(SessionCreated(session=shown(self._session)))
        if self._session.type == "realtime":
            self._outbox.send(ConversationCreated(conversation=ConversationInfo(id=self._responding.conversation_id)))
        self._mcp.configure(self._session.tools)
        self._set_transcription()
        if self._session.audio.input.noise_reduction is not None:
            self._set_noise_reduction()
        self._prefilling.watch(answers=self._answers)
        return self._outbox.drain()

    def handle(self, event: Event, now: int) -> list[Command]:
        """Moves on by one event.

        Args:
            event: a client event, a stage's result, or the end of the connection.
            now: when it came, in ms of any steady clock.

        Returns:
            What is to be done, in order. After `Disconnected`, nothing ever.
        """
        if self._closed:
            return []
        self._outbox.now = now
        if isinstance(event, Disconnected):
            self._close()
            return self._outbox.drain()
        try:
            if self._session.type == "transcription":
                check_event(event)
            self._handlers[type(event)](event)
            self._prefilling.observe(event)
            self._answer_what_waits()
        except Refusal as refusal:
            event_id = event.event_id if isinstance(event, client.ClientEvent) else None
            self._outbox.send(Error(error=refusal.body(event_id)))
        if self._playback is not None:
            self._playback.settle()
        self._idling.watch(self._turn_detection)
        self._prefilling.watch(answers=self._answers)
        return self._outbox.drain()

    def _close(self) -> None:
        self._closed = True
        self._responding.close()
        self.listening.close()
        self._idling.close()

    # --- what the user says (listening.Turns) ---

    def speech_started(self) -> None:
        detection = self._turn_detection
        if detection is not None and detection.interrupt_response:
            if self._playback is None:
                self._conversation.interrupt(self._outbox.now)
            self._responding.interrupt()
            if self._playback is not None:
                self._playback.interrupt()

    def paused(self, utterance: Utterance) -> None:
        detection = self._turn_detection
        semantic = isinstance(detection, SemanticVad)
        by_words = semantic and "words" in self._profile.endpointing_reads
        if semantic and not by_words:
            self._assess(utterance, "")
        if by_words or (self._profile.speculation and detection is not None and detection.create_response):
            self._outbox.put(Hypothesise(utterance.run, is_speculative=not by_words))

    def _assess(self, utterance: Utterance, words: str) -> None:
        detection = self._turn_detection
        assert detection is not None
        self._outbox.put(AssessPause(utterance.run, utterance.start, utterance.fed, words, detection.most_ms))

    def resumed(self) -> None:
        self._responding.drop_held()

    def dropped(self) -> None:
        self._responding.drop_held()

    def committed(self, utterance: Utterance, end: int, by_voice: bool) -> None:
        item = MessageItem(
            id=utterance.item_id, role="user", part="input_audio", text=None, heard_ticks=end - utterance.start
        )
        self._add_committed(item)
        self._transcripts.expect(utterance, item)
        detection = self._turn_detection
        if by_voice and detection is not None and detection.create_response:
            self._answer_next = True
        else:
            self._responding.drop_held()

    def timed_out(self, utterance: Utterance, end: int) -> None:
        """Nobody is asked what was said: by the detector's word that is nothing, and transcribers invent words."""
        ticks = end - utterance.start
        item = MessageItem(
            id=utterance.item_id, role="user", part="input_audio", text="", heard_ticks=ticks, timed_out=True
        )
        self._add_committed(item)
        self._transcripts.nothing_said(item)
        detection = self._turn_detection
        if detection is not None and detection.create_response:
            self._responding.create(self._reply_config())

    def _add_committed(self, item: MessageItem) -> None:
        previous = self._conversation.append(item)
        self._responding.has_answered = False
        self._outbox.send(Committed(previous_item_id=previous, item_id=item.id))
        self._outbox.send(ItemAdded(previous_item_id=previous, item=item.wire()))
        self._outbox.send(ItemDone(previous_item_id=previous, item=item.wire()))

    def _answer_what_waits(self) -> None:
        idle = self.listening.phase is Phase.IDLE and self._responding.active is None
        if self._answer_next and idle:
            self._answer_next = False
            self._responding.create(self._reply_config(), needs_words=True)

    # --- what the stages say ---

    def _voice_failed(self, failed: VoiceFailed) -> None:
        if failed.epoch != self.listening.epoch:
            return
        self.listening.restart()
        body = ErrorBody(type="server_error", code="vad_failed", message=failed.problem)
        self._outbox.send(Error(error=body))

    def _hypothesis(self, hypothesis: Hypothesis) -> None:
        utterance = self.listening.utterance
        detection = self._turn_detection
        if detection is None or utterance is None or self.listening.phase is not Phase.MAYBE_DONE:
            return
        if utterance.run != hypothesis.run:
            return
        words = hypothesis.transcript.text
        if isinstance(detection, SemanticVad) and "words" in self._profile.endpointing_reads:
            self._assess(utterance, words)
        worth_it = self._profile.speculation and detection.create_response and words.strip()
        if worth_it and self._responding.active is None and not self._conversation.pending():
            self._responding.hold(utterance.run, self._reply_config(), words)

    # --- what the client says ---

    def _update_session(self, event: client.SessionUpdate) -> None:
        old = self._session
        new = updated_session(old, event.session, self._profile, self._responding.audio_was_sent, self._asked_model)
        if self._call is not None:
            self._call.check_session(new)
        self._session = new
        if new.audio.input.turn_detection != old.audio.input.turn_detection:
            self.listening.set_detection(new.audio.input.turn_detection)
        if new.audio.input.format != old.audio.input.format:
            self._decoder = decoder_of(new.audio.input.format)
        if new.audio.input.transcription != old.audio.input.transcription:
            self._set_transcription()
        if new.audio.input.noise_reduction != old.audio.input.noise_reduction:
            self._set_noise_reduction()
        self._outbox.send(SessionUpdated(session=shown(new)))
        if "tools" in event.session:
            self._mcp.configure(new.tools)
            self._responding.sweep()

    def _set_noise_reduction(self) -> None:
        reduction = self._session.audio.input.noise_reduction
        self._outbox.put(ReduceNoise(None if reduction is None else reduction.type))

    def _set_transcription(self) -> None:
        transcription = self._session.audio.input.transcription
        language = language_of(transcription) if transcription else None
        prompt = prompt_of(transcription) if transcription else None
        self._outbox.put(SetTranscription(language, prompt, shows=transcription is not None))

    def _append(self, event: client.InputAudioBufferAppend) -> None:
        if self._call is not None:
            self._call.check_append()
        ticks = self._decoder.ticks(event.audio)
        self.listening.check_room(ticks)
        self.listening.append(self._decoder.decode(event.audio), ticks)

    def _hear(self, event: SoundArrived) -> None:
        """Takes the sound of a call. Where there is no room for it the client is told once, not with every packet."""
        try:
            self.listening.append(event.audio, len(event.audio) // 2)
        except Refusal:
            if self._told_full:
                return
            self._told_full = True
            raise
        self._told_full = False

    def _clear_output(self, _: client.OutputAudioBufferClear) -> None:
        if self._playback is not None:
            self._playback.clear()
            return
        raise Refusal(
            "invalid_value",
            "`output_audio_buffer.clear` is for WebRTC. Over a WebSocket the client plays the sound: stop playing it, "
            "then send `response.cancel` and `conversation.item.truncate`.",
            "type",
        )

    @property
    def _reader(self) -> ItemReader:
        return ItemReader(self._profile, self._outbox.new_id, self._session.audio.input.format)

    def _create_item(self, event: client.ConversationItemCreate) -> None:
        new = self._reader.read(event.item)
        check_images([new], (self._conversation, *self._responding.own_inputs), "item")
        if isinstance(new.item, McpApprovalResponseItem):
            self._mcp.calls.check_answer(new.item)
        previous = self._conversation.insert(new.item, event.previous_item_id)
        shown = fitting(new.item.wire())
        self._outbox.send(ItemAdded(previous_item_id=previous, item=shown))
        self._outbox.send(ItemDone(previous_item_id=previous, item=shown))
        self._transcripts.take([new])
        if isinstance(new.item, McpApprovalResponseItem):
            self._mcp.calls.answer(new.item)

    def _retrieve_item(self, event: client.ConversationItemRetrieve) -> None:
        item = fitting(self._conversation.get(event.item_id).wire())
        self._outbox.send_retrieved(ItemRetrieved(item=item), self._session.audio.input.format)

    def _delete_item(self, event: client.ConversationItemDelete) -> None:
        item = self._conversation.remove(event.item_id)
        self._outbox.put(ForgetSound(item.id))
        self._outbox.send(ItemDeleted(item_id=item.id))

    def _truncate_item(self, event: client.ConversationItemTruncate) -> None:
        item = self._conversation.get(event.item_id)
        if not isinstance(item, MessageItem) or item.spoken is None:
            raise Refusal("invalid_value", f"Item '{item.id}' has no sound of the assistant to truncate.", "item_id")
        if event.content_index != 0:
            raise Refusal(
                "invalid_value", "An item of Parley has one content part: `content_index` is 0.", "content_index"
            )
        item.spoken.truncate(event.audio_end_ms, in_progress=item.status == "in_progress")
        self._outbox.send(
            ItemTruncated(item_id=item.id, content_index=event.content_index, audio_end_ms=event.audio_end_ms)
        )

    def _create_response(self, event: client.ResponseCreate) -> None:
        params = ResponseParams() if event.response is UNSET else event.response
        config = self._reply_config(params)
        new, context = own_input(params.input, self._reader, self._conversation)
        check_images(new, (self._conversation, *self._responding.own_inputs), "response.input")
        self._responding.create(
            config,
            in_conversation=params.conversation != "none",
            context=context,
            needs_words=params.instructions is None and context is None,
            own_servers=() if params.tools is None else config.servers,
        )
        self._transcripts.take(new, keep=False)

    def _cancel_response(self, event: client.ResponseCancel) -> None:
        self._responding.cancel(event.response_id)

    def _reply_config(self, params: ResponseParams | None = None) -> ReplyConfig:
        return reply_config(self._session, self._profile, params or ResponseParams(), self._call)
