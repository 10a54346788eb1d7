"""The protocol's objects about MCP servers, shaped as in OpenAI's GA schema: their tools, choices, lists and errors."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType


class McpFilter(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, frozen=True):
    """Some tools of a server: those that have one of the names and, as told, do or do not only read."""

    tool_names: list[str] | None = None
    """Their names."""
    read_only: bool | None = None
    """Whether the server says of them that they change nothing (`readOnlyHint`)."""


class McpApprovals(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, frozen=True):
    """Which tools need approval, and which do not; see `mcp_tools.needs_approval`."""

    always: McpFilter | None = None
    """Those that the client is asked about; without `never` no others."""
    never: McpFilter | None = None
    """Those that it is not asked about, unless they are in `always`."""


class McpTool(
    msgspec.Struct, tag_field="type", tag="mcp", forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """The tools of an MCP server, which Parley lists and calls. What nobody here can do is refused in `mcp_tools`."""

    server_label: Annotated[str, Meta(min_length=1, max_length=64)]
    """What the server is called in items and events."""
    server_url: Annotated[str, Meta(max_length=2048)] | UnsetType | None = UNSET
    """Where it is: http or https, streamable HTTP or SSE. A label without it stands for what it stood for before."""
    authorization: Annotated[str, Meta(max_length=16384)] | UnsetType | None = UNSET
    """A token: it is sent as `Authorization: Bearer …`, and shown to nobody."""
    headers: Annotated[dict[str, str], Meta(max_length=64)] | UnsetType | None = UNSET
    """What every request to the server comes with; shown to nobody."""
    allowed_tools: list[str] | McpFilter | UnsetType | None = UNSET
    """Which of its tools are listed and shown to the model; absent: all."""
    require_approval: Literal["always", "never"] | McpApprovals | UnsetType | None = UNSET
    """Which calls the client has to allow first; absent: all."""
    server_description: Annotated[str, Meta(max_length=2048)] | UnsetType | None = UNSET
    """What the model is told of each of its tools besides their own descriptions."""
    defer_loading: bool | UnsetType | None = UNSET
    """There is no tool search: true is refused."""
    allowed_callers: list[Literal["direct", "programmatic"]] | UnsetType | None = UNSET
    """The model calls tools directly: `programmatic` is refused."""
    connector_id: str | UnsetType | None = UNSET
    """Connectors are OpenAI's own: refused."""
    tunnel_id: str | UnsetType | None = UNSET
    """Tunnels are OpenAI's own: refused."""


SECRETS = frozenset({"authorization", "headers"})
"""Fields of an `McpTool` that hold credentials: they go to the server and nowhere else."""


class McpChoice(msgspec.Struct, tag_field="type", tag="mcp", forbid_unknown_fields=True, omit_defaults=True):
    """A tool of this server must be called: any, or the one that is named."""

    server_label: str
    """Which server."""
    name: str | None = None
    """Which of its tools; absent: any."""


class McpListedTool(msgspec.Struct, kw_only=True):
    """A tool that an MCP server has. `input_schema` is the JSON schema of its arguments."""

    name: str
    """What it is called on its server."""
    description: str = ""
    """What it does, in the server's words."""
    input_schema: dict[str, Any] = msgspec.field(default_factory=dict)
    """The JSON schema of its arguments."""
    annotations: dict[str, Any] | None = None
    """What else the server says of it, such as `readOnlyHint`."""

    @property
    def only_reads(self) -> bool:
        return (self.annotations or {}).get("readOnlyHint") is True


class McpError(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Why a call came to nothing. `code` is JSON-RPC's for `protocol_error`, the status for `http_error`."""

    type: Literal["protocol_error", "tool_execution_error", "http_error"]
    message: str
    """What went wrong."""
    code: int | UnsetType = UNSET
    """The server's code for it."""


@dataclass(frozen=True, slots=True)
class McpServer:
    """Where an MCP server is, and what it is told with every request. What it is told is not for logs."""

    label: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


ToolFilter: TypeAlias = list[str] | McpFilter | UnsetType | None
"""Which of a server's tools; all of them where nothing is said."""
