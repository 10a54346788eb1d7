"""MCP servers among the tools of a session or a response: what is refused, what is filled in, which tools are meant."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from msgspec import UNSET
from msgspec.structs import replace

from server.realtime.mcp_schema import McpApprovals, McpChoice, McpFilter, McpListedTool, McpServer, McpTool, ToolFilter
from server.realtime.refusal import Refusal
from server.realtime.schema import FunctionTool, ToolChoiceParam

MAX_SERVERS = 16
"""Most MCP servers of one session, or of one response: each is a connection."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OURS = frozenset(
    "accept connection content-length content-type host keep-alive last-event-id mcp-protocol-version mcp-session-id "
    "te trailer transfer-encoding upgrade".split()
)
"""Headers that belong to the transport."""

_CANNOT = {
    "connector_id": "Connectors are OpenAI's own. Give the `server_url` of an MCP server that Parley can reach",
    "tunnel_id": "Tunnels are OpenAI's own. Give the `server_url` of an MCP server that Parley can reach",
}


def with_definitions(
    tools: Sequence[FunctionTool | McpTool], known: Sequence[FunctionTool | McpTool]
) -> list[FunctionTool | McpTool]:
    """Returns the tools, each server that comes with its label alone as it was defined before.

    A label without `server_url` stands for the definition in `known`; what is said besides replaces what that says.
    """
    defined = {tool.server_label: tool for tool in known if isinstance(tool, McpTool)}
    return [
        _with_definition(tool, defined.get(tool.server_label)) if isinstance(tool, McpTool) else tool for tool in tools
    ]


def _with_definition(tool: McpTool, before: McpTool | None) -> McpTool:
    if before is None or tool.server_url or tool.connector_id or tool.tunnel_id:
        return tool
    said = {name: value for name in tool.__struct_fields__ if (value := getattr(tool, name)) not in (UNSET, None)}
    return replace(before, **said)


def check_mcp_tools(tools: Sequence[FunctionTool | McpTool], choice: ToolChoiceParam, root: str) -> None:
    """Raises:
    Refusal: a server cannot be reached as it is asked for, two have one label, or the choice is of none of them.
    """
    labels: list[str] = []
    for index, tool in enumerate(tools):
        if isinstance(tool, McpTool):
            where = f"{root}.tools[{index}]"
            _check(tool, where)
            if tool.server_label in labels:
                problem = f"There are two MCP servers labelled '{tool.server_label}'."
                raise Refusal("invalid_value", problem, f"{where}.server_label")
            labels.append(tool.server_label)
    if len(labels) > MAX_SERVERS:
        raise Refusal("invalid_value", f"There may be {MAX_SERVERS} MCP servers, not {len(labels)}.", f"{root}.tools")
    if isinstance(choice, McpChoice) and choice.server_label not in labels:
        known = f"There are: {', '.join(labels)}." if labels else "There are none."
        problem = f"There is no MCP server '{choice.server_label}' among the tools. {known}"
        raise Refusal("invalid_value", problem, f"{root}.tool_choice")


def _check(tool: McpTool, where: str) -> None:
    for name, problem in _CANNOT.items():
        if getattr(tool, name) not in (UNSET, None):
            raise Refusal("invalid_value", f"{problem}.", f"{where}.{name}")
    if tool.defer_loading:
        problem = "Parley has no tool search: the model is shown all tools of a server, or the `allowed_tools`."
        raise Refusal("invalid_value", problem, f"{where}.defer_loading")
    if tool.allowed_callers and "programmatic" in tool.allowed_callers:
        raise Refusal(
            "invalid_value", "The model calls tools directly; there is no program.", f"{where}.allowed_callers"
        )
    _check_url(tool, f"{where}.server_url")
    _check_headers(tool, where)


def _check_url(tool: McpTool, where: str) -> None:
    if not tool.server_url:
        problem = f"There is no MCP server '{tool.server_label}' in the session yet: it needs a `server_url`."
        raise Refusal("missing_required_parameter", problem, where)
    try:
        parts = urlsplit(tool.server_url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or re.search(r"[\s\x00-\x1f]", tool.server_url):
        raise Refusal("invalid_value", "A `server_url` is like https://host/mcp or http://localhost:8000/mcp.", where)
    if "@" in parts.netloc:
        raise Refusal("invalid_value", "Credentials do not belong into a URL. Use `authorization` or `headers`.", where)


def _check_headers(tool: McpTool, where: str) -> None:
    for name, value in (tool.headers or {}).items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise Refusal("invalid_value", f"'{name}' is no header that HTTP knows.", f"{where}.headers")
        if name.lower() in _OURS:
            raise Refusal("invalid_value", f"The header '{name}' belongs to the connection.", f"{where}.headers")
        if name.lower() == "authorization" and tool.authorization:
            problem = "There is a header 'Authorization' already. Say it once."
            raise Refusal("invalid_value", problem, f"{where}.authorization")
    if tool.authorization and not _HEADER_VALUE.fullmatch(tool.authorization):
        raise Refusal("invalid_value", "This is no token that a header can carry.", f"{where}.authorization")


def servers_in(tools: Sequence[FunctionTool | McpTool]) -> tuple[McpTool, ...]:
    """Returns the MCP servers among the tools."""
    return tuple(tool for tool in tools if isinstance(tool, McpTool))


def server_of(tool: McpTool) -> McpServer:
    """Returns where to connect for a tool that was checked."""
    headers = dict(tool.headers or {})
    if tool.authorization:
        headers["Authorization"] = f"Bearer {tool.authorization}"
    assert isinstance(tool.server_url, str)
    return McpServer(tool.server_label, tool.server_url, tuple(sorted(headers.items())))


def is_allowed(tool: McpListedTool, allowed: ToolFilter) -> bool:
    """Whether `allowed_tools` leaves the tool in."""
    if isinstance(allowed, list):
        return tool.name in allowed
    return _matches(tool, allowed) if isinstance(allowed, McpFilter) else True


def needs_approval(tool: McpListedTool, definition: McpTool) -> bool:
    """Whether the client is to be asked before the tool is called.

    OpenAI's default is to ask always. Of a pair of filters `always` goes before `never`, and what is in neither is
    asked about; where there is only `always`, it says all there is to ask about.
    """
    match definition.require_approval:
        case "never":
            return False
        case McpApprovals(always=always, never=never) if always or never:
            if always and _matches(tool, always):
                return True
            return never is not None and not _matches(tool, never)
        case _:
            return True


def _matches(tool: McpListedTool, wanted: McpFilter) -> bool:
    named = wanted.tool_names is None or tool.name in wanted.tool_names
    return named and (wanted.read_only is None or wanted.read_only == tool.only_reads)
