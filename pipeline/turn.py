"""Runs one turn: prompt → text deltas → clauses → sound, cancellable at every step.

What comes out is pulled: `run_turn` is an async generator, and a stage works ahead of its reader by no more than
one clause of sound (the language model: by its reply, which is text and bounded by `max_tokens`).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import TypeAlias

from pipeline.audio import StreamResampler, slices
from pipeline.clauses import ClauseSplitter, WholeReply
from pipeline.errors import PromptTooLongError, StageError, StageTimeoutError
from pipeline.line import Line
from pipeline.reply_parts import ReplyParts
from pipeline.stages import LanguageModelStream
from pipeline.strict_calls import StrictCalls
from pipeline.types import (
    WIRE_RATE,
    Clause,
    Generated,
    GenerationRequest,
    ModelOutput,
    Pcm16,
    SpeechRequest,
    TextDelta,
    ToolCallDelta,
    TurnAudio,
    TurnCall,
    TurnClause,
    TurnEvent,
    TurnFailed,
    TurnFinished,
    TurnRequest,
    TurnText,
)
from pipeline.workers import CancelToken, Slots, iterate

log = logging.getLogger(__name__)

MAX_CHUNK = WIRE_RATE // 5
"""Most samples in one piece of sound on the wire: 200 ms, so that a frame stays far below 1 MiB."""


def failure_code(error: StageError) -> str:
    """Returns the code under which clients see a stage's failure: `tts_timeout`, say, OpenAI's own for a prompt, or
    what a remote service called it.
    """
    if error.code is not None:
        return error.code
    if isinstance(error, PromptTooLongError):
        return "context_length_exceeded"
    return f"{error.stage}_{'timeout' if isinstance(error, StageTimeoutError) else 'failed'}"


Watch: TypeAlias = Callable[[str], None]
"""Is told when a stage of a turn gives its first: `first_token`, `first_clause`, `first_audio`; perhaps repeatedly."""


async def run_turn(
    line: Line, model: LanguageModelStream, request: TurnRequest, watch: Watch | None = None
) -> AsyncGenerator[TurnEvent, None]:
    """Makes the reply and yields it as it comes; the last event is `TurnFinished` or `TurnFailed`.

    Close the generator to cancel: every stage is told, and has let go of the turn when `aclose` returns.
    """
    watch = watch or _nobody
    spoken = request.modality == "audio"
    parts = _speak(line, model, request, watch) if spoken else _write(line, model, request, watch)
    try:
        async with contextlib.aclosing(parts):
            async for event in parts:
                yield event
    except StageError as error:
        yield TurnFailed(request.run, failure_code(error), error.problem, error.kind)
    except Exception as error:  # a fault of Parley's own must not leave the client waiting either
        log.exception("turn %s failed", request.run)
        yield TurnFailed(request.run, "internal_error", f"{type(error).__name__}: {error}")


def _nobody(_: str) -> None:
    """Watches nothing."""


def _generate(
    line: Line, model: LanguageModelStream, request: TurnRequest, cancel: CancelToken
) -> AsyncGenerator[ModelOutput, None]:
    generation = GenerationRequest(
        prompt=request.prompt,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        tool_choice=request.tool_choice,
        parallel_tool_calls=request.parallel_tool_calls,
        effort=request.effort,
        truncation=request.truncation,
    )
    return generate(line, model, generation, cancel)


def generate(
    line: Line, model: LanguageModelStream, request: GenerationRequest, cancel: CancelToken, slots: Slots | None = None
) -> AsyncGenerator[ModelOutput, None]:
    """Makes a reply and yields its parts one after the other (reply_parts.py), on the event loop.

    Close the generator to cancel. The reply begins when one of `slots` is free.

    Raises:
        StageError: the model failed, or made a call that is not what a strict tool's schema says.
    """
    outputs = iterate("llm", partial(model.generate, request, cancel), cancel, timeout=line.timeouts.llm, slots=slots)
    tools = request.prompt.tools
    return _in_parts(outputs, ReplyParts(frozenset(tool.name for tool in tools)), StrictCalls(tools))


async def _in_parts(
    outputs: AsyncGenerator[ModelOutput, None], parts: ReplyParts, strict: StrictCalls
) -> AsyncGenerator[ModelOutput, None]:
    async with contextlib.aclosing(outputs):
        async for output in outputs:
            for part in parts.feed(output):
                strict.see(part)
                yield part


async def _write(
    line: Line, model: LanguageModelStream, request: TurnRequest, watch: Watch
) -> AsyncGenerator[TurnEvent, None]:
    async with contextlib.aclosing(_generate(line, model, request, CancelToken())) as outputs:
        async for output in outputs:
            watch("first_token")
            match output:
                case TextDelta(text=text):
                    yield TurnText(request.run, text)
                case Generated():
                    yield TurnFinished(request.run, output)
                    return
                case ToolCallDelta():
                    yield _call(request, output)
    raise _ended_without_saying_why()


def _ended_without_saying_why() -> StageError:
    return StageError("llm", "The language model ended without saying why.")


def _call(request: TurnRequest, delta: ToolCallDelta) -> TurnCall:
    return TurnCall(request.run, delta.index, delta.name, delta.arguments)


_Spoken: TypeAlias = Clause | ToolCallDelta | Generated | Exception


async def _speak(
    line: Line, model: LanguageModelStream, request: TurnRequest, watch: Watch
) -> AsyncGenerator[TurnEvent, None]:
    spoken: asyncio.Queue[_Spoken] = asyncio.Queue()
    reading = asyncio.create_task(_read_clauses(line, model, request, spoken, watch), name=f"reply {request.run}")
    # One resampler for the whole reply: its clauses join without a seam.
    resampler = StreamResampler(line.tts.rate, WIRE_RATE)
    try:
        while True:
            match await spoken.get():
                case Clause() as clause:
                    watch("first_clause")
                    yield TurnClause(request.run, clause.text)
                    if clause.speech:
                        async with contextlib.aclosing(_say(line, request, clause)) as chunks:
                            async for chunk in chunks:
                                watch("first_audio")
                                for piece in slices(resampler.process(chunk), MAX_CHUNK):
                                    yield TurnAudio(request.run, piece)
                case ToolCallDelta() as delta:
                    # What was said before the call is heard to its end.
                    for piece in _rest(resampler):
                        yield TurnAudio(request.run, piece)
                    resampler = StreamResampler(line.tts.rate, WIRE_RATE)
                    yield _call(request, delta)
                case Generated() as generated:
                    for piece in _rest(resampler):
                        yield TurnAudio(request.run, piece)
                    yield TurnFinished(request.run, generated)
                    return
                case Exception() as error:
                    raise error
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


def _rest(resampler: StreamResampler) -> Iterator[Pcm16]:
    return slices(resampler.flush(), MAX_CHUNK)


async def _read_clauses(
    line: Line, model: LanguageModelStream, request: TurnRequest, spoken: asyncio.Queue[_Spoken], watch: Watch
) -> None:
    """Cuts the reply into clauses as it is made; a call ends the clause before it. The queue ends with `Generated` or
    the error.
    """
    new_splitter = ClauseSplitter if line.clause_streaming else WholeReply
    splitter = new_splitter()
    try:
        async with contextlib.aclosing(_generate(line, model, request, CancelToken())) as outputs:
            async for output in outputs:
                watch("first_token")
                match output:
                    case TextDelta(text=text):
                        for clause in splitter.feed(text):
                            spoken.put_nowait(clause)
                    case Generated():
                        for clause in splitter.finish():
                            spoken.put_nowait(clause)
                        spoken.put_nowait(output)
                        return
                    case ToolCallDelta():
                        for clause in splitter.finish():
                            spoken.put_nowait(clause)
                        splitter = new_splitter()
                        spoken.put_nowait(output)
        spoken.put_nowait(_ended_without_saying_why())
    except Exception as error:  # whatever it is: the reader waits for an end
        spoken.put_nowait(error)


def _say(line: Line, request: TurnRequest, clause: Clause) -> AsyncGenerator[Pcm16, None]:
    cancel = CancelToken()
    speech = SpeechRequest(clause.speech, request.voice, request.speed)
    say = partial(line.tts.synthesize, speech, cancel)
    return iterate("tts", say, cancel, timeout=line.timeouts.tts, slots=line.tts_slots)
