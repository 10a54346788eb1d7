"""Calls engines the way the server does: `iterate` for replies and speech, a `SerialWorker` for each ear.

What an engine raises in a turn has to be a `StageError` that it made itself: the workers turn anything else into one,
so that a session goes on, and here that is a broken contract.
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np

from pipeline.errors import StageError, StageTimeoutError
from pipeline.slots import Slots
from pipeline.stages import LanguageModelStream, PausingStream, Synthesizer, Transcriber, TranscriptionStream
from pipeline.types import (
    Generated,
    GenerationRequest,
    Message,
    ModelOutput,
    Pcm16,
    Prompt,
    SpeechRequest,
    TextDelta,
    Transcript,
)
from pipeline.workers import CancelToken, SerialWorker, iterate
from tests.engines.contract.belongings import PATIENCE_S

T = TypeVar("T")


def check_deliberate(error: StageError) -> None:
    """Fails if the engine raised something else than the StageError that it is to raise, or nothing for too long."""
    assert not isinstance(error, StageTimeoutError), error
    assert not error.problem.startswith(f"The {error.stage} stage failed: "), f"not a StageError of its own: {error}"


@contextlib.contextmanager
def failing_if_at_all() -> Iterator[None]:
    """For calls that an engine may refuse: they fail as they should, or not at all."""
    try:
        yield
    except StageError as error:
        check_deliberate(error)


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """For calls that must fail, with a StageError of the engine's own."""
    try:
        yield
    except StageError as error:
        check_deliberate(error)
    else:
        raise AssertionError("there was no StageError")


# --- language models ------------------------------------------------------------------------------------------


def asking(*texts: str, system: str = "", **settings: Any) -> GenerationRequest:
    """Returns a request at temperature 0: the texts are the user's and the model's in turn."""
    roles = ("user", "assistant") * len(texts)
    messages = [Message(role, text) for role, text in zip(roles, texts, strict=False)]  # type: ignore[arg-type]
    instructions = [Message("system", system)] if system else []
    return GenerationRequest(Prompt((*instructions, *messages)), **{"temperature": 0.0, "max_tokens": 48, **settings})


async def generate(
    stream: LanguageModelStream, request: GenerationRequest, cancel: CancelToken | None = None
) -> list[ModelOutput]:
    """Makes a reply as a turn does, and returns its values."""
    cancel = cancel or CancelToken()
    outputs = iterate("llm", partial(stream.generate, request, cancel), cancel, timeout=PATIENCE_S)
    async with contextlib.aclosing(outputs):
        return [output async for output in outputs]


def text_of(outputs: list[ModelOutput]) -> str:
    return "".join(output.text for output in outputs if isinstance(output, TextDelta))


def end_of(outputs: list[ModelOutput]) -> Generated:
    """Returns the last value, which must be the only `Generated`."""
    assert [isinstance(output, Generated) for output in outputs] == [False] * (len(outputs) - 1) + [True]
    return cast(Generated, outputs[-1])


# --- speech ---------------------------------------------------------------------------------------------------


class Mouth:
    """An engine that speaks, and how many clauses it makes at a time."""

    def __init__(self, engine: Synthesizer) -> None:
        self.engine = engine
        self._slots = Slots(engine.concurrency)

    async def chunks(self, request: SpeechRequest, cancel: CancelToken | None = None) -> AsyncGenerator[Pcm16, None]:
        """Says a clause as a turn does, and yields its chunks."""
        cancel = cancel or CancelToken()
        make = partial(self.engine.synthesize, request, cancel)
        sound = iterate("tts", make, cancel, timeout=PATIENCE_S, slots=self._slots)
        async with contextlib.aclosing(sound):
            async for chunk in sound:
                assert chunk.dtype == np.int16
                assert chunk.ndim == 1
                yield chunk

    async def say(self, text: str, voice: str | None = None, speed: float = 1.0) -> Pcm16:
        """Says a clause and returns its sound."""
        chunks = [chunk async for chunk in self.chunks(SpeechRequest(text, voice, speed))]
        return np.concatenate([np.zeros(0, np.int16), *chunks])


# --- both -----------------------------------------------------------------------------------------------------


async def run_out(call: Callable[..., Any], request: object, after: int) -> list[Any]:
    """Runs an engine's iterator itself to its end, and cancels it at its value number `after` (0: before it starts).

    Returns the values that came behind that. `iterate` would drop them; this shows whether the engine stopped.
    """
    cancel = CancelToken()
    seen: list[Any] = []

    def see(value: Any) -> None:
        seen.append(value)
        if len(seen) == after:
            cancel.cancel()

    def run() -> None:
        for value in call(request, cancel):
            see(value)

    if after == 0:
        cancel.cancel()
    async with asyncio.timeout(PATIENCE_S):
        if inspect.isasyncgenfunction(call):
            async for value in call(request, cancel):
                see(value)
        else:
            await asyncio.to_thread(run)
    return seen[after:]


# --- transcription --------------------------------------------------------------------------------------------


class Ear:
    """One session's ear: a stream, and the worker that makes the calls on it."""

    def __init__(self, engine: Transcriber, **asked: Any) -> None:
        self.stream: TranscriptionStream = engine.open(**asked)
        self._worker = SerialWorker("transcription")
        self._fed: list[asyncio.Future[None]] = []

    def feed(self, sound: Pcm16, chunk: int = 3200) -> None:
        """Queues the sound in chunks; nobody waits for it. What goes wrong comes out of the next call."""
        for start in range(0, len(sound), chunk):
            self._fed.append(self._worker.post(partial(self.stream.feed, sound[start : start + chunk])))

    async def hypothesis(self) -> Transcript:
        return await self._result(self.stream.hypothesis)

    async def pause(self) -> Transcript:
        stream = self.stream
        return await self._result(stream.pause if isinstance(stream, PausingStream) else stream.hypothesis)

    async def finish(self) -> Transcript:
        return await self._result(self.stream.finish)

    async def discard(self) -> None:
        await self._result(self.stream.discard)

    async def catch_up(self) -> None:
        """Waits until everything has been fed."""
        await self._result(lambda: None)

    async def hear(self, sound: Pcm16, chunk: int = 3200) -> Transcript:
        """Hears a whole utterance."""
        self.feed(sound, chunk)
        return await self.finish()

    async def _result(self, call: Callable[[], T]) -> T:
        fed, self._fed = self._fed, []
        last = self._worker.post(call)
        for future in fed:
            await self._worker.result(future, PATIENCE_S)
        return await self._worker.result(last, PATIENCE_S)

    def close(self) -> None:
        """Gives the ear up, as the server does: whatever is under way."""
        self._worker.abandon()
        self.stream.close()


@contextlib.contextmanager
def listening(engine: Transcriber, **asked: Any) -> Iterator[Ear]:
    """Opens an ear for a test."""
    ear = Ear(engine, **asked)
    try:
        yield ear
    finally:
        ear.close()
