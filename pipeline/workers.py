"""Runs blocking engines off the event loop, so that whoever writes an engine writes no asyncio.

- `CancelToken`: how a run tells an engine on another thread to stop.
- `iterate`: drives an engine's iterator on a thread of its own and hands its values to the loop.
- `SerialWorker`: the calls on one stream, one after the other, on a thread that exists only while there are any.
- `BatchWorker`: one lasting thread that handles whatever has queued up, in one call.

A thread lives as long as its work: what a session started is gone when the session is.
"""

import asyncio
import contextlib
import inspect
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator
from typing import Any, Generic, TypeVar, cast

from pipeline.errors import StageError, StageTimeoutError
from pipeline.slots import WAITED, Holder, Slots

T = TypeVar("T")

log = logging.getLogger(__name__)


class CancelToken:
    """Tells an engine on another thread that its result is no longer wanted.

    Engines look at `cancelled` between steps, or register a callback where they block.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Cancels, once. Callbacks run on the caller's thread and must be quick."""
        with self._lock:
            if self._cancelled:
                return
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Calls `callback` when cancelled; at once if it is already."""
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(callback)
                return
        callback()


def as_stage_error(stage: str, error: BaseException) -> StageError:
    """Gives any exception of an engine the form in which a turn fails."""
    if isinstance(error, StageError):
        return error
    return StageError(stage, f"The {stage} stage failed: {type(error).__name__}: {error}")


def _hung(stage: str, timeout: float) -> StageTimeoutError:
    return StageTimeoutError(
        stage, f"The {stage} stage gave no sign of life for {timeout:g} s (`timeout` of its block in models.yaml)."
    )


class _End:
    """What comes out of a pump after its last value."""


class _Pump(Generic[T]):
    """One engine iterator on one thread; its values come out on the loop, in order."""

    def __init__(self, stage: str, make: Callable[[], Iterator[T]], cancel: CancelToken) -> None:
        self._stage = stage
        self._make = make
        self._cancel = cancel
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | StageError | _End] = asyncio.Queue()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._on_end: Callable[[], None] = lambda: None

    def start(self, on_end: Callable[[], None]) -> None:
        """Starts the thread. `on_end` is called on the loop when it has ended."""
        self._on_end = on_end
        threading.Thread(target=self._run, name=f"parley-{self._stage}", daemon=True).start()

    def _run(self) -> None:
        last: StageError | _End = _End()
        try:
            for value in self._make():
                post(self._loop, self._queue.put_nowait, value)
                if self._cancel.cancelled:
                    break
        except Exception as error:
            if not isinstance(error, StageError) and not self._cancel.cancelled:
                log.exception("%s: the engine raised", self._stage)
            last = as_stage_error(self._stage, error)
        finally:
            post(self._loop, self._finish, last)

    def _finish(self, last: StageError | _End) -> None:
        self._queue.put_nowait(last)
        self._ended.set_result(None)
        self._on_end()

    async def values(self, timeout: float) -> AsyncGenerator[T, None]:
        while True:
            try:
                async with asyncio.timeout(timeout):
                    value = await self._queue.get()
            except TimeoutError:
                raise _hung(self._stage, timeout) from None
            if isinstance(value, _End):
                return
            if isinstance(value, StageError):
                raise value
            yield value

    async def let_go(self, timeout: float) -> None:
        """Waits for the thread to end, or gives it up."""
        try:
            await wait_out((self._ended,), timeout)
        finally:
            if not self._ended.done():
                log.warning("%s: a cancelled call did not stop; its thread is left behind", self._stage)
                self._on_end()


def post(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> None:
    """Calls `call(*args)` on the loop, from any thread. Does nothing when the loop has closed."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)


async def wait_out(futures: Collection["asyncio.Future[Any]"], timeout: float | None = None) -> None:
    """Waits until all of them are done, or `timeout` seconds are over.

    For cleaning up: a task that is cancelled meanwhile goes on waiting, and the cancellation counts afterwards.
    """
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    pending = {future for future in futures if not future.done()}
    cancelled: asyncio.CancelledError | None = None
    while pending and (deadline is None or loop.time() < deadline):
        try:
            _, pending = await asyncio.wait(pending, timeout=None if deadline is None else deadline - loop.time())
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


JOIN_S = 2.0
"""How long a cancelled run waits for its thread to notice before it gives the thread up."""


