"""Which process listens, and what memory it takes."""

import os
import socket
import sys

import pytest

from server.bench.memory import resident_mb, server_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_the_process_that_listens_at_a_port_is_found():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert server_process("localhost", listening.getsockname()[1]) == os.getpid()
        port = listening.getsockname()[1]
    assert server_process("127.0.0.1", port) is None


def test_a_server_elsewhere_has_no_process_here():
    assert server_process("192.0.2.1", 80) is None


def test_memory_that_is_taken_shows():
    before = resident_mb(os.getpid())
    taken = bytearray(os.urandom(1 << 20) * 64)
    after = resident_mb(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before > 50
    del taken
