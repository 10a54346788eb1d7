"""The session machine: one owner of everything that happens in a session.

`handle` takes one event and the time, and returns commands. It has no sockets, no clocks, no randomness: the same
log of events gives the same commands, byte for byte. The rooms behind it:

    listening.py     the input region: sound → utterances
    responding.py    the response region: responses, the held reply
    reply.py         one response on the wire
    conversation.py  the items, and what was heard of them
    session_config.py  the configuration and its updates
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET

from pipeline.types import Tool
from server.realtime import client_events as client
from server.realtime.commands import AssessPause, Command, Hypothesise, SetTranscription
from server.realtime.conversation import Conversation, MessageItem
from server.realtime.inbox import (
    Disconnected,
    Event,
    Hypothesis,
    PartialTranscript,
    PauseAssessed,
    Refused,
    Transcribed,
    TranscriptionFault,
    VoiceFailed,
    VoiceVerdict,
)
from server.realtime.items import item_from_client
from server.realtime.listening import Listening, Phase, Utterance
from server.realtime.mcp import Mcp
from server.realtime.mcp_items import McpApprovalResponseItem
from server.realtime.mcp_schema import McpChoice
from server.realtime.mcp_tools import servers_in, with_definitions
from server.realtime.outbox import IdSource, Outbox
from server.realtime.refusal import Refusal, check_size
from server.realtime.reply import ReplyConfig
from server.realtime.responding import Responding
from server.realtime.schema import ErrorBody, FunctionTool, ResponseParams, SemanticVad, Session, StatusError
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
    TranscriptionCompleted,
    TranscriptionDelta,
    TranscriptionError,
    TranscriptionFailed,
)
from server.realtime.session_config import (
    Profile,
    check_tools,
    check_voice,
    initial_session,
    tool_choice_of,
    updated_session,
)
from server.realtime.sound_formats import decoder_of
from server.realtime.usage import transcription_usage


class Machine:
    """One session. Call `start` once, then `handle` for every event, and carry out the commands in order."""

    def __init__(
        self,
        profile: Profile,
        ids: IdSource,
        expires_at: int,
        asked_model: str,
        *,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises Refusal when the session cannot begin with `changes`.

        Args:
            profile: what the pipeline is and can do.
            ids: makes ids, given their prefix.
            expires_at: in seconds since 1970.
            asked_model: what the client called the pipeline.
            changes: what the session begins with beyond the pipeline's defaults, as the `session` of an update.
        """
        self._profile = profile
        self._asked_model = asked_model
        self._outbox = Outbox(ids)
        self._session = initial_session(profile, ids("sess"), expires_at)
        if changes is not None:
            self._session = updated_session(self._session, changes, profile, False, asked_model)
        self._conversation = Conversation()
        self._mcp = Mcp.of(self._outbox, self._conversation)
        self._responding = Responding(self._outbox, self._conversation, self._mcp)
        self.listening = Listening(self._outbox, self, self._session.audio.input.turn_detection)
        self._decoder = decoder_of(self._session.audio.input.format)
        self._spoken: dict[int, tuple[Utterance, MessageItem]] = {}
        """What was said and is still being put into words, by turn."""
        self._answer_next = False
        """Whether something was said, while a response was active, that is to be answered after it."""
        self._closed = False
        self._handlers: dict[type, Callable[[Any], None]] = {
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
            PauseAssessed: lambda assessed: self.listening.assess(assessed.run, assessed.silence_ms),
            Hypothesis: self._hypothesis,
            PartialTranscript: self._partial_transcript,
            Transcribed: self._transcribed,
            TranscriptionFault: self._transcription_fault,
            **self._responding.handlers,
        }

    @property
    def session(self) -> Session:
        """The effective configuration."""
        return self._session

    def start(self) -> list[Command]:
        """Greets the client."""
        self._outbox.send(SessionCreated(session=self._session))
        self._outbox.send(ConversationCreated(conversation=ConversationInfo(id=self._responding.conversation_id)))
        self._mcp.configure(self._session.tools)
        self._set_transcription()
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
            self._handlers[type(event)](event)
            self._answer_what_waits()
        except Refusal as refusal:
            event_id = event.event_id if isinstance(event, client.ClientEvent) else None
            self._outbox.send(Error(error=refusal.body(event_id)))
        return self._outbox.drain()

    def _close(self) -> None:
        self._closed = True
        self._responding.close()
        self.listening.close()

    # --- what the user says (listening.Turns) ---

    def speech_started(self) -> None:
        detection = self._session.audio.input.turn_detection
        if detection is not None and detection.interrupt_response:
            self._conversation.interrupt(self._outbox.now)
            self._responding.interrupt()

    def paused(self, utterance: Utterance) -> None:
        detection = self._session.audio.input.turn_detection
        semantic = isinstance(detection, SemanticVad)
        by_words = semantic and "words" in self._profile.endpointing_reads
        if semantic and not by_words:
            self._assess(utterance, "")
        if by_words or (self._profile.speculation and detection is not None and detection.create_response):
            self._outbox.put(Hypothesise(utterance.run))

    def _assess(self, utterance: Utterance, words: str) -> None:
        detection = self._session.audio.input.turn_detection
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
        previous = self._conversation.append(item)
        self._spoken[utterance.turn] = (utterance, item)
        self._outbox.send(Committed(previous_item_id=previous, item_id=item.id))
        self._outbox.send(ItemAdded(previous_item_id=previous, item=item.wire()))
        self._outbox.send(ItemDone(previous_item_id=previous, item=item.wire()))
        detection = self._session.audio.input.turn_detection
        if by_voice and detection is not None and detection.create_response:
            self._answer_next = True
        else:
            self._responding.drop_held()

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
        detection = self._session.audio.input.turn_detection
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

    def _partial_transcript(self, partial: PartialTranscript) -> None:
        """Shows the words that were agreed on since the last time; the final transcript may correct them."""
        utterance = self.listening.utterance
        if partial.turn in self._spoken:
            utterance, item = self._spoken[partial.turn]
            if self._conversation.find(item.id) is None:
                return
        if utterance is not None and utterance.turn == partial.turn and self._is_transcribing:
            self._show(utterance, partial.text)

    def _show(self, utterance: Utterance, text: str) -> None:
        """Sends what `text` goes on with behind what was shown; nothing where it is another text."""
        if text.startswith(utterance.shown) and (delta := text[len(utterance.shown) :]):
            utterance.shown = text
            self._outbox.send(TranscriptionDelta(item_id=utterance.item_id, content_index=0, delta=delta))

    def _transcribed(self, result: Transcribed) -> None:
        if result.turn not in self._spoken:
            return
        utterance, item = self._spoken.pop(result.turn)
        item.text = result.transcript.text
        if self._is_transcribing and self._conversation.find(item.id) is not None:
            self._show(utterance, item.text)
            usage = transcription_usage(result.transcript, item.heard_ticks)
            self._outbox.send(
                TranscriptionCompleted(item_id=item.id, content_index=0, transcript=item.text, usage=usage)
            )
        self._responding.words_are_known(item.id)

    def _transcription_fault(self, fault: TranscriptionFault) -> None:
        if fault.turn not in self._spoken:
            return
        _, item = self._spoken.pop(fault.turn)
        item.text = ""
        if self._is_transcribing and self._conversation.find(item.id) is not None:
            error = TranscriptionError(type=fault.kind, code=fault.code, message=fault.problem)
            self._outbox.send(TranscriptionFailed(item_id=item.id, content_index=0, error=error))
        self._responding.drop_held()
        self._responding.words_are_lost(item.id, StatusError(type=fault.kind, code=fault.code, message=fault.problem))

    @property
    def _is_transcribing(self) -> bool:
        return self._session.audio.input.transcription is not None

    # --- what the client says ---

    def _update_session(self, event: client.SessionUpdate) -> None:
        old = self._session
        self._session = new = updated_session(
            old, event.session, self._profile, self._responding.audio_was_sent, self._asked_model
        )
        if new.audio.input.turn_detection != old.audio.input.turn_detection:
            self.listening.set_detection(new.audio.input.turn_detection)
        if new.audio.input.format != old.audio.input.format:
            self._decoder = decoder_of(new.audio.input.format)
        if new.audio.input.transcription != old.audio.input.transcription:
            self._set_transcription()
        self._outbox.send(SessionUpdated(session=new))
        if "tools" in event.session:
            self._mcp.configure(new.tools)
            self._responding.sweep()

    def _set_transcription(self) -> None:
        transcription = self._session.audio.input.transcription
        language = transcription.language if transcription else None
        prompt = transcription.prompt if transcription else None
        self._outbox.put(SetTranscription(language or None, prompt or None, shows=transcription is not None))

    def _append(self, event: client.InputAudioBufferAppend) -> None:
        ticks = self._decoder.ticks(event.audio)
        self.listening.check_room(ticks)
        self.listening.append(self._decoder.decode(event.audio), ticks)

    def _clear_output(self, _: client.OutputAudioBufferClear) -> None:
        raise Refusal(
            "invalid_value",
            "`output_audio_buffer.clear` is for WebRTC. Over a WebSocket the client plays the sound: stop playing it, "
            "then send `response.cancel` and `conversation.item.truncate`.",
            "type",
        )

    def _create_item(self, event: client.ConversationItemCreate) -> None:
        item = item_from_client(event.item, self._outbox.new_id)
        check_size(item.wire(), "item")
        if isinstance(item, McpApprovalResponseItem):
            self._mcp.calls.check_answer(item)
        previous = self._conversation.insert(item, event.previous_item_id)
        self._outbox.send(ItemAdded(previous_item_id=previous, item=item.wire()))
        self._outbox.send(ItemDone(previous_item_id=previous, item=item.wire()))
        if isinstance(item, McpApprovalResponseItem):
            self._mcp.calls.answer(item)

    def _retrieve_item(self, event: client.ConversationItemRetrieve) -> None:
        self._outbox.send(ItemRetrieved(item=self._conversation.get(event.item_id).wire()))

    def _delete_item(self, event: client.ConversationItemDelete) -> None:
        item = self._conversation.remove(event.item_id)
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
        self._responding.create(
            config,
            in_conversation=params.conversation == "auto",
            needs_words=params.instructions is UNSET,
            own_servers=() if params.tools is UNSET else config.servers,
        )

    def _cancel_response(self, event: client.ResponseCancel) -> None:
        self._responding.cancel(event.response_id)

    def _reply_config(self, params: ResponseParams | None = None) -> ReplyConfig:
        """Returns the configuration in force now, with what `response.create` asks for on top."""
        params = params or ResponseParams()
        session = self._session
        voice, audio_format = session.audio.output.voice, session.audio.output.format
        output = UNSET if params.audio is UNSET else params.audio.output
        if output is not UNSET and output.voice is not UNSET:
            voice = output.voice
            check_voice(voice, self._profile, "response.audio.output.voice")
        if output is not UNSET and output.format is not UNSET:
            audio_format = output.format
        tools = session.tools if params.tools is UNSET else with_definitions(params.tools, session.tools)
        choice = session.tool_choice if params.tool_choice is UNSET else params.tool_choice
        if params.tools is not UNSET or params.tool_choice is not UNSET:
            check_tools(tools, choice, self._profile, "response")
        modalities = session.output_modalities if params.output_modalities is UNSET else params.output_modalities
        limit = session.max_output_tokens if params.max_output_tokens is UNSET else params.max_output_tokens
        return ReplyConfig(
            instructions=session.instructions if params.instructions is UNSET else params.instructions,
            modality=modalities[0],
            voice=voice,
            engine_voice=self._profile.voices[voice],
            format=audio_format,
            speed=session.audio.output.speed,
            max_output_tokens=limit,
            temperature=session.temperature if params.temperature is UNSET else params.temperature,
            tools=tuple(
                Tool(tool.name, tool.description, tool.parameters) for tool in tools if isinstance(tool, FunctionTool)
            ),
            tool_choice=tool_choice_of(choice),
            servers=servers_in(tools),
            server_choice=choice if isinstance(choice, McpChoice) else None,
            parallel_tool_calls=params.parallel_tool_calls is not False,
            metadata=params.metadata,
        )
