"""Which process listens, and what memory it takes."""

import os
import socket
import subprocess
import sys

import pytest

from server.bench.memory import memory_of, resident_mb, server_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_the_process_that_listens_at_a_port_is_found():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert server_process("localhost", listening.getsockname()[1]) == os.getpid()
        port = listening.getsockname()[1]
    assert server_process("127.0.0.1", port) is None


def test_one_that_listens_at_an_address_of_ipv6_is_found_too():
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listening:
        assert server_process("::1", listening.getsockname()[1]) == os.getpid()


def test_a_server_elsewhere_has_no_process_here():
    assert server_process("192.0.2.1", 80) is None


def test_memory_that_is_taken_shows_as_private():
    before = memory_of(os.getpid())
    total = resident_mb(os.getpid())
    taken = bytearray(os.urandom(1 << 20) * 64)
    after = memory_of(os.getpid())
    assert before is not None
    assert after is not None
    assert total is not None
    assert abs(total - before.total_mb) < 5
    assert after.total_mb - before.total_mb > 50
    assert after.private_mb - before.private_mb > 50
    del taken


_PARENT = """
import os, sys
taken = bytearray(os.urandom(1 << 20) * 64)
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
print("ready", flush=True)
sys.stdin.read()
os.wait()
"""


def test_what_a_child_has_from_its_parent_is_shared_and_counts_once():
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        found = memory_of(parent.pid)
        parent.communicate()
    assert found is not None
    assert found.processes == 2
    assert 64 < found.total_mb < 120
    assert found.shared_mb > 60
    assert found.resident_mb > 128


def test_a_process_that_is_gone_has_no_memory():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert memory_of(gone.pid) is None
