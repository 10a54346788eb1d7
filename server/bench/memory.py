"""How much memory the server takes that listens at an address of this machine. Linux; elsewhere it is not known."""

import contextlib
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

_LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process and its children have in memory, in MB (1e6 bytes).

    By the fields of /proc/PID/smaps_rollup, see proc_pid_smaps(5).
    """

    total_mb: float
    """All of it (Pss): a page that several of them share counts once, and less where others outside share it."""
    private_mb: float
    """What one of them has to itself."""
    shared_mb: float
    """Their share of pages that several processes have: what children have from their parent, libraries."""
    files_mb: float
    """What of the total is the content of files, such as the weights of models: the system can drop and reread it."""
    server_mb: float
    """The part of the process that listens in the total; the rest is its children's."""
    resident_mb: float
    """What lies in memory of each, added up (Rss): shared pages as often as they are shared."""
    processes: int


def server_process(host: str, port: int) -> int | None:
    """Returns the id of the process that listens there, of several the oldest, whose children the others are; None
    where it is elsewhere, not ours to see, or unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return None
    if not found or not ipaddress.ip_address(str(found[0][4][0])).is_loopback:
        return None
    inodes = _listening(port)
    every = Path("/proc").glob("[0-9]*")
    return min((int(each.name) for each in every if not inodes.isdisjoint(_sockets(each))), default=None)


def memory_of(process: int) -> Memory | None:
    """Returns what the process and its children take; None where that cannot be seen."""
    read = [found for each in _family(process) if (found := _rollup(each))]
    if not read:
        return None

    def megabytes(*names: str) -> float:
        return round(sum(each.get(name, 0) for each in read for name in names) * 1024 / 1e6, 1)

    private = megabytes("Private_Clean", "Private_Dirty", "Private_Hugetlb")
    total = megabytes("Pss")
    return Memory(
        total_mb=total,
        private_mb=private,
        shared_mb=round(max(total - private, 0.0), 1),
        files_mb=megabytes("Pss_File"),
        server_mb=round(read[0].get("Pss", 0) * 1024 / 1e6, 1),
        resident_mb=megabytes("Rss"),
        processes=len(read),
    )


def resident_mb(process: int) -> float | None:
    """Returns the total of `memory_of` alone."""
    found = memory_of(process)
    return None if found is None else found.total_mb


def _rollup(process: int) -> dict[str, int]:
    """Returns the fields of /proc/PID/smaps_rollup, in KiB; nothing where it is not ours to see."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


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
