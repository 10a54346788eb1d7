"""The UDP sockets that calls share: which candidates there are, whose a packet is, and what cannot be had."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator

import pytest
from aioice import Connection, stun

from pipeline.errors import ParleyError
from server.webrtc.options import WebRtcOptions, checked_address
from server.webrtc.ports import LOOPBACK, Ports


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    ports = Ports(WebRtcOptions(free_port(), ("203.0.113.5", "2001:db8::5")))
    await ports.open()
    yield ports
    ports.close()


async def pair(ports: Ports) -> tuple[Connection, Connection]:
    """Returns the server's end of a connection and a client's, which knows where the server is, but not the reverse."""
    server, client = Connection(ice_controlling=False), Connection(ice_controlling=True)
    ports.share(server)
    for end in (server, client):
        await end.gather_candidates()
    server.remote_username, server.remote_password = client.local_username, client.local_password
    client.remote_username, client.remote_password = server.local_username, server.local_password
    for candidate in server.local_candidates:
        await client.add_remote_candidate(candidate)
    await client.add_remote_candidate(None)
    return server, client


async def test_all_calls_share_one_port_and_each_gets_what_is_its_own(ports: Ports) -> None:
    pairs = [await pair(ports) for _ in range(3)]
    assert len({candidate.port for server, _ in pairs for candidate in server.local_candidates}) == 1
    await asyncio.gather(*(end.connect() for both in pairs for end in both))
    for index, (server, client) in enumerate(pairs):
        await client.send(b"\x80 from client %d" % index)
        await server.send(b"\x80 from server %d" % index)
    for index, (server, client) in enumerate(pairs):
        assert await server.recv() == b"\x80 from client %d" % index
        assert await client.recv() == b"\x80 from server %d" % index
    first, _ = pairs[0]
    await first.close()
    server, client = pairs[1]
    await client.send(b"\x80 still there")
    assert await server.recv() == b"\x80 still there"
    for both in pairs:
        for end in both:
            await end.close()


async def test_clients_are_told_the_loopback_and_what_the_operator_says_first(ports: Ports) -> None:
    server, client = await pair(ports)
    hosts = [candidate.host for candidate in sorted(server.local_candidates, key=lambda each: -each.priority)]
    assert set(hosts[:2]) == {"203.0.113.5", "2001:db8::5"}
    assert LOOPBACK in hosts[2:]
    assert {candidate.type for candidate in server.local_candidates} == {"host"}
    await server.close()
    await client.close()


async def test_who_does_not_know_the_password_is_not_taken_for_the_peer(ports: Ports) -> None:
    server, client = await pair(ports)
    await asyncio.gather(server.connect(), client.connect())
    (there,) = [(each.host, each.port) for each in server.local_candidates if each.host == LOOPBACK]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((LOOPBACK, 0))
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{server.local_username}:{server.remote_username}"
        request.add_message_integrity(b"x" * 22)
        for data in (bytes(request), b"\x00\x01" + bytes(60), b"\x00", b"", b"\x80 not for you"):
            stranger.sendto(data, there)
    await client.send(b"\x80 for you")
    assert await server.recv() == b"\x80 for you"
    for end in (server, client):
        await end.close()


async def test_a_port_that_is_taken_stops_the_start_and_names_the_option() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((LOOPBACK, 0))
        port = taken.getsockname()[1]
        ports = Ports(WebRtcOptions(port))
        with pytest.raises(ParleyError, match=re.compile(rf"{port}.*--webrtc-port", re.DOTALL)):
            await ports.open()
        ports.close()


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "192.0.2.1:80"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ParleyError, match="--webrtc-address"):
        checked_address(text)
    assert checked_address("2001:DB8::1") == "2001:db8::1"
