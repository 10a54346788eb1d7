"""What tools the MCP servers of a session have: asked once for each server, told as an item, shown to the model."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import UNSET

from pipeline.types import NamedTool, Tool, ToolChoice
from server.realtime.commands import ListMcpTools
from server.realtime.conversation import Conversation
from server.realtime.inbox import McpListingFailed, McpToolsListed
from server.realtime.mcp_items import McpListItem
from server.realtime.mcp_schema import McpChoice, McpListedTool, McpServer, McpTool, ToolFilter
from server.realtime.mcp_tools import is_allowed, needs_approval, server_of
from server.realtime.outbox import Outbox
from server.realtime.refusal import Refusal, check_size
from server.realtime.server_events import (
    Error,
    ItemAdded,
    ItemDone,
    McpListToolsCompleted,
    McpListToolsFailed,
    McpListToolsInProgress,
)
from server.realtime.server_objects import ErrorBody

MAX_TOOLS = 128
"""Most tools of one server: as many as a client may give of its own."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Names that every model and every service takes for a function."""


@dataclass(frozen=True, slots=True)
class RemoteTool:
    """A tool that the model may call and Parley makes the call of. `asks`: only when the client allows it."""

    server: McpServer
    name: str
    asks: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What the model may call in one response. `remote` has those that are on MCP servers, as the model knows them."""

    tools: tuple[Tool, ...]
    choice: ToolChoice
    remote: Mapping[str, RemoteTool]


@dataclass(slots=True)
class _Listing:
    item: McpListItem
    allowed: ToolFilter
    state: str = "asked"
    """`asked`, `known` or `failed`."""


class McpListings:
    """The lists of tools that have been asked for."""

    def __init__(self, outbox: Outbox, conversation: Conversation) -> None:
        self._outbox = outbox
        self._conversation = conversation
        self._listings: dict[tuple[McpServer, str], _Listing] = {}

    def want(self, servers: Iterable[McpTool]) -> None:
        """Asks the servers that have not been asked yet, and those again that failed."""
        for tool in servers:
            listing = self._listings.get(_key(tool))
            if listing is None or listing.state == "failed":
                self._begin(tool)

    def forget_all_but(self, tools: Iterable[McpTool]) -> None:
        """Forgets the lists of servers that nobody has any more; one that is asked for still comes to its end."""
        kept = {_key(tool) for tool in tools}
        self._listings = {
            key: listing for key, listing in self._listings.items() if key in kept or listing.state == "asked"
        }

    def awaiting(self, servers: Iterable[McpTool]) -> set[str]:
        """Returns the ids of the items of lists that have not come yet."""
        listings = (self._listings.get(_key(tool)) for tool in servers)
        return {listing.item.id for listing in listings if listing is not None and listing.state == "asked"}

    def asked(self) -> set[McpServer]:
        """Returns the servers that are being asked."""
        return {server for (server, _), listing in self._listings.items() if listing.state == "asked"}

    def listed(self, event: McpToolsListed) -> None:
        listing = self._find(event.listing)
        if listing is None:
            return
        item = listing.item
        tools = [tool for tool in event.tools if is_allowed(tool, listing.allowed)]
        if len(tools) > MAX_TOOLS:
            self._fail(listing, f"it has {len(tools)} tools. Name up to {MAX_TOOLS} of them in `allowed_tools`")
            return
        item.tools = tools
        try:
            check_size(item.wire(), "tools")
        except Refusal:
            item.tools = []
            self._fail(listing, "the descriptions of its tools are too long. Name fewer of them in `allowed_tools`")
            return
        listing.state = "known"
        self._outbox.send(McpListToolsCompleted(item_id=item.id))
        self._done(item)

    def failed(self, event: McpListingFailed) -> None:
        if (listing := self._find(event.listing)) is not None:
            self._fail(listing, event.problem)

    def offer(
        self, functions: Sequence[Tool], choice: ToolChoice, servers: Sequence[McpTool], wanted: McpChoice | None
    ) -> Offer:
        """Returns what the model may call now, of the client's functions and of these servers.

        A tool goes by its own name where no other has it, else by that of its server and its own.

        Raises:
            Refusal: the tool that must be called is not there.
        """
        found = [
            (definition, tool)
            for definition in servers
            if (listing := self._listings.get(_key(definition))) is not None
            for tool in listing.item.tools
        ]
        shared = Counter([*(function.name for function in functions), *(tool.name for _, tool in found)])
        names = {function.name for function in functions}
        tools, remote = list(functions), dict[str, RemoteTool]()
        for definition, tool in found:
            name = tool.name if shared[tool.name] == 1 else f"{definition.server_label}__{tool.name}"
            name = _free(name, names)
            names.add(name)
            tools.append(Tool(name, _description(definition, tool), tool.input_schema))
            remote[name] = RemoteTool(server_of(definition), tool.name, needs_approval(tool, definition))
        if wanted is not None:
            chosen = _chosen(wanted, remote)
            if wanted.name is None:
                choice, tools = "required", [tool for tool in tools if tool.name in chosen]
            else:
                choice = NamedTool(min(chosen))
        if choice == "required" and not tools:
            raise Refusal("invalid_value", "A call is required, and the MCP servers have no tools.", "tool_choice")
        return Offer(tuple(tools), choice, remote)

    def _begin(self, tool: McpTool) -> None:
        server = server_of(tool)
        item = McpListItem(id=self._outbox.new_id("item"), server_label=tool.server_label)
        self._listings[_key(tool)] = _Listing(item, tool.allowed_tools)
        previous = self._conversation.append(item)
        self._outbox.send(ItemAdded(previous_item_id=previous, item=item.wire()))
        self._outbox.send(McpListToolsInProgress(item_id=item.id))
        self._outbox.put(ListMcpTools(item.id, server))

    def _fail(self, listing: _Listing, problem: str) -> None:
        """What was wrong is told as an error: the events and the item have no place for it."""
        listing.state = "failed"
        self._outbox.send(McpListToolsFailed(item_id=listing.item.id))
        self._done(listing.item)
        message = f"The MCP server '{listing.item.server_label}' cannot be used: {problem}."
        body = ErrorBody(type="server_error", code="mcp_list_tools_failed", message=message, param="tools")
        self._outbox.send(Error(error=body))

    def _done(self, item: McpListItem) -> None:
        self._outbox.send(ItemDone(previous_item_id=self._conversation.before(item), item=item.wire()))

    def _find(self, item_id: str) -> _Listing | None:
        return next((listing for listing in self._listings.values() if listing.item.id == item_id), None)


def _key(tool: McpTool) -> tuple[McpServer, str]:
    """What a list depends on: where it comes from, and what is left out of it."""
    allowed = tool.allowed_tools
    filtered = "" if allowed in (UNSET, None) else allowed if isinstance(allowed, list) else repr(allowed)
    return server_of(tool), json.dumps(filtered)


def _free(name: str, taken: set[str]) -> str:
    """Returns the name, spelled as models can, or the first one like it that is free."""
    plain = name if _PLAIN_NAME.fullmatch(name) else re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]
    number = 2
    free = plain
    while free in taken:
        free = f"{plain[:60]}_{number}"
        number += 1
    return free


def _description(definition: McpTool, tool: McpListedTool) -> str:
    about = definition.server_description or ""
    return "\n".join(text for text in (tool.description, about) if text)


def _chosen(wanted: McpChoice, remote: Mapping[str, RemoteTool]) -> set[str]:
    """Returns what the model knows the tools as of which one must be called."""
    chosen = {
        name
        for name, tool in remote.items()
        if tool.server.label == wanted.server_label and wanted.name in (None, tool.name)
    }
    if not chosen:
        what = f"tool '{wanted.name}'" if wanted.name is not None else "tools"
        problem = f"The MCP server '{wanted.server_label}' has no {what} that could be called."
        raise Refusal("invalid_value", problem, "tool_choice")
    return chosen
