"""Measures what replies of several sessions at once take, and what is spared by not computing again.

    python -m scripts.measure_llm build/bench/qwen3-0.6b-q4_0.gguf --rounds 5

All is measured in turns within one run, so that the ratios hold on a machine that has other things to do too; the
milliseconds hold on an idle one.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.llm.llama_cpp import LlamaCpp, LlamaCppStream
from pipeline.llm.llama_native import MAX_ROWS, Context, Slice
from pipeline.types import Generated, GenerationRequest, Message, Prompt
from pipeline.workers import CancelToken

WORDS = "the ship went out to sea and nobody knew when it would come home with all who sailed in it".split()


def main() -> None:
    arguments = argparse.ArgumentParser(prog="scripts.measure_llm", description=__doc__)
    arguments.add_argument("model", help="the path of a GGUF file, or `builtin`")
    arguments.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4, 8, 16], metavar="N")
    arguments.add_argument("--tokens", type=int, default=64, help="of each reply (default: %(default)s)")
    arguments.add_argument("--prefix", type=int, default=500, help="tokens of each history (default: %(default)s)")
    arguments.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    arguments.add_argument("--threads", type=int, help="default: one per core")
    asked = arguments.parse_args()
    name = Path(asked.model).name
    print(f"{name}, histories of {asked.prefix} tokens, medians of {asked.rounds} rounds\n")
    with _loaded(asked, max(asked.sessions)) as engine:
        _print_sessions(engine, asked)
    with _loaded(asked, 2) as engine:
        _print_spared(engine, asked)


@contextmanager
def _loaded(asked: argparse.Namespace, sequences: int) -> Iterator[LlamaCpp]:
    room = asked.prefix + asked.tokens + 128
    engine = LlamaCpp(
        LlamaCpp.Options(
            model=asked.model, temperature=0, sequences=sequences, context=max(256, room), threads=asked.threads
        )
    )
    engine._model.vocabulary.is_end = lambda token: False  # type: ignore[method-assign]  # replies of equal length
    try:
        engine.warm_up()
        yield engine
    finally:
        engine.close()


# --- several sessions at once ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """A session with a history in the model, and what it asks for again and again."""

    stream: LlamaCppStream
    request: GenerationRequest

    def reply(self) -> Generated:
        *_, end = self.stream.generate(self.request, CancelToken())
        assert isinstance(end, Generated)
        return end


def _print_sessions(engine: LlamaCpp, asked: argparse.Namespace) -> None:
    sessions = [_session(engine, number, asked) for number in range(max(asked.sessions))]
    for session in sessions:
        session.reply()
    took: dict[int, list[float]] = {count: [] for count in asked.sessions}
    with ThreadPoolExecutor(len(sessions)) as pool:
        for _ in range(asked.rounds):
            for count in asked.sessions:
                begin = time.perf_counter()
                ends = list(pool.map(Session.reply, sessions[:count]))
                took[count].append(time.perf_counter() - begin)
                assert all(end.cached_tokens == end.input_tokens - 1 for end in ends), "the history was not kept"
                assert all(end.output_tokens == asked.tokens for end in ends)
    one = statistics.median(took[min(took)]) / min(took)
    print(f"| sessions answering at once, {asked.tokens} tokens each | ms | ms a token | times one |")
    print("|---:|---:|---:|---:|")
    for count, times in took.items():
        middle = statistics.median(times)
        print(f"| {count} | {middle * 1e3:.0f} | {middle * 1e3 / asked.tokens:.1f} | {middle / one:.2f} |")
    print()


def _session(engine: LlamaCpp, number: int, asked: argparse.Namespace) -> Session:
    return Session(engine.open(), _conversation(engine, f"Session {number}.", asked.prefix, asked.tokens))


def _conversation(engine: LlamaCpp, begins: str, length: int, reply: int) -> GenerationRequest:
    """A conversation that has about `length` tokens."""

    def of(words: int) -> GenerationRequest:
        said = " ".join(WORDS[index % len(WORDS)] for index in range(words))
        return GenerationRequest(Prompt((Message("system", begins), Message("user", said))), max_tokens=reply)

    size = len(engine._prepare(of(length // 2), None)[0].prompt)
    return of(max(1, length // 2 * length // size))


# --- what is spared -------------------------------------------------------------------------------------------


def _print_spared(engine: LlamaCpp, asked: argparse.Namespace) -> None:
    context: Context = engine._scheduler._owner._context  # nobody else uses it here
    prompt = engine._prepare(_conversation(engine, "Session 0.", asked.prefix, 1), None)[0].prompt
    computing, ahead, saving, restoring = (list[float]() for _ in range(4))
    size = 0
    for _ in range(asked.rounds):
        context.clear(0)
        computing.append(_timed(lambda: _compute(context, prompt, MAX_ROWS)))
        saving.append(_timed(lambda: context.save(0)))
        state = context.save(0)
        size = state.nbytes
        restoring.append(_timed(lambda state=state: context.restore(1, state)))  # type: ignore[misc]
        context.clear(0)
        ahead.append(_timed(lambda: _compute(context, prompt, 16)))
    whole = statistics.median(computing)
    print(f"| {len(prompt)} tokens, {size / 1e6:.1f} MB | ms | µs a token | part of computing |")
    print("|---|---:|---:|---:|")
    for what, times in (
        ("computed", computing),
        ("computed ahead, in slices of 16", ahead),
        ("copied (saved, restored)", [out + back for out, back in zip(saving, restoring, strict=True)]),
        ("parked (saved)", saving),
        ("brought back (restored)", restoring),
    ):
        middle = statistics.median(times)
        print(f"| {what} | {middle * 1e3:.1f} | {middle * 1e6 / len(prompt):.1f} | {_part(middle / whole)} |")


def _compute(context: Context, tokens: list[int], rows: int) -> None:
    for start in range(0, len(tokens), rows):
        piece = tokens[start : start + rows]
        context.decode([Slice(0, start, piece, start + len(piece) == len(tokens))])


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _part(ratio: float) -> str:
    return f"1/{1 / ratio:.0f}" if ratio < 0.5 else f"{ratio:.2f}"


if __name__ == "__main__":
    main()
