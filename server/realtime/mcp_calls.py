"""Calls of tools on MCP servers: asked for where the client wants to be asked, made, and told when they are over.

A call belongs to the conversation, not to the response that made it: when that is interrupted, the call goes on, and
its result stands in the history that the model sees next.
"""

from dataclasses import dataclass, field

from server.realtime.commands import CallMcpTool, CancelMcpCall
from server.realtime.conversation import Conversation
from server.realtime.mcp_items import McpApprovalRequestItem, McpApprovalResponseItem, McpCallItem
from server.realtime.mcp_schema import McpError, McpServer
from server.realtime.outbox import Outbox
from server.realtime.refusal import Refusal
from server.realtime.server_events import ItemAdded, ItemDone, McpCallCompleted, McpCallFailed, McpCallInProgress

MAX_RESULT_BYTES = 64 * 1024
"""Most bytes of text that a call may return: far more than a local model reads, and `response.done` has them all."""

MAX_CALLS = 12
"""Most calls of one response: their results have room in one event."""

MAX_REQUESTS = 256
"""Requests for approval that a client may leave unanswered; the oldest is forgotten then."""

INVALID_PARAMS = -32602
"""JSON-RPC's code for arguments that are none."""


@dataclass(slots=True)
class McpCall:
    """A call under way."""

    item: McpCallItem
    server: McpServer
    output_index: int
    in_conversation: bool = True


@dataclass(slots=True)
class _Request:
    item: McpApprovalRequestItem
    server: McpServer
    output_index: int


@dataclass(slots=True)
class McpCalls:
    """The calls of one session."""

    outbox: Outbox
    conversation: Conversation
    _calls: dict[str, McpCall] = field(default_factory=dict)
    _requests: dict[str, _Request] = field(default_factory=dict)

    def servers(self) -> set[McpServer]:
        """Returns the servers that a call is being made of."""
        return {call.server for call in self._calls.values()}

    def make(self, call: McpCall) -> None:
        """Has a call made whose arguments are whole."""
        item = call.item
        self._calls[item.id] = call
        self.outbox.send(McpCallInProgress(item_id=item.id, output_index=call.output_index))
        self.outbox.put(CallMcpTool(item.id, call.server, item.name, item.arguments))

    def over(self, call_id: str, result: str | McpError) -> McpCall | None:
        """Notes and tells what a call has come to; returns the call, None when nobody waits for it any more."""
        call = self._calls.pop(call_id, None)
        if call is not None:
            self.tell(call, _bounded(result))
        return call

    def tell(self, call: McpCall, result: str | McpError) -> None:
        """Tells the client what came of a call."""
        item = call.item
        item.result = result
        kind = McpCallFailed if isinstance(result, McpError) else McpCallCompleted
        self.outbox.send(kind(item_id=item.id, output_index=call.output_index))
        if call.in_conversation:
            self.outbox.send(ItemDone(previous_item_id=self.conversation.before(item), item=item.wire()))

    def abandon(self, call_id: str) -> None:
        """Ends a call whose result nobody could ever see."""
        if self._calls.pop(call_id, None) is not None:
            self.outbox.put(CancelMcpCall(call_id))

    def close(self) -> None:
        """Ends all calls with the session."""
        for call_id in list(self._calls):
            self.abandon(call_id)

    # --- approval ---

    def ask(self, item: McpApprovalRequestItem, server: McpServer, output_index: int) -> None:
        """Keeps a call until the client says whether it may be made."""
        self._requests[item.id] = _Request(item, server, output_index)
        if len(self._requests) > MAX_REQUESTS:
            del self._requests[next(iter(self._requests))]

    def check_answer(self, answer: McpApprovalResponseItem) -> None:
        """Raises:
        Refusal: there is no such request, or it has been answered.
        """
        if answer.approval_request_id not in self._requests:
            problem = f"There is no request for approval '{answer.approval_request_id}' that waits for an answer."
            raise Refusal("invalid_value", problem, "item.approval_request_id")

    def answer(self, answer: McpApprovalResponseItem) -> None:
        """Makes the call that was allowed; one that was not is history."""
        request = self._requests.pop(answer.approval_request_id)
        if not answer.approve:
            return
        asked = request.item
        item = McpCallItem(
            id=self.outbox.new_id("item"),
            server_label=asked.server_label,
            name=asked.name,
            tool=asked.tool,
            arguments=asked.arguments,
            approval_request_id=asked.id,
        )
        previous = self.conversation.append(item)
        self.outbox.send(ItemAdded(previous_item_id=previous, item=item.wire()))
        self.make(McpCall(item, request.server, request.output_index))


def _bounded(result: str | McpError) -> str | McpError:
    size = len(result.encode()) if isinstance(result, str) else 0
    if size <= MAX_RESULT_BYTES:
        return result
    problem = f"The tool returned {size} bytes; there is room for {MAX_RESULT_BYTES}."
    return McpError(type="tool_execution_error", message=problem)
