"""An event loop on a thread of its own, whose work other loops and plain threads wait for.

The connections of an engine live there, whoever uses it: a session's loop, a worker's thread, the start of the
server. What is read off the network is also decoded there, so that it costs the sessions' loop a wake-up a value.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Generic, TypeVar

from pipeline.workers import JOIN_S, CancelToken, post, wait_out

T = TypeVar("T")

AHEAD = 256
"""Values that may wait for their reader before the work that makes them has to."""

_HANDED_BACK = 32
"""How many values a reader has taken before it says so: each word across threads wakes the loop there."""


class ClosedError(Exception):
    """The thread has ended, or ends: the work has been dropped."""


class LoopThread:
    """Runs coroutines and async generators for others. Safe to use from any thread."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        # Its own, so that closing need not wait for a name that takes long to look up.
        self._executor = concurrent.futures.ThreadPoolExecutor(4, thread_name_prefix=f"{name}-names")
        self.loop.set_default_executor(self._executor)
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> "Job[T]":
        """Starts a coroutine there, for a plain thread that will wait for it.

        Raises:
            ClosedError: the thread has ended.
        """
        job: Job[T] = Job(self.loop, work)
        self._submit(job.begin)
        return job

    async def iterate(
        self, make: Callable[[], AsyncGenerator[T, None]], cancel: CancelToken
    ) -> AsyncGenerator[T, None]:
        """Runs an async generator there and yields its values on the caller's loop.

        When this is closed or `cancel` is set, the generator is cancelled at once, wherever it waits, and has ended
        when this ends. A cancelled one ends without an error.

        Raises:
            ClosedError: the thread has ended, or does meanwhile.
            Exception: what the generator raised, after its values.
        """
        if cancel.cancelled:
            return
        crossing = _Crossing(self.loop, make)
        self._submit(crossing.begin)
        cancel.on_cancel(crossing.cancel)
        try:
            async with contextlib.aclosing(crossing.values()) as values:
                async for value in values:
                    yield value
            if crossing.dropped and not cancel.cancelled:
                raise ClosedError
        finally:
            crossing.cancel()
            await wait_out((crossing.ended,), JOIN_S)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancels all work, runs `last`, and ends the thread. Again: does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._shut_down(last), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.loop.close()

    def _submit(self, begin: Callable[[], None]) -> None:
        with self._lock:  # what is submitted before the end is there to be cancelled at the end
            if self._closed:
                raise ClosedError
            self.loop.call_soon_threadsafe(begin)

    async def _shut_down(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await last()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


class _Task(ABC, Generic[T]):
    """A coroutine on the loop, from outside: begun and cancelled by calls that the loop makes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._loop = loop
        self._work = work
        self._task: asyncio.Task[T] | None = None
        self._cancelled = False

    def begin(self) -> None:
        """To be called on the loop."""
        self._task = self._loop.create_task(self._work())
        self._task.add_done_callback(self._finish)

    def cancel(self) -> None:
        """Cancels it, from any thread, once: a second time could interrupt what it does to end."""
        if not self._cancelled:
            self._cancelled = True
            post(self._loop, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @abstractmethod
    def _finish(self, task: "asyncio.Task[T]") -> None:
        """Called on the loop when the coroutine has ended."""


class Job(_Task[T]):
    """A coroutine under way, for a plain thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        super().__init__(loop, work)
        self._outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

    def result(self) -> T:
        """Waits for the result, and again gives the same.

        Raises:
            ClosedError: it was cancelled.
            Exception: what it raised.
        """
        return self._outcome.result()

    def _finish(self, task: "asyncio.Task[T]") -> None:
        if task.cancelled():
            self._outcome.set_exception(ClosedError())
        elif (error := task.exception()) is not None:
            self._outcome.set_exception(error)
        else:
            self._outcome.set_result(task.result())


class _End:
    """What comes across after the last value."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Crossing(_Task[None]):
    """An async generator on one loop and its reader on another."""

    def __init__(self, loop: asyncio.AbstractEventLoop, make: Callable[[], AsyncGenerator[Any, None]]) -> None:
        super().__init__(loop, self._carry)
        self._make = make
        self._reader = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._room = asyncio.Semaphore(AHEAD)
        self.ended: asyncio.Future[None] = self._reader.create_future()
        self.dropped = False
        """Whether it ended because it was cancelled."""

    async def values(self) -> AsyncGenerator[Any, None]:
        taken = 0
        while not isinstance(value := await self._queue.get(), _End):
            taken += 1
            if taken == _HANDED_BACK:
                taken = 0
                post(self._loop, self._make_room)
            yield value
        if value.error is not None:
            raise value.error

    async def _carry(self) -> None:
        async with contextlib.aclosing(self._make()) as values:
            async for value in values:
                await self._room.acquire()
                post(self._reader, self._queue.put_nowait, value)

    def _make_room(self) -> None:
        for _ in range(_HANDED_BACK):
            self._room.release()

    def _finish(self, task: "asyncio.Task[None]") -> None:
        dropped = task.cancelled()
        post(self._reader, self._end, None if dropped else task.exception(), dropped)

    def _end(self, error: BaseException | None, dropped: bool) -> None:
        self.dropped = dropped
        self._queue.put_nowait(_End(error))
        if not self.ended.done():
            self.ended.set_result(None)
