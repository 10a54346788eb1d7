"""The built-in language model: what it promises, asked through the engine that runs it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.llm.llama_cpp import LlamaCpp, LlamaCppStream
from pipeline.types import GenerationRequest, Message, ModelOutput, NamedTool, Prompt, Tool
from pipeline.workers import CancelToken
from scripts.train_builtin_model.evaluation_cases import cases
from scripts.train_builtin_model.evaluation_report import by_aim
from scripts.train_builtin_model.evaluation_run import Talker
from tests.engines.llama import calls, text

BUILTIN = Path(__file__).parents[2] / "pipeline" / "llm" / "builtin" / "parley-mini.gguf"
SAMPLE = 6
"""Every sixth case is asked here: `python -m scripts.train_builtin_model.evaluate --require` asks all."""

FLOORS = {"in-domain": 48.0, "heard": 40.0, "refusals": 70.0, "tools": 30.0}
"""Percentages below which the model has got worse; what it is to reach is in evaluation_report.py."""


@pytest.fixture(scope="module")
def talker() -> Iterator[Talker]:
    talker = Talker(BUILTIN, 4)
    yield talker
    talker.close()


@pytest.fixture
def stream(talker: Talker) -> Iterator[LlamaCppStream]:
    stream = talker.engine.open()
    yield stream
    stream.close()


def say(stream: LlamaCppStream, *said: str, tools: tuple[Tool, ...] = (), **more: Any) -> list[ModelOutput]:
    messages = tuple(Message("user" if at % 2 == 0 else "assistant", words) for at, words in enumerate(said))
    return list(stream.generate(GenerationRequest(Prompt(messages, tools), **more), CancelToken()))


def test_it_is_small_enough_to_come_with_the_package() -> None:
    assert BUILTIN.stat().st_size <= 16_000_000


def test_it_says_that_it_calls_functions() -> None:
    engine = LlamaCpp(LlamaCpp.Options(model="builtin"))
    assert engine.capabilities.tools
    assert engine.capabilities.forced_calls
    assert not engine.capabilities.reasoning
    engine.close()


def test_a_sample_of_the_evaluation_goes_no_worse_than_it_did(talker: Talker) -> None:
    answers = talker.ask(cases()[::SAMPLE], temperature=0.0)
    wrong = "\n".join(answer.line() for answer in answers if not answer.right)
    for figure in by_aim(answers):
        assert figure.percent >= FLOORS[figure.name], f"{figure.line()}\n{wrong}"


def test_at_temperature_0_it_says_the_same_twice_and_at_0_8_it_stays_sensible(stream: LlamaCppStream) -> None:
    question = "what is the capital of norway"
    first, second = (text(say(stream, question, temperature=0.0)) for _ in range(2))
    assert first == second
    warm = [text(say(stream, question, temperature=0.8)) for _ in range(20)]
    assert sum("Oslo" in reply for reply in warm) >= 18, warm


TUNE = Tool(
    "grum_tuner",
    "Tunes the grum.",
    {"type": "object", "properties": {"pitch": {"type": "integer"}}, "required": ["pitch"]},
)
POLISH = Tool(
    "polish",
    "Polishes a thing.",
    {"type": "object", "properties": {"thing": {"type": "string"}}, "required": ["thing"]},
)


@pytest.mark.parametrize("said", ["hello", "what is the capital of france", "tell me a joke", "polish my old boots"])
def test_a_call_that_is_demanded_is_made_whatever_the_model_prefers(stream: LlamaCppStream, said: str) -> None:
    tools = (TUNE, POLISH)
    for choice, allowed in [("required", {"grum_tuner", "polish"}), (NamedTool("grum_tuner"), {"grum_tuner"})]:
        made = calls(say(stream, said, tools=tools, temperature=0.0, tool_choice=choice))
        assert made
        for name, arguments in made:
            assert name in allowed
            expected = int if name == "grum_tuner" else str
            assert all(isinstance(value, expected) for value in json.loads(arguments).values())


@pytest.mark.parametrize("said", ["hello", "tell me a joke", "what is the capital of france"])
def test_with_functions_that_do_not_fit_it_answers_in_words(stream: LlamaCppStream, said: str) -> None:
    made = say(stream, said, tools=(TUNE, POLISH), temperature=0.0)
    assert not calls(made)
    assert text(made)
