"""Blocking engines run off the event loop, in order, cancellable, and leave nothing behind."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from pipeline import workers
from pipeline.errors import StageError, StageTimeoutError
from pipeline.slots import Slots
from pipeline.workers import BatchWorker, CancelToken, SerialWorker, iterate
from tests.threads import end_of_threads, parley_threads, until

SOON = 5.0
"""Seconds after which a test gives up on what should take milliseconds."""


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "JOIN_S", 0.3)


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """What a hanging engine waits for; set at the end, so that its threads end with the test."""
    event = threading.Event()
    yield event
    event.set()


async def read_all(values: AsyncIterator[int]) -> list[int]:
    return [value async for value in values]


# --- CancelToken ----------------------------------------------------------------------------------------------


def test_a_token_calls_back_once_when_it_is_cancelled() -> None:
    token, calls = CancelToken(), []
    token.on_cancel(lambda: calls.append("first"))
    token.on_cancel(lambda: calls.append("second"))
    assert not token.cancelled
    assert not calls
    token.cancel()
    token.cancel()
    assert token.cancelled
    assert calls == ["first", "second"]


def test_a_token_that_is_cancelled_already_calls_back_at_once() -> None:
    token, calls = CancelToken(), []
    token.cancel()
    token.on_cancel(lambda: calls.append(token.cancelled))
    assert calls == [True]


def test_every_callback_is_called_once_although_registered_during_the_cancel() -> None:
    for _ in range(50):
        token, calls, start = CancelToken(), [], threading.Barrier(2)

        def register(token: CancelToken = token, calls: list[int] = calls, start: threading.Barrier = start) -> None:
            start.wait()
            for number in range(20):
                token.on_cancel(lambda number=number: calls.append(number))  # type: ignore[misc]

        other = threading.Thread(target=register)
        other.start()
        start.wait()
        token.cancel()
        other.join()
        assert sorted(calls) == list(range(20))


# --- iterate: one engine iterator ------------------------------------------------------------------------------


async def test_values_of_a_blocking_iterator_come_in_order_from_a_thread_of_its_own() -> None:
    threads = set()

    def make() -> Iterator[int]:
        threads.add(threading.current_thread())
        yield from range(100)

    assert await read_all(iterate("llm", make, CancelToken(), timeout=SOON)) == list(range(100))
    assert threading.main_thread() not in threads
    await end_of_threads("llm")


async def test_an_async_generator_runs_on_the_loop() -> None:
    async def make() -> AsyncIterator[int]:
        assert threading.current_thread() is threading.main_thread()
        for value in range(10):
            await asyncio.sleep(0)
            yield value

    assert await read_all(iterate("llm", make, CancelToken(), timeout=SOON)) == list(range(10))
    assert not parley_threads("llm")


async def test_an_engine_works_ahead_of_its_reader() -> None:
    made = threading.Event()

    def make() -> Iterator[int]:
        yield from range(50)
        made.set()

    async with contextlib.aclosing(iterate("tts", make, CancelToken(), timeout=SOON)) as values:
        assert await anext(values) == 0
        await until(made.is_set)


@pytest.mark.parametrize("kind", ["blocking", "async"])
async def test_what_an_engine_raises_comes_after_its_values_as_the_error_of_its_stage(kind: str) -> None:
    def blocking() -> Iterator[int]:
        yield 1
        raise ValueError("out of beans")

    async def on_the_loop() -> AsyncIterator[int]:
        yield 1
        raise ValueError("out of beans")

    values = iterate("tts", blocking if kind == "blocking" else on_the_loop, CancelToken(), timeout=SOON)
    assert await anext(values) == 1
    with pytest.raises(StageError, match="ValueError: out of beans") as raised:
        await anext(values)
    assert raised.value.stage == "tts"
    assert not isinstance(raised.value, StageTimeoutError)
    await end_of_threads("tts")


async def test_a_timeout_of_an_engine_s_own_is_not_taken_for_its_hanging(caplog: pytest.LogCaptureFixture) -> None:
    async def make() -> AsyncIterator[int]:
        raise TimeoutError("no beans within 3 s")
        yield 0

    with pytest.raises(StageError, match="no beans within 3 s") as raised:
        await read_all(iterate("llm", make, CancelToken(), timeout=SOON))
    assert not isinstance(raised.value, StageTimeoutError)
    assert "the engine raised" in caplog.text


async def test_a_stage_error_of_an_engine_stays_as_it_is() -> None:
    error = StageError("llm", "The prompt is too long.")

    def make() -> Iterator[int]:
        raise error
        yield 0

    with pytest.raises(StageError) as raised:
        await read_all(iterate("llm", make, CancelToken(), timeout=SOON))
    assert raised.value is error


async def test_an_engine_that_hangs_is_told_so_and_fails_its_stage(stuck: threading.Event) -> None:
    cancel = CancelToken()

    def make() -> Iterator[int]:
        yield 1
        stuck.wait()

    values = iterate("tts", make, cancel, timeout=0.1)
    assert await anext(values) == 1
    with pytest.raises(StageTimeoutError, match=r"tts .* 0\.1 s"):
        await anext(values)
    assert cancel.cancelled


async def test_an_async_engine_that_hangs_is_closed_and_fails_its_stage() -> None:
    closed = False

    async def make() -> AsyncIterator[int]:
        nonlocal closed
        try:
            yield 1
            await asyncio.sleep(3600)
        finally:
            closed = True

    with pytest.raises(StageTimeoutError):
        await read_all(iterate("llm", make, CancelToken(), timeout=0.05))
    assert closed


async def test_an_engine_that_is_slow_but_alive_is_not_taken_for_hung() -> None:
    def make() -> Iterator[int]:
        for value in range(6):
            time.sleep(0.05)
            yield value

    assert await read_all(iterate("llm", make, CancelToken(), timeout=0.2)) == list(range(6))


async def test_a_slow_reader_is_not_taken_for_a_hung_engine() -> None:
    values = iterate("llm", lambda: iter(range(3)), CancelToken(), timeout=0.05)
    read = []
    async for value in values:
        await asyncio.sleep(0.1)
        read.append(value)
    assert read == [0, 1, 2]


def endless(cancel: CancelToken, ended: threading.Event) -> Iterator[int]:
    """Makes values until cancelled, and takes its time to end."""
    try:
        value = 0
        while not cancel.cancelled:
            yield value
            value += 1
            time.sleep(0.001)
    finally:
        time.sleep(0.05)
        ended.set()


async def test_closing_cancels_and_waits_for_the_thread() -> None:
    cancel, ended = CancelToken(), threading.Event()
    values = iterate("llm", lambda: endless(cancel, ended), cancel, timeout=SOON)
    await anext(values)
    await values.aclose()
    assert cancel.cancelled
    assert ended.is_set()
    await end_of_threads("llm", within=0.1)


async def test_closing_closes_an_async_engine_before_it_returns() -> None:
    closed = False

    async def make() -> AsyncIterator[int]:
        nonlocal closed
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0.01)
            closed = True

    values = iterate("llm", make, CancelToken(), timeout=SOON)
    await anext(values)
    await values.aclose()
    assert closed


@pytest.mark.parametrize("kind", ["blocking", "async"])
async def test_closing_leaves_no_task(kind: str) -> None:
    async def on_the_loop() -> AsyncIterator[int]:
        yield 1
        yield 2

    tasks = asyncio.all_tasks()
    make = (lambda: iter([1, 2])) if kind == "blocking" else on_the_loop
    values = iterate("llm", make, CancelToken(), timeout=SOON)
    await anext(values)
    await values.aclose()
    await asyncio.sleep(0)  # where what was only dropped would be closed
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_cancelled_reader_waits_for_the_thread_however_often_it_is_cancelled(times: int) -> None:
    """A run is cancelled by barge-in, and again when its session ends."""
    await end_of_threads("llm")  # of the test before: the next wait is for ours
    cancel, ended = CancelToken(), threading.Event()
    reading = asyncio.create_task(
        read_all(iterate("llm", lambda: endless(cancel, ended), cancel, timeout=SOON))  # never ends by itself
    )
    await until(lambda: parley_threads("llm"))
    for _ in range(times):
        reading.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert ended.is_set()


async def test_a_cancel_during_the_closing_is_not_lost() -> None:
    cancel, ended = CancelToken(), threading.Event()

    async def read_one_and_go_on() -> None:
        async with contextlib.aclosing(iterate("llm", lambda: endless(cancel, ended), cancel, timeout=SOON)) as values:
            await anext(values)
        await asyncio.sleep(3600)

    reading = asyncio.create_task(read_one_and_go_on())
    await until(lambda: cancel.cancelled)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(SOON):
            await reading
    assert ended.is_set()


# --- iterate: slots --------------------------------------------------------------------------------------------


async def test_calls_wait_for_a_slot_first_come_first_served() -> None:
    slots, order, running, most = Slots(2), [], [0], [0]
    lock = threading.Lock()

    def call(number: int) -> Iterator[int]:
        with lock:
            order.append(number)
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        yield number
        with lock:
            running[0] -= 1

    def one(number: int) -> "asyncio.Task[list[int]]":
        return asyncio.create_task(
            read_all(iterate("tts", lambda: call(number), CancelToken(), timeout=SOON, slots=slots))
        )

    assert await asyncio.gather(*[one(number) for number in range(8)]) == [[number] for number in range(8)]
    assert order == list(range(8))
    assert most == [2]


async def test_waiting_for_a_slot_is_not_a_sign_of_a_hung_engine() -> None:
    slots = Slots(1)
    give_back = await slots.take()
    waiting = asyncio.create_task(read_all(iterate("tts", lambda: iter([1]), CancelToken(), timeout=0.05, slots=slots)))
    await asyncio.sleep(0.2)
    give_back()
    assert await waiting == [1]


async def test_a_call_that_is_cancelled_while_it_waits_never_starts_and_keeps_no_slot() -> None:
    slots, started = Slots(1), []
    give_back = await slots.take()
    waiting = asyncio.create_task(
        read_all(iterate("tts", lambda: started.append(1) or iter([]), CancelToken(), timeout=SOON, slots=slots))
    )
    await asyncio.sleep(0.02)
    waiting.cancel()
    give_back()  # at the same moment
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not started
    assert await read_all(iterate("tts", lambda: iter([7]), CancelToken(), timeout=SOON, slots=slots)) == [7]


async def test_a_slot_is_free_again_after_an_error() -> None:
    slots = Slots(1)

    def broken() -> Iterator[int]:
        raise ValueError
        yield 0

    for _ in range(3):
        with pytest.raises(StageError):
            await read_all(iterate("tts", broken, CancelToken(), timeout=SOON, slots=slots))
    assert await read_all(iterate("tts", lambda: iter([7]), CancelToken(), timeout=SOON, slots=slots)) == [7]


async def test_a_slot_is_free_again_after_a_hang(stuck: threading.Event) -> None:
    slots = Slots(1)

    def hang() -> Iterator[int]:
        stuck.wait()
        yield 0

    with pytest.raises(StageTimeoutError):
        await read_all(iterate("tts", hang, CancelToken(), timeout=0.05, slots=slots))
    async with asyncio.timeout(SOON):
        assert await read_all(iterate("tts", lambda: iter([7]), CancelToken(), timeout=SOON, slots=slots)) == [7]
    stuck.set()  # the thread that was given up ends: its slot must not be given back a second time
    await end_of_threads("tts")
    first, second = await slots.take(), asyncio.create_task(slots.take())
    await asyncio.sleep(0.02)
    assert not second.done()
    first()
    (await second)()


@pytest.mark.parametrize("times", [1, 2])
async def test_a_slot_is_free_again_when_a_hung_call_is_cancelled(stuck: threading.Event, times: int) -> None:
    slots = Slots(1)

    def hang() -> Iterator[int]:
        stuck.wait()
        yield 0

    reading = asyncio.create_task(read_all(iterate("tts", hang, CancelToken(), timeout=SOON, slots=slots)))
    await until(lambda: parley_threads("tts"))
    for _ in range(times):
        reading.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await reading
    async with asyncio.timeout(SOON):
        assert await read_all(iterate("tts", lambda: iter([7]), CancelToken(), timeout=SOON, slots=slots)) == [7]


# --- SerialWorker ----------------------------------------------------------------------------------------------


async def test_calls_run_one_after_the_other_in_order_on_one_thread() -> None:
    worker, order, threads, all_posted = SerialWorker("transcription"), [], set(), threading.Event()

    def call(number: int) -> int:
        assert all_posted.wait(SOON)
        threads.add(threading.get_ident())
        order.append(number)
        assert len(parley_threads("transcription")) == 1
        return number * 2

    futures = [worker.post(lambda number=number: call(number)) for number in range(20)]
    all_posted.set()
    assert [await worker.result(future, SOON) for future in futures] == [number * 2 for number in range(20)]
    assert order == list(range(20))
    assert len(threads) == 1
    await end_of_threads("transcription", within=0.5)


async def test_an_idle_worker_has_no_thread_and_works_again() -> None:
    worker = SerialWorker("transcription")
    assert not parley_threads("transcription")
    for number in range(3):
        assert await worker.result(worker.post(lambda number=number: number), SOON) == number
        await end_of_threads("transcription", within=0.5)


async def test_a_call_that_fails_fails_alone() -> None:
    worker = SerialWorker("transcription")

    def broken() -> int:
        raise ValueError("no ears")

    first, second, third = worker.post(lambda: 1), worker.post(broken), worker.post(lambda: 3)
    assert await worker.result(first, SOON) == 1
    with pytest.raises(StageError, match="ValueError: no ears"):
        await worker.result(second, SOON)
    assert await worker.result(third, SOON) == 3


async def test_abandoning_drops_what_waits_and_tells_whoever_waits(stuck: threading.Event) -> None:
    worker, ran = SerialWorker("transcription"), []
    running = worker.post(stuck.wait)
    waiting = worker.post(lambda: ran.append(1))
    results = [asyncio.create_task(worker.result(future, SOON)) for future in (running, waiting)]
    await asyncio.sleep(0.02)
    worker.abandon()
    for result in results:
        with pytest.raises(StageError, match="given up"):
            async with asyncio.timeout(SOON):
                await result
    with pytest.raises(StageError, match="given up"):
        await worker.result(worker.post(lambda: ran.append(2)), SOON)
    stuck.set()
    await end_of_threads("transcription")
    assert not ran


async def test_a_call_behind_others_that_make_progress_is_not_taken_for_hung() -> None:
    worker = SerialWorker("transcription")
    for _ in range(6):
        worker.post(lambda: time.sleep(0.06))
    assert await worker.result(worker.post(lambda: "heard"), timeout=0.15) == "heard"


async def test_a_call_behind_one_that_hangs_times_out(stuck: threading.Event) -> None:
    worker = SerialWorker("transcription")
    worker.post(stuck.wait)
    with pytest.raises(StageTimeoutError):
        await worker.result(worker.post(lambda: "heard"), timeout=0.05)
    worker.abandon()


# --- BatchWorker -----------------------------------------------------------------------------------------------


def test_everything_that_waits_goes_in_one_call_in_order() -> None:
    batches: list[list[int]] = []
    first, go, done = threading.Event(), threading.Event(), threading.Event()

    def handle(batch: list[int]) -> None:
        batches.append(batch)
        first.set()
        assert go.wait(SOON)
        if 9 in batch:
            done.set()

    worker = BatchWorker("batch", handle)
    worker.submit(0)
    assert first.wait(SOON)
    for number in range(1, 10):
        worker.submit(number)
    go.set()
    assert done.wait(SOON)
    worker.close()
    assert batches == [[0], list(range(1, 10))]


def test_closing_ends_the_thread_after_the_call_under_way() -> None:
    finished, started = [], threading.Event()

    def handle(batch: list[int]) -> None:
        started.set()
        time.sleep(0.05)
        finished.extend(batch)

    worker = BatchWorker("batch", handle)
    worker.submit(1)
    assert started.wait(SOON)
    worker.submit(2)
    worker.close()
    assert finished == [1]
    assert not parley_threads("batch")


def test_a_call_that_raises_does_not_end_the_thread() -> None:
    """It serves every session: dead, it would leave all of them deaf."""
    handled, done = [], threading.Event()

    def handle(batch: list[str]) -> None:
        handled.extend(batch)
        if "broken" in batch:
            raise ValueError
        done.set()

    worker = BatchWorker("batch", handle)
    worker.submit("broken")
    while not handled:
        time.sleep(0.001)
    worker.submit("whole")
    assert done.wait(SOON)
    worker.close()
