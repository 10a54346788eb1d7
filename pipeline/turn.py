"""Runs one turn: prompt → text deltas → clauses → sound, cancellable at every step.

What comes out is pulled: `run_turn` is an async generator, and a stage works ahead of its reader by no more than
one clause of sound (the language model: by its reply, which is text and bounded by `max_tokens`).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from pipeline.audio import StreamResampler, slices
from pipeline.clauses import ClauseSplitter, WholeReply
from pipeline.errors import PromptTooLongError, StageError, StageTimeoutError
from pipeline.line import Line
from pipeline.reply_parts import ReplyParts
from pipeline.slots import WAITED, Holder
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
from pipeline.workers import CancelToken, iterate

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
"""Is told when a turn gets to a stage: `begun`, `first_token`, `first_clause`, `first_audio`; perhaps repeatedly."""


@dataclass(frozen=True, slots=True)
class _Run:
    """What a turn is made with, and for whom."""

    line: Line
    model: LanguageModelStream
    request: TurnRequest
    watch: Watch
    holder: Holder


async def run_turn(
    line: Line, model: LanguageModelStream, request: TurnRequest, watch: Watch | None = None, holder: Holder = WAITED
) -> AsyncGenerator[TurnEvent, None]:
    """Makes the reply and yields it as it comes; the last event is `TurnFinished` or `TurnFailed`.

    Close the generator to cancel: every stage is told, and has let go of the turn when `aclose` returns. `holder` is
    for whom the engines work: a reply that is held begins when neither of them is busy (slots.py).
    """
    run = _Run(line, model, request, watch or _nobody, holder)
    parts = _speak(run) if request.modality == "audio" else _write(run)
    try:
        await line.tts_slots.room(holder)
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


def _generate(run: _Run) -> AsyncGenerator[ModelOutput, None]:
    return generate(run.line, run.model, run.request.generation, run.holder, lambda: run.watch("begun"))


def generate(
    line: Line,
    model: LanguageModelStream,
    request: GenerationRequest,
    holder: Holder = WAITED,
    on_begin: Callable[[], None] = lambda: None,
) -> AsyncGenerator[ModelOutput, None]:
    """Makes a reply and yields its parts one after the other (reply_parts.py), on the event loop.

    Close the generator to cancel. The reply begins when the model has a place for the `holder`.

    Raises:
        StageError: the model failed, or made a call that is not what a strict tool's schema says.
    """
    cancel = CancelToken()
    outputs = iterate(
        "llm",
        partial(model.generate, request, cancel),
        cancel,
        timeout=line.timeouts.llm,
        slots=line.llm_slots,
        holder=holder,
        on_begin=on_begin,
    )
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


async def _write(run: _Run) -> AsyncGenerator[TurnEvent, None]:
    request = run.request
    async with contextlib.aclosing(_generate(run)) as outputs:
        async for output in outputs:
            run.watch("first_token")
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


async def _speak(run: _Run) -> AsyncGenerator[TurnEvent, None]:
    line, request = run.line, run.request
    spoken: asyncio.Queue[_Spoken] = asyncio.Queue()
    reading = asyncio.create_task(_read_clauses(run, spoken), name=f"reply {request.run}")
    # One resampler for the whole reply: its clauses join without a seam.
    resampler = StreamResampler(line.tts.rate, WIRE_RATE)
    try:
        while True:
            match await spoken.get():
                case Clause() as clause:
                    run.watch("first_clause")
                    yield TurnClause(request.run, clause.text)
                    if clause.speech:
                        async with contextlib.aclosing(_say(run, clause)) as chunks:
                            async for chunk in chunks:
                                run.watch("first_audio")
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


async def _read_clauses(run: _Run, spoken: asyncio.Queue[_Spoken]) -> None:
    """Cuts the reply into clauses as it is made; a call ends the clause before it. The queue ends with `Generated` or
    the error.
    """
    new_splitter = ClauseSplitter if run.line.clause_streaming else WholeReply
    splitter = new_splitter()
    try:
        async with contextlib.aclosing(_generate(run)) as outputs:
            async for output in outputs:
                run.watch("first_token")
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


def _say(run: _Run, clause: Clause) -> AsyncGenerator[Pcm16, None]:
    line, cancel = run.line, CancelToken()
    speech = SpeechRequest(clause.speech, run.request.voice, run.request.speed)
    say = partial(line.tts.synthesize, speech, cancel)
    return iterate("tts", say, cancel, timeout=line.timeouts.tts, slots=line.tts_slots, holder=run.holder)
