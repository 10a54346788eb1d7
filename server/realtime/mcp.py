"""MCP servers in a session: their lists of tools, the calls of these, and how long each connection is needed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from server.realtime.commands import CloseMcpServer
from server.realtime.conversation import Conversation
from server.realtime.mcp_calls import McpCalls
from server.realtime.mcp_listings import McpListings
from server.realtime.mcp_schema import McpServer, McpTool
from server.realtime.mcp_tools import server_of, servers_in
from server.realtime.outbox import Outbox
from server.realtime.schema import FunctionTool


@dataclass(slots=True)
class Mcp:
    """What the session knows of MCP servers."""

    outbox: Outbox
    listings: McpListings
    calls: McpCalls
    _configured: tuple[McpTool, ...] = ()
    """Those among the session's tools."""
    _open: set[McpServer] = field(default_factory=set)
    """Those that there may be a connection to."""

    @classmethod
    def of(cls, outbox: Outbox, conversation: Conversation) -> "Mcp":
        return cls(outbox, McpListings(outbox, conversation), McpCalls(outbox, conversation))

    def configure(self, tools: Sequence[FunctionTool | McpTool]) -> None:
        """Takes the session's tools, and asks for the lists that are not there."""
        self._configured = servers_in(tools)
        self.listings.want(self._configured)

    def sweep(self, others: Iterable[McpTool]) -> None:
        """Has the connections closed that neither the session's tools, nor `others`, nor what is under way needs."""
        wanted = (*self._configured, *others)
        needed = {server_of(tool) for tool in wanted} | self.calls.servers() | self.listings.asked()
        for server in sorted(self._open - needed, key=lambda server: (server.label, server.url, server.headers)):
            self.outbox.put(CloseMcpServer(server))
        self._open = needed
        self.listings.forget_all_but(wanted)