async def iterate(
    stage: str,
    make: Callable[[], Iterator[T] | AsyncIterator[T]],
    cancel: CancelToken,
    *,
    timeout: float,
    slots: Slots | None = None,
    holder: Holder = WAITED,
    on_begin: Callable[[], None] = lambda: None,
) -> AsyncGenerator[T, None]:
    """Drives the iterator that `make` returns and yields its values on the event loop.

    A blocking iterator is made and run on a thread of its own, as fast as it can: it never waits for whoever
    reads the values, so bound the work that is asked for at a time. (An async generator function runs on the
    loop.) The thread starts when one of `slots` is free for the `holder`; then `on_begin` is called. When this
    generator is closed, `cancel` is set and the thread is waited for; a slot is free again when its thread has ended,
    or has been given up as hung.

    Raises:
        StageError: what the engine raised.
        StageTimeoutError: no value came for `timeout` seconds, waiting for a slot not counted.
    """
    give_back = await slots.take(holder) if slots is not None else lambda: None
    on_begin()
    if inspect.isasyncgenfunction(make):
        try:
            async with contextlib.aclosing(_iterate_async(stage, make(), timeout)) as values:
                async for value in values:
                    yield value
        finally:
            cancel.cancel()
            give_back()
        return
    pump = _Pump(stage, cast(Callable[[], Iterator[T]], make), cancel)
    try:
        pump.start(on_end=give_back)
        async with contextlib.aclosing(pump.values(timeout)) as values:
            async for value in values:
                yield value
    except StageTimeoutError:
        give_back()
        raise
    finally:
        cancel.cancel()
        await pump.let_go(JOIN_S)


async def _iterate_async(stage: str, iterator: AsyncIterator[T], timeout: float) -> AsyncGenerator[T, None]:
    async with contextlib.aclosing(cast(AsyncGenerator[T, None], iterator)) as values:
        while True:
            try:
                async with asyncio.timeout(timeout) as limit:
                    value = await anext(values)
            except StopAsyncIteration:
                return
            except Exception as error:
                if limit.expired():
                    raise _hung(stage, timeout) from None
                if not isinstance(error, StageError):
                    log.exception("%s: the engine raised", stage)
                raise as_stage_error(stage, error) from error
            yield value


LINGER_S = 0.25
"""How long the thread of a SerialWorker waits for another call before it ends: longer than the pauses between the
frames of an utterance. Starting a thread makes the event loop wait until the system has run it, on a machine with
more to do than cores 10 ms and more."""


class SerialWorker:
    """Makes the calls on one stream one after the other, off the loop.

    A thread exists only while calls are waiting or running, and a moment longer. After `abandon` nothing more is
    started, and whoever waits is told.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._loop = asyncio.get_running_loop()
        self._wake = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._running = False
        self._abandoned = False
        self._ended = 0
        self._pending: set[asyncio.Future[object]] = set()

    def post(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        """Queues a call. The future has its result, or a StageError."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._abandoned:
            future.set_exception(StageError(self._stage, f"The {self._stage} stage has been given up."))
            future.exception()  # whoever does not look at it does not care
            return future
        self._pending.add(cast("asyncio.Future[object]", future))
        future.add_done_callback(lambda done: self._pending.discard(cast("asyncio.Future[object]", done)))

        def work() -> None:
            try:
                result = call()
            except Exception as error:
                if not isinstance(error, StageError):
                    log.exception("%s: the engine raised", self._stage)
                post(self._loop, _fail, future, as_stage_error(self._stage, error))
            else:
                post(self._loop, _fulfil, future, result)

        with self._wake:
            self._waiting.append(work)
            if self._running:
                self._wake.notify()
                return future
            self._running = True
        threading.Thread(target=self._run, name=f"parley-{self._stage}", daemon=True).start()
        return future

    async def result(self, future: "asyncio.Future[T]", timeout: float) -> T:
        """Waits for a call that `post` queued.

        Raises:
            StageError: what it raised.
            StageTimeoutError: for `timeout` seconds neither it nor a call queued before it came to an end.
        """
        while True:
            ended = self._ended
            done, _ = await asyncio.wait((future,), timeout=timeout)
            if done:
                return future.result()
            if ended == self._ended:
                raise _hung(self._stage, timeout)

    def abandon(self) -> None:
        """Drops the calls that wait; a running one is left to end by itself."""
        with self._wake:
            self._abandoned = True
            self._waiting.clear()
            self._wake.notify()
        for future in list(self._pending):
            _fail(future, StageError(self._stage, f"The {self._stage} stage has been given up."))

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._abandoned, LINGER_S)
                if not self._waiting:
                    self._running = False
                    return
                work = self._waiting.popleft()
            work()
            self._ended += 1


def _fulfil(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[T]", error: StageError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # a feed that nobody awaits must not warn; whoever awaits still gets it


class BatchWorker(Generic[T]):
    """One lasting thread that handles whatever is waiting in one call; nobody waits for a batch to fill."""

    def __init__(self, name: str, handle: Callable[[list[T]], None]) -> None:
        """`handle` is called on the worker's thread with everything that waits, in order; what it raises is logged."""
        self._handle = handle
        self._wake = threading.Condition()
        self._waiting: list[T] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"parley-{name}", daemon=True)
        self._thread.start()

    def submit(self, item: T) -> None:
        """Queues an item; returns at once."""
        with self._wake:
            self._waiting.append(item)
            self._wake.notify()

    def abandon(self) -> None:
        """Lets the thread end after the call under way, should that ever end."""
        with self._wake:
            self._closed = True
            self._wake.notify()

    def close(self) -> None:
        """Ends the thread after the call under way, and waits for that."""
        self.abandon()
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                batch, self._waiting = self._waiting, []
            try:
                self._handle(batch)
            except Exception:  # the thread serves everybody: it outlives any one call
                log.exception("%s failed", threading.current_thread().name)
            del batch  # whose items it was may be gone before the next one comes
