"""What goes on besides the test: waiting for it, and asking what is left of it."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], within: float = 5.0) -> None:
    """Waits until a condition holds that other threads bring about. Raises AssertionError when it never does."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.001)


def parley_threads(stage: str = "") -> list[str]:
    """The names of the threads that the pipeline's workers have started and that still run."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"parley-{stage}")]


async def end_of_threads(stage: str = "", within: float = 2.0) -> None:
    """Waits until none of them runs. Raises AssertionError when some still do after `within` seconds."""
    with contextlib.suppress(AssertionError):
        await until(lambda: not parley_threads(stage), within)
    assert not parley_threads(stage), f"threads left behind: {parley_threads(stage)}"
