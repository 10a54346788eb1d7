"""The UDP sockets of all calls, one for each address of this machine: whose a packet is follows from what is in it.

aioice opens sockets of its own for every connection, on any ports. Here all calls share one port, so that it can be
published from a container, or let through a firewall. Which call a packet belongs to is told by the user name in the
first STUN requests (RFC 8445, 7.2.2), and from then on by where it comes from.
"""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Sequence
from typing import Any, cast

from aioice import Candidate, Connection, stun
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol, get_host_addresses

from pipeline.errors import ParleyError
from server.webrtc.options import WebRtcOptions

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_RECEIVE_BUFFER = 1024 * 1024
"""Bytes that may wait in a socket while the loop is busy."""

_ANNOUNCED, _OWN = 65_535, 65_534
"""Preference of candidates among those of the same type: what the operator says can be reached goes first."""

Peer = tuple[str, int]


class Path(StunProtocol):
    """A call's share of a socket: to aioice a socket of its own."""

    def __init__(self, connection: Connection, shared: "_Socket") -> None:
        super().__init__(connection)
        self.connection = connection
        self.heard = time.monotonic()
        """When anything came from the peer, in seconds of the monotonic clock."""
        self._shared = shared
        shared.paths.append(self)
        self.connection_made(cast(asyncio.DatagramTransport, self))
        self.local_candidate = _candidate(shared.host, shared.port, _OWN)

    # What aioice asks of a transport:

    def sendto(self, data: bytes, peer: Peer) -> None:
        self._shared.transport.sendto(data, peer)

    def get_extra_info(self, name: str) -> Any:
        return self._shared.transport.get_extra_info(name)

    async def close(self) -> None:
        """Leaves the socket, which stays open for the others."""
        self._shared.leave(self)
        self.connection_lost(None)


class _Socket(asyncio.DatagramProtocol):
    """A socket, and who shares it."""

    transport: asyncio.DatagramTransport

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.host, self.port = "", 0
        self._peers: dict[Peer, Path] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.host, self.port = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        peer = (addr[0], addr[1])
        path = self._of_stun(data, peer) if data[:1] < b"\x04" else self._peers.get(peer)  # RFC 7983
        if path is not None:
            path.heard = time.monotonic()
            path.datagram_received(data, peer)

    def error_received(self, exc: Exception) -> None:
        log.debug("a datagram did not get through: %s", exc)

    def leave(self, path: Path) -> None:
        self.paths = [each for each in self.paths if each is not path]
        self._peers = {peer: each for peer, each in self._peers.items() if each is not path}

    def _of_stun(self, data: bytes, peer: Peer) -> Path | None:
        """Returns whose a STUN message is. Only whoever knows a call's password is taken for its peer."""
        try:
            message = stun.parse_message(data)
        except ValueError:
            return None
        if message.message_class is not stun.Class.REQUEST:
            return next((path for path in self.paths if message.transaction_id in path.transactions), None)
        name = str(message.attributes.get("USERNAME", "")).partition(":")[0]
        path = next((path for path in self.paths if path.connection.local_username == name), None)
        if path is None or "MESSAGE-INTEGRITY" not in message.attributes:
            return None
        if not message.check_message_integrity(path.connection.local_password.encode()):
            return None
        self._peers[peer] = path
        return path


class Ports:
    """The sockets of this machine's addresses, there as long as the server is."""

    def __init__(self, options: WebRtcOptions) -> None:
        self._options = options
        self._sockets: dict[str, _Socket] = {}
        self._refreshing = asyncio.Lock()

    async def open(self) -> None:
        """Opens a socket for each address of this machine.

        Raises:
            ParleyError: there is none that could be opened, or the port that was asked for is taken.
        """
        problem = await self.refresh()
        if problem is not None and (not self._sockets or problem.errno == errno.EADDRINUSE):
            where = f"UDP port {self._options.port}" if self._options.port else "any UDP port"
            raise ParleyError(
                f"Cannot listen on {where}: {problem.strerror or problem}. Choose another with --webrtc-port."
            )

    async def refresh(self) -> OSError | None:
        """Opens sockets for addresses that have none yet, and closes those of addresses that are gone: a machine may
        come to another network. Returns what was wrong with one that could not be opened.
        """
        async with self._refreshing:
            return await self._follow_addresses()

    async def _follow_addresses(self) -> OSError | None:
        addresses = [LOOPBACK, *get_host_addresses(use_ipv4=True, use_ipv6=True)]
        for address in [each for each in self._sockets if each not in addresses]:
            self._sockets.pop(address).transport.close()
        problem: OSError | None = None
        for address in addresses:
            if address not in self._sockets:
                try:
                    self._sockets[address] = await _bound(address, self._options.port)
                except OSError as error:
                    log.info("no calls by %s: %s", address, error)
                    problem = error
        return problem

    def share(self, connection: Connection) -> list[Path]:
        """Has an ICE connection use these sockets; to be called before it gathers candidates. Returns its paths."""
        paths = [Path(connection, each) for each in self._sockets.values()]
        candidates = [path.local_candidate for path in paths]
        ports = sorted({path.local_candidate.port for path in paths if path.local_candidate.host != LOOPBACK})
        for address in self._options.addresses:
            candidates += [_candidate(address, port, _ANNOUNCED) for port in ports or [paths[0].local_candidate.port]]

        async def gather(component: int, addresses: Sequence[str], timeout: int = 5) -> list[Candidate]:
            connection._protocols += paths
            return candidates

        connection.get_component_candidates = gather  # type: ignore[method-assign]
        return paths

    def close(self) -> None:
        for each in self._sockets.values():
            each.transport.close()
        self._sockets.clear()


async def _bound(address: str, port: int) -> _Socket:
    # Bound here: uvloop would let two servers share a port, and each would get some of the other's packets.
    raw = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        raw.bind((address, port))
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(_Socket, sock=raw)
    except BaseException:
        raw.close()
        raise
    return protocol


def _candidate(host: str, port: int, preference: int) -> Candidate:
    return Candidate(
        foundation=candidate_foundation("host", "udp", host),
        component=1,
        transport="udp",
        priority=candidate_priority(1, "host", preference),
        host=host,
        port=port,
        type="host",
    )
