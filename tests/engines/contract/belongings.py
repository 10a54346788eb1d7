"""What a process has, so that a test can tell what an engine left behind."""

import asyncio
import gc
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.threads import end_of_threads

PATIENCE_S = 20.0
"""How long a test waits for what should come soon."""


@dataclass(frozen=True)
class Belongings:
    """Threads (those of libraries too, where the system tells), processes below this one, open files."""

    threads: Counter[str]
    processes: frozenset[int]
    files: int

    @classmethod
    def now(cls) -> "Belongings":
        return cls(_threads(), frozenset(_descendants()), len(os.listdir("/dev/fd")))

    def more_than(self, before: "Belongings") -> str:
        """Returns what there is more of, for people; nothing when all is as before."""
        more = []
        if threads := self.threads - before.threads:
            more.append(f"threads {dict(threads)}")
        if processes := self.processes - before.processes:
            more.append(f"processes {sorted(processes)}")
        if self.files > before.files:
            more.append(f"{self.files - before.files} open files")
        return ", ".join(more)


async def settled(stage: str) -> Belongings:
    """Returns what there is when the workers' threads of a stage have ended, which linger for a moment."""
    await end_of_threads(stage, PATIENCE_S)
    return Belongings.now()


async def as_before(before: Belongings) -> None:
    """Waits until all is as before: what has been ended may take a moment to be gone.

    Raises:
        AssertionError: something stays.
    """
    deadline = time.monotonic() + PATIENCE_S
    while left := Belongings.now().more_than(before):
        assert time.monotonic() < deadline, f"left behind: {left}"
        gc.collect()
        await asyncio.sleep(0.02)


def memory() -> int:
    """Returns the bytes that this process and those below it have allocated, files that they map not counted; 0 where
    the system does not tell.
    """
    kilobytes = 0
    for process in ("self", *map(str, _descendants())):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:  # not Linux, or it has ended
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    return kilobytes * 1024


def _threads() -> Counter[str]:
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return Counter(thread.name for thread in threading.enumerate())
    # asyncio's own pool keeps its threads for the next call.
    pool = {str(each.native_id) for each in threading.enumerate() if each.name.startswith("asyncio_")}
    names: Counter[str] = Counter()
    for task in tasks.iterdir():
        try:
            names[(task / "comm").read_text().strip()] += task.name not in pool
        except OSError:
            continue
    return names


def _descendants() -> list[int]:
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as ps:
        table, _ = ps.communicate()
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in table.splitlines())}
    parents.pop(ps.pid, None)
    found = [os.getpid()]
    for process in found:
        found.extend(pid for pid, parent in parents.items() if parent == process)
    return found[1:]


async def until(condition: Callable[[], object]) -> None:
    """Waits until a condition holds that other threads bring about. Raises AssertionError when it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)
