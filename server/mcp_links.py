"""A session's connections to MCP servers: asks and calls for the machine, and reports what came of it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from server.mcp_link import CONNECTION_CLOSED, INTERNAL_ERROR, REQUEST_TIMEOUT, McpFailure, McpLink
from server.realtime import commands as do
from server.realtime.inbox import Event, McpListingFailed, McpReturned, McpToolsListed
from server.realtime.mcp_schema import McpError, McpServer

log = logging.getLogger(__name__)

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class McpLinks:
    """The connections of one session."""

    def __init__(self, report: Callable[[Event], None], spawn: Spawn) -> None:
        """`report` takes what the machine is told; `spawn` starts a task that ends with the session at the latest."""
        self._report = report
        self._spawn = spawn
        self._links: dict[McpServer, McpLink] = {}
        self._parting: set[McpLink] = set()
        self._calls: dict[str, asyncio.Task[None]] = {}
        self.dispatch: Mapping[type, Callable[[Any], None]] = {
            do.ListMcpTools: self._start_list,
            do.CallMcpTool: self._start_call,
            do.CancelMcpCall: self._cancel_call,
            do.CloseMcpServer: lambda command: self._part(command.server),
        }
        """What to do for each command of the machine that is about MCP servers."""

    async def close(self) -> None:
        """Closes every connection. The tasks that were spawned have ended."""
        for server in list(self._links):
            self._part(server)
        await asyncio.gather(*(link.close() for link in list(self._parting)))

    def _start_list(self, ask: do.ListMcpTools) -> None:
        self._spawn(self._list(ask))

    async def _list(self, ask: do.ListMcpTools) -> None:
        try:
            self._report(McpToolsListed(ask.listing, await self._link(ask.server).tools()))
        except McpFailure as failure:
            log.warning("the MCP server %r cannot be used: %r", ask.server.label, str(failure))
            self._part(ask.server)
            self._report(McpListingFailed(ask.listing, str(failure).rstrip(".")))
        except Exception:  # whatever it is: responses wait for an end
            log.exception("the tools of the MCP server %r could not be listed", ask.server.label)
            self._part(ask.server)
            self._report(McpListingFailed(ask.listing, "Parley failed; its log has the details"))

    def _start_call(self, command: do.CallMcpTool) -> None:
        task = self._calls[command.call] = self._spawn(self._call(command))
        task.add_done_callback(lambda _: self._calls.pop(command.call, None))

    def _cancel_call(self, command: do.CancelMcpCall) -> None:
        if (task := self._calls.get(command.call)) is not None:
            task.cancel()

    async def _call(self, command: do.CallMcpTool) -> None:
        result: str | McpError
        try:
            result = await self._try(command)
        except McpFailure as failure:
            log.warning("a call of the MCP server %r failed: %s", command.server.label, failure.error.type)
            result = failure.error
        except Exception:  # whatever it is: a response waits for an end
            log.exception("a call of the MCP server %r could not be made", command.server.label)
            self._part(command.server)
            result = McpError(type="protocol_error", code=INTERNAL_ERROR, message="Parley failed; see its log.")
        self._report(McpReturned(command.call, result))

    async def _try(self, command: do.CallMcpTool) -> str:
        """Calls; once more on a new connection where the server says that it does not know the old one."""
        was_there = command.server in self._links
        try:
            return await self._link(command.server).call(command.name, command.arguments)
        except McpFailure as failure:
            if _is_of_the_connection(failure.error):
                self._part(command.server)
            if not was_there or failure.error.code != 404:
                raise
        return await self._link(command.server).call(command.name, command.arguments)

    def _link(self, server: McpServer) -> McpLink:
        link = self._links.get(server)
        if link is None or link.is_over:
            self._part(server)
            link = self._links[server] = McpLink(server)
        return link

    def _part(self, server: McpServer) -> None:
        if (link := self._links.pop(server, None)) is not None:
            self._parting.add(link)
            link.stop(lambda: self._parting.discard(link))


def _is_of_the_connection(error: McpError) -> bool:
    return error.type == "http_error" or error.code in (CONNECTION_CLOSED, INTERNAL_ERROR, REQUEST_TIMEOUT)
