"""The items that MCP servers bring into a conversation: their tools, calls of these, and what the client says."""

from dataclasses import dataclass, field

from msgspec import UNSET

from server.realtime.mcp_schema import McpError, McpListedTool
from server.realtime.schema import Item


@dataclass(slots=True, kw_only=True)
class McpListItem:
    """The tools that a server has. The model is told of them as of other tools, not by this item."""

    id: str
    server_label: str
    tools: list[McpListedTool] = field(default_factory=list)

    def wire(self) -> Item:
        return Item(id=self.id, type="mcp_list_tools", server_label=self.server_label, tools=self.tools)


@dataclass(slots=True, kw_only=True)
class McpCallItem:
    """A call of a server's tool. `tool` is what the model knows it as, `arguments` a JSON object once it is whole."""

    id: str
    server_label: str
    name: str
    tool: str
    arguments: str = ""
    approval_request_id: str | None = None
    result: str | McpError | None = None
    """What came of it; None while that is not known."""

    def told(self) -> str:
        """Returns what the model is told of a call that is over."""
        if isinstance(self.result, McpError):
            code = "" if self.result.code is UNSET else f" {self.result.code}"
            return f"Error{code}: {self.result.message}"
        return self.result or ""

    def wire(self) -> Item:
        return Item(
            id=self.id,
            type="mcp_call",
            server_label=self.server_label,
            name=self.name,
            arguments=self.arguments,
            approval_request_id=self.approval_request_id,
            output=self.result if isinstance(self.result, str) else None,
            error=self.result if isinstance(self.result, McpError) else None,
        )


@dataclass(slots=True, kw_only=True)
class McpApprovalRequestItem:
    """A call that the model wants to make and that the client has to allow."""

    id: str
    server_label: str
    name: str
    tool: str
    """What the model knows it as."""
    arguments: str = ""

    def wire(self) -> Item:
        return Item(
            id=self.id,
            type="mcp_approval_request",
            server_label=self.server_label,
            name=self.name,
            arguments=self.arguments,
        )


@dataclass(slots=True, kw_only=True)
class McpApprovalResponseItem:
    """Whether a call may be made."""

    id: str
    approval_request_id: str
    approve: bool
    reason: str | None = None

    def told(self) -> str:
        """Returns what the model is told of a call that may not be made."""
        return f"The user did not allow this call. {self.reason or ''}".strip()

    def wire(self) -> Item:
        return Item(
            id=self.id,
            type="mcp_approval_response",
            approval_request_id=self.approval_request_id,
            approve=self.approve,
            reason=self.reason,
        )


McpItem = McpListItem | McpCallItem | McpApprovalRequestItem | McpApprovalResponseItem
