"""Replies at temperature 0 do not depend on who else is talking, nor on what has been copied, parked or prefilled."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.llm.llama_cpp import LlamaCpp
from pipeline.llm.llama_native import Context, Slice
from pipeline.types import GenerationRequest
from pipeline.workers import CancelToken
from tests.engines import recurrent_gguf, tiny_gguf
from tests.engines.llama import end, generate, request, text

TRAINED = Path(__file__).parents[1] / "weights" / "llama-tools" / "tools.gguf"

INSTRUCTIONS = (
    "You are a guide on a ship. Be brief and be kind.",
    "You are a guide on a ship. Be brief and be kind, and tell of the whale to whoever wants to hear of it.",
    "You sell bread and rolls, and nothing else.",
)
SAID = (
    "Hello, who are you?",
    "Tell me of the sea and of all who sail on it.",
    "Tell me of the sea and of the land behind it.",
    "What is the capital of France?",
    "And then? Go on, please, I have all day.",
    "So how many rolls do I get for ten, and how many for twelve?",
)


@pytest.fixture
def engines() -> Iterator[list[LlamaCpp]]:
    engines: list[LlamaCpp] = []
    yield engines
    for engine in engines:
        engine.close()


class Alone:
    """What each request is answered by a model that does nothing else and remembers nothing."""

    def __init__(self, engine: LlamaCpp) -> None:
        self._engine = engine
        self._known: dict[GenerationRequest, str] = {}
        self._lock = threading.Lock()

    def answer(self, asked: GenerationRequest) -> str:
        with self._lock:
            if asked not in self._known:
                stranger = self._engine.open()
                self._known[asked] = text(generate(stranger, asked))
                stranger.close()
            return self._known[asked]


def converse(engine: LlamaCpp, seed: int, turns: int, check: Callable[[GenerationRequest, str], None]) -> int:
    """A session that does what sessions do. Returns how many tokens it did not have to compute."""
    dice = random.Random(seed)
    stream, system, said, spared = engine.open(), dice.choice(INSTRUCTIONS), list[str](), 0
    for _ in range(turns):
        asked = request(*said, dice.choice(SAID), system=system, max_tokens=dice.choice((4, 12, 24)))
        match dice.randrange(8):
            case 0 | 1:
                words = asked.prompt.messages[-1].text.split()
                stream.prefill(request(*said, " ".join(words[: dice.randrange(len(words) + 1)]), system=system))
            case 2:
                cancel = CancelToken()
                reply = stream.generate(asked, cancel)
                for _ in range(dice.randrange(6)):
                    next(reply, None)
                cancel.cancel()
                assert not list(reply)[1:]
            case 3:
                aside = request(dice.choice(SAID), system="Name its mood in a word.", max_tokens=6)
                check(aside, text(generate(stream, aside)))
            case 4:
                stream.close()
                stream, said = engine.open(), []
            case _:
                outputs = generate(stream, asked)
                check(asked, text(outputs))
                spared += end(outputs).cached_tokens
                said = [*said, asked.prompt.messages[-1].text, SAID[len(said) % 3]][-8:]
    stream.close()
    return spared


@pytest.mark.parametrize(
    ("model", "options", "turns"),
    [
        ("tiny", {"sequences": 3, "context": 1024}, 30),
        ("tiny", {"sequences": 4, "context": 1024, "kv_type": "q4_0", "parking": 1}, 15),
        ("trained", {"sequences": 4, "context": 1024}, 15),
        ("recurrent", {"sequences": 4, "context": 1024}, 15),
        ("builtin", {"sequences": 4, "context": 1024}, 10),
    ],
)
def test_random_sessions_are_answered_as_each_is_alone(
    engines: list[LlamaCpp], tmp_path: Path, model: str, options: dict[str, Any], turns: int
) -> None:
    if model == "tiny":
        model = str(tiny_gguf.write(tmp_path / "tiny.gguf", never_ends=True, context=2048))
    elif model == "recurrent":
        model = str(recurrent_gguf.write(tmp_path / "recurrent.gguf"))
    elif model == "trained":
        model = str(TRAINED)
    engines += [
        LlamaCpp(LlamaCpp.Options(model=model, temperature=0, threads=1, **options)),
        LlamaCpp(LlamaCpp.Options(model=model, temperature=0, threads=1, **options | {"parking": 0})),
    ]
    engine, alone = engines[0], Alone(engines[1])
    spoken: list[tuple[GenerationRequest, str]] = []
    with ThreadPoolExecutor(6) as pool:
        sessions = [pool.submit(converse, engine, seed, turns, lambda *one: spoken.append(one)) for seed in range(6)]
        spared = sum(session.result() for session in sessions)
    assert len(spoken) > 6 * turns // 4
    assert spared > 200
    for asked, said in spoken:
        assert said == alone.answer(asked)


def test_a_long_history_is_attended_to_alike_by_one_row_and_by_several(engines: list[LlamaCpp]) -> None:
    """Several threads share the work for a row that is alone; what comes out has to be the same (`kv_type: auto`)."""
    engines.append(LlamaCpp(LlamaCpp.Options(model="builtin", sequences=2, threads=2, context=1024)))
    engine = engines[0]
    prompt = engine._prepare(request(" ".join(SAID) * 12, system=INSTRUCTIONS[0]), None)[0].prompt
    assert len(prompt) > 600
    context: Context = engine._scheduler._owner._context  # nobody else uses it here

    settled = len(prompt) - 9
    for start in range(0, settled, 60):
        context.decode([Slice(0, start, prompt[start : min(start + 60, settled)], False)])
    state = context.save(0)

    def logits(*sizes: int) -> bytes:
        assert context.restore(0, state)
        done = settled
        for size in sizes:
            [row] = context.decode([Slice(0, done, prompt[done : done + size], True)])
            done += size
        assert done == len(prompt)
        return context.logits(row).tobytes()

    assert logits(9) == logits(7, 2) == logits(8, 1) == logits(*[1] * 9)
