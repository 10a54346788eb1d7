"""How much memory the server takes that listens at an address of this machine. Linux; elsewhere it is not known."""

import contextlib
import os
import socket
from pathlib import Path

_LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def server_process(host: str, port: int) -> int | None:
    """Returns the id of the process that listens there; None where it is elsewhere, not ours to see, or unknown."""
    try:
        address = socket.gethostbyname(host)
    except OSError:
        return None
    if not address.startswith("127."):
        return None
    inodes = _listening(port)
    for process in Path("/proc").glob("[0-9]*"):
        if not inodes.isdisjoint(_sockets(process)):
            return int(process.name)
    return None


def resident_mb(process: int) -> float | None:
    """Returns what of the process and its children lies in memory, in MB (1e6 bytes), shared pages counted once."""
    total = 0.0
    for each in _family(process):
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return round(total * 1024 / 1e6, 1) if total else None


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _sockets(process: Path) -> set[str]:
    """Returns the inodes of a process's sockets; nothing where it is not ours to see."""
    found = set()
    try:
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                found.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    except OSError:
        pass
    return found


def _family(process: int) -> list[int]:
    """Returns the process and its children, and theirs."""
    found = [process]
    for each in found:
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found
