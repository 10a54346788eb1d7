"""The response region: which responses there are, what each waits for, and the reply that is held.

    None → Held → Created → Playing → Done | Cancelled | Failed

A reply to a turn that may be over is started at once and held: nothing of it leaves before the turn is committed.
At commit it is released when it answers exactly what has to be answered (the same words, history and
configuration), and made again when not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.types import (
    Prompt,
    RunId,
    TurnAudio,
    TurnCall,
    TurnClause,
    TurnEvent,
    TurnFailed,
    TurnFinished,
    TurnRequest,
    TurnText,
)
from server.realtime.commands import CancelRun, ReleaseRun, StartRun
from server.realtime.conversation import Conversation
from server.realtime.inbox import McpListingFailed, McpReturned, McpToolsListed, PlaceWanted
from server.realtime.mcp import Mcp
from server.realtime.mcp_schema import McpTool
from server.realtime.outbox import Outbox
from server.realtime.playback import Playback
from server.realtime.refusal import Refusal
from server.realtime.reply import Outcome, Reply, ReplyConfig, ReplyPhase
from server.realtime.server_objects import StatusError

MAX_RESPONSES = 16
"""Most responses of one session under way: those out of band each take a thread, and a sequence of the model."""

_NO_RUN = RunId(0, 0)


@dataclass(slots=True)
class Held:
    """A reply to what the user may have finished saying."""

    request: TurnRequest
    outputs: list[TurnEvent] = field(default_factory=list)

    def answers(self, request: TurnRequest) -> bool:
        """Whether it is the reply that `request` asks for, whatever run made it."""
        return replace(request, run=self.request.run) == self.request


class Responding:
    """The responses of one session, by id, and the held reply."""

    def __init__(self, outbox: Outbox, conversation: Conversation, mcp: Mcp, playback: Playback | None = None) -> None:
        """`playback` is what plays the sound of replies; None: it is sent to the client."""
        self._outbox = outbox
        self._playback = playback
        self._conversation = conversation
        self._mcp = mcp
        self.conversation_id = outbox.new_id("conv")
        self._replies: dict[str, Reply] = {}
        self._held: Held | None = None
        self.audio_was_sent = False
        self.has_answered = False
        """Whether a response of the default conversation has ended since the user spoke last."""
        self.handlers: Mapping[type, Callable[[Any], None]] = {
            **dict.fromkeys((TurnText, TurnClause, TurnAudio, TurnCall, TurnFinished, TurnFailed), self.take),
            PlaceWanted: self.give_way,
            McpToolsListed: self._mcp_listed,
            McpListingFailed: self._mcp_listed,
            McpReturned: self._mcp_returned,
        }
        """What takes each event that is about responses alone."""

    @property
    def active(self) -> Reply | None:
        """The one response of the default conversation that is under way."""
        return next((reply for reply in self._replies.values() if reply.conversation is not None), None)

    @property
    def is_busy(self) -> bool:
        """Whether a reply of the default conversation is being made, or held."""
        return self.active is not None or self._held is not None

    @property
    def own_inputs(self) -> list[Conversation]:
        """What responses are told in place of the conversation."""
        return [reply.context for reply in self._replies.values() if reply.context is not self._conversation]

    def create(
        self,
        config: ReplyConfig,
        *,
        in_conversation: bool = True,
        context: Conversation | None = None,
        needs_words: bool = False,
        own_servers: Sequence[McpTool] = (),
    ) -> None:
        """Creates a response to `context` (None: the conversation); it begins when all of that is known in words, and
        the tools of its MCP servers are known. `own_servers` are those that are there for this response.

        Raises:
            Refusal: one is active in the default conversation already, or there are too many.
        """
        if in_conversation and (active := self.active) is not None:
            raise Refusal(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        if len(self._replies) >= MAX_RESPONSES:
            raise Refusal(
                "too_many_responses",
                f"{MAX_RESPONSES} responses are under way in this session. Wait until one of them is finished.",
            )
        self._mcp.listings.want(own_servers)
        context = self._conversation if context is None else context
        reply = Reply(
            outbox=self._outbox,
            id=self._outbox.new_id("resp"),
            config=config,
            conversation=self._conversation if in_conversation else None,
            conversation_id=self.conversation_id if in_conversation else None,
            context=context,
            mcp_calls=self._mcp.calls,
            playback=self._playback,
            needs_words=needs_words,
            awaiting=context.pending() | self._mcp.listings.awaiting(config.servers),
        )
        self._replies[reply.id] = reply
        reply.create()
        self._begin_if_ready(reply)

    def words_are_known(self, item_id: str) -> None:
        """Lets the responses go on that waited for this item: for the user's words, or for a list of tools."""
        for reply in list(self._replies.values()):
            if item_id in reply.awaiting:
                reply.awaiting.discard(item_id)
                self._begin_if_ready(reply)

    def words_are_lost(self, item_id: str, error: StatusError) -> None:
        """Fails the responses that waited for this item."""
        for reply in list(self._replies.values()):
            if item_id in reply.awaiting:
                self._end(reply, Outcome("failed", error=error))

    def hold(self, run: RunId, config: ReplyConfig, words: str) -> None:
        """Starts the reply to words that may be all the user wants to say."""
        self.drop_held()
        if (request := self.expected(config, words, run)) is not None:
            self._held = Held(request)
            self._outbox.put(StartRun(request, held=True))

    def expected(self, config: ReplyConfig, words: str | None, run: RunId = _NO_RUN) -> TurnRequest | None:
        """Returns what a reply would be asked for with, if the user said these words and no more; None while that is
        not known, or cannot be.
        """
        if self._mcp.listings.awaiting(config.servers):
            return None
        try:
            config = self._with_remote_tools(config)
        except Refusal:
            return None  # it is told when the response is created
        return _request(run, config, self._conversation.prompt(config.instructions, config.tools, words))

    def give_way(self, wanted: PlaceWanted) -> None:
        """Gives up the held reply if it is in the way of one that somebody waits for: it is made at the commit."""
        if self._held is not None and self._held.request.run == wanted.run:
            self.drop_held()

    def drop_held(self) -> None:
        """Cancels and forgets the held reply."""
        if self._held is not None:
            self._outbox.put(CancelRun(self._held.request.run))
            self._held = None

    def take(self, event: TurnEvent) -> None:
        """Takes what a run made: to the client, to what is held, or, from an abandoned run, nowhere."""
        if self._held is not None and event.run == self._held.request.run:
            if isinstance(event, TurnFailed):
                self._held = None  # the reply is tried once more when the turn is committed
            else:
                self._held.outputs.append(event)
            return
        for reply in list(self._replies.values()):
            if reply.run == event.run:
                self._play(reply, event)
                return

    def _mcp_listed(self, event: McpToolsListed | McpListingFailed) -> None:
        """Takes the tools of an MCP server, or that they cannot be had."""
        if isinstance(event, McpToolsListed):
            self._mcp.listings.listed(event)
        else:
            self._mcp.listings.failed(event)
        self.words_are_known(event.listing)
        self.sweep()

    def _mcp_returned(self, event: McpReturned) -> None:
        """Takes what a call of an MCP server's tool has come to."""
        call = self._mcp.calls.over(event.call, event.result)
        if call is None:
            return
        for reply in list(self._replies.values()):
            reply.call_is_over(call.item)
            if reply.outcome is not None and not reply.is_calling:
                self._end(reply, reply.outcome)
        self.sweep()

    def sweep(self) -> None:
        """Has the connections to MCP servers closed that nothing needs."""
        self._mcp.sweep(server for reply in self._replies.values() for server in reply.config.servers)

    def cancel(self, response_id: str | None) -> None:
        """Cancels a response for the client.

        Raises:
            Refusal: it is not active, or none is.
        """
        reply = self.active if response_id is None else self._replies.get(response_id)
        if reply is None:
            raise Refusal(
                "response_cancel_not_active",
                "Cancellation failed: no active response found",
                None if response_id is None else "response_id",
            )
        if self._playback is not None:
            reply.hear_out()
        elif reply.conversation is not None:
            reply.conversation.interrupt(self._outbox.now)  # whoever cancels stops listening, too
        self._stop(reply, Outcome("cancelled", reason="client_cancelled"))

    def interrupt(self) -> None:
        """The user speaks: cancels the response of the default conversation, and only that one."""
        if (active := self.active) is not None:
            self._stop(active, Outcome("cancelled", reason="turn_detected"))

    def close(self) -> None:
        """Ends every run with the session, without a word to the client, who is gone."""
        self.drop_held()
        for reply in self._replies.values():
            if reply.run is not None:
                self._outbox.put(CancelRun(reply.run))
        self._replies.clear()
        self._mcp.calls.close()

    def _begin_if_ready(self, reply: Reply) -> None:
        if reply.awaiting:
            return
        if reply.needs_words and not reply.context.was_understood():
            self._end(reply, Outcome("completed"))
            return
        try:
            reply.config = self._with_remote_tools(reply.config)
        except Refusal as refusal:
            error = StatusError(type="invalid_request_error", code=refusal.code, message=refusal.message)
            self._end(reply, Outcome("failed", error=error))
            return
        prompt = reply.prompt = reply.context.prompt(reply.config.instructions, reply.config.tools)
        request = _request(RunId(self._outbox.new_turn(), 0), reply.config, prompt)
        if reply.conversation is not None and self._held is not None:
            if self._held.answers(request):
                self._release(reply, self._held)
                return
            self.drop_held()
        self._start(reply, request)

    def _with_remote_tools(self, config: ReplyConfig) -> ReplyConfig:
        """Returns the configuration with the tools that its MCP servers have.

        Raises:
            Refusal: the tool that must be called is not among them.
        """
        if not config.servers:
            return config
        offer = self._mcp.listings.offer(config.tools, config.tool_choice, config.servers, config.server_choice)
        return replace(config, tools=offer.tools, tool_choice=offer.choice, remote=offer.remote)

    def _start(self, reply: Reply, request: TurnRequest) -> None:
        if not request.prompt.messages:
            self._end(reply, Outcome("completed"))
            return
        reply.run = request.run
        self._outbox.put(StartRun(request, held=False))

    def _release(self, reply: Reply, held: Held) -> None:
        self._held = None
        reply.run = held.request.run
        self._outbox.put(ReleaseRun(held.request.run))
        for event in held.outputs:
            self._play(reply, event)

    def _play(self, reply: Reply, event: TurnEvent) -> None:
        match event:
            case TurnText(text=text):
                reply.add_text(text)
            case TurnClause(text=text):
                reply.add_clause(text)
            case TurnAudio(samples=samples):
                self.audio_was_sent = True
                reply.add_sound(samples)
            case TurnCall(index=index, name=name, arguments=arguments):
                reply.add_call(index, name, arguments)
            case TurnFinished(generated=generated):
                if generated.reason == "max_tokens":
                    self._finish(reply, Outcome("incomplete", reason="max_output_tokens", generated=generated))
                else:
                    self._finish(reply, Outcome("completed", generated=generated))
            case TurnFailed(code=code, problem=problem, kind=kind):
                error = StatusError(type=kind, code=code, message=problem)
                self._end(reply, Outcome("failed", error=error))

    def _finish(self, reply: Reply, outcome: Outcome) -> None:
        """Ends a response of which all has been made, as soon as the calls it has made are over."""
        reply.close(outcome)
        if reply.is_calling:
            reply.outcome = outcome
        else:
            self._end(reply, outcome)

    def _stop(self, reply: Reply, outcome: Outcome) -> None:
        if reply.outcome is not None:
            outcome = replace(outcome, generated=reply.outcome.generated)
        if reply.run is not None:
            self._outbox.put(CancelRun(reply.run))
        self._end(reply, outcome)

    def _end(self, reply: Reply, outcome: Outcome) -> None:
        assert reply.phase is not ReplyPhase.ENDED
        del self._replies[reply.id]
        self.has_answered |= reply.conversation is not None
        reply.end(outcome)
        if reply.config.servers:
            self.sweep()


def _request(run: RunId, config: ReplyConfig, prompt: Prompt) -> TurnRequest:
    return TurnRequest(
        run=run,
        prompt=prompt,
        modality=config.modality,
        voice=config.engine_voice,
        speed=config.speed,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        tool_choice=config.tool_choice,
        parallel_tool_calls=config.parallel_tool_calls,
        effort=config.effort,
        truncation=config.truncation,
    )
