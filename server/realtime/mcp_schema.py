"""The protocol's objects about MCP servers, shaped as in OpenAI's GA schema: their tools, choices, lists and errors."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType


class McpFilter(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, frozen=True):
    """Some tools of a server: those that have one of the names and, as told, do or do not only read."""

    tool_names: list[str] | None = None
    read_only: bool | None = None


class McpApprovals(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, frozen=True):
    """Which tools need approval, and which do not; see `mcp_tools.needs_approval`."""

    always: McpFilter | None = None
    never: McpFilter | None = None


class McpTool(
    msgspec.Struct, tag_field="type", tag="mcp", forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """The tools of an MCP server, which Parley lists and calls. What nobody here can do is refused in `mcp_tools`."""

    server_label: Annotated[str, Meta(min_length=1, max_length=64)]
    server_url: Annotated[str, Meta(max_length=2048)] | UnsetType | None = UNSET
    authorization: Annotated[str, Meta(max_length=16384)] | UnsetType | None = UNSET
    headers: Annotated[dict[str, str], Meta(max_length=64)] | UnsetType | None = UNSET
    allowed_tools: list[str] | McpFilter | UnsetType | None = UNSET
    require_approval: Literal["always", "never"] | McpApprovals | UnsetType | None = UNSET
    server_description: Annotated[str, Meta(max_length=2048)] | UnsetType | None = UNSET
    defer_loading: bool | UnsetType | None = UNSET
    allowed_callers: list[Literal["direct", "programmatic"]] | UnsetType | None = UNSET
    connector_id: str | UnsetType | None = UNSET
    tunnel_id: str | UnsetType | None = UNSET


SECRETS = frozenset({"authorization", "headers"})
"""Fields of an `McpTool` that hold credentials: they go to the server and nowhere else."""


class McpChoice(msgspec.Struct, tag_field="type", tag="mcp", forbid_unknown_fields=True, omit_defaults=True):
    """A tool of this server must be called: any, or the one that is named."""

    server_label: str
    name: str | None = None


class McpListedTool(msgspec.Struct, kw_only=True):
    """A tool that an MCP server has. `input_schema` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    input_schema: dict[str, Any] = msgspec.field(default_factory=dict)
    annotations: dict[str, Any] | None = None

    @property
    def only_reads(self) -> bool:
        return (self.annotations or {}).get("readOnlyHint") is True


class McpError(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Why a call came to nothing. `code` is JSON-RPC's for `protocol_error`, the status for `http_error`."""

    type: Literal["protocol_error", "tool_execution_error", "http_error"]
    message: str
    code: int | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class McpServer:
    """Where an MCP server is, and what it is told with every request. What it is told is not for logs."""

    label: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


ToolFilter: TypeAlias = list[str] | McpFilter | UnsetType | None
"""Which of a server's tools; all of them where nothing is said."""
