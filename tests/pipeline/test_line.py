"""The promises of loading: every engine once, in order, timed, and nothing left open when one fails."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, load_config
from pipeline.errors import ConfigError
from pipeline.line import LoadFinished, LoadStarted, LoadStep, load_lines
from pipeline.registry import STAGES
from tests.pipeline.packages import Packages

Load = Callable[..., Config]


@pytest.fixture
def load(packages: Packages, tmp_path: Path) -> Load:
    """Loads a configuration from the options of each stage of each pipeline."""
    packages.install_fakes()

    def load(**pipelines: dict[str, str]) -> Config:
        lines = [f"default: {next(iter(pipelines))}", "models:"]
        for name, options in pipelines.items():
            lines.append(f"  {name}:")
            for stage in STAGES:
                more = f", {options[stage]}" if stage in options else ""
                lines.append(f"    {stage}: {{engine: fake{more}}}")
        (tmp_path / "models.yaml").write_text("\n".join(lines))
        return load_config(tmp_path / "models.yaml")

    return load


def events() -> list[str]:
    """What has happened to the fake engines."""
    happened: list[str] = sys.modules["parley_fakes"].events
    return happened


def test_engines_are_loaded_and_warmed_in_the_order_of_a_turn(load: Load) -> None:
    load_lines(load(mini={}), ["mini"])
    assert events() == [f"{step} {stage}/anna" for stage in STAGES for step in ("load", "warm")]


def test_a_line_holds_engines_timeouts_and_the_slots_of_the_synthesizer(load: Load) -> None:
    line = load_lines(load(mini={"llm": "timeout: 7, threads: 3", "tts": "voice: bert"}), ["mini"])["mini"]
    llm: Any = line.llm
    tts: Any = line.tts
    assert (llm.stage, llm.options.threads) == ("llm", 3)
    assert (tts.stage, tts.options.voice) == ("tts", "bert")
    assert (line.timeouts.llm, line.timeouts.tts) == (7.0, 10.0)
    assert line.config.name == line.name == "mini"


def test_a_line_knows_whether_replies_are_said_by_clauses(load: Load, tmp_path: Path) -> None:
    assert load_lines(load(mini={}), ["mini"])["mini"].clause_streaming
    file = tmp_path / "models.yaml"
    file.write_text(file.read_text().replace("  mini:", "  mini:\n    clause_streaming: false"))
    assert not load_lines(load_config(file), ["mini"])["mini"].clause_streaming


async def test_as_many_clauses_are_made_at_a_time_as_the_synthesizer_allows(load: Load) -> None:
    line = load_lines(load(mini={}), ["mini"])["mini"]
    async with asyncio.timeout(5):
        given = [await line.tts_slots.take() for _ in range(3)]
    assert line.tts_slots.is_full
    given[0]()
    assert not line.tts_slots.is_full


def test_equal_blocks_share_one_engine_and_its_slots(load: Load) -> None:
    config = load(mini={}, loud={"tts": "voice: bert", "llm": "timeout: 3"})
    lines = load_lines(config, ["mini", "loud", "mini"])
    mini, loud = lines["mini"], lines["loud"]
    assert mini.llm is loud.llm
    assert (mini.timeouts.llm, loud.timeouts.llm) == (30.0, 3.0)
    assert mini.tts is not loud.tts
    assert mini.tts_slots is not loud.tts_slots
    assert [event for event in events() if event.startswith("load")] == [
        *(f"load {stage}/anna" for stage in STAGES),
        "load tts/bert",
    ]


def test_only_the_named_pipelines_are_loaded(load: Load) -> None:
    assert set(load_lines(load(mini={}, loud={"tts": "voice: bert"}), ["mini"])) == {"mini"}
    assert "load tts/bert" not in events()


def test_progress_tells_what_is_loading_and_how_long_it_took(load: Load) -> None:
    steps: list[LoadStep] = []
    load_lines(load(mini={}), ["mini"], steps.append)
    assert steps[0] == LoadStarted("mini", "vad", "fake")
    finished = [step for step in steps if isinstance(step, LoadFinished)]
    assert [step.stage for step in finished] == list(STAGES)
    assert all(step.load_s >= 0 and step.warm_up_s >= 0 for step in finished)
    assert [type(step) for step in steps] == [LoadStarted, LoadFinished] * len(STAGES)


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        ("load", r"models\.yaml, line 8, models\.mini\.llm\.voice: There is no such voice. Choose another."),
        ("warm_up", r"models\.yaml, line 7, models\.mini\.llm: It stays cold. Heat it."),
        ("bug", r"models\.mini\.llm: .*`fake` failed to load: ZeroDivisionError: .*parley-fakes"),
    ],
)
def test_an_engine_that_fails_names_its_key_and_leaves_nothing_open(load: Load, fail: str, said: str) -> None:
    config = load(mini={"llm": f"\n      voice: bert, fail: {fail}"})
    with pytest.raises(ConfigError, match=said):
        load_lines(config, ["mini"])
    opened = [event.removeprefix("load ") for event in events() if event.startswith("load")]
    closed = [event.removeprefix("close ") for event in events() if event.startswith("close")]
    assert closed == opened[::-1]
    assert len(opened) >= 3


def test_a_failure_in_the_second_pipeline_closes_the_first(load: Load) -> None:
    config = load(mini={}, loud={"tts": "voice: bert, fail: load"})
    with pytest.raises(ConfigError, match=r"models\.loud\.tts\.voice"):
        load_lines(config, ["mini", "loud"])
    assert [event for event in events() if event.startswith("close")] == [
        f"close {stage}/anna" for stage in STAGES[::-1]
    ]


def test_an_engine_is_closed_once_when_its_last_line_is(load: Load) -> None:
    lines = load_lines(load(mini={}, loud={"tts": "voice: bert"}), ["mini", "loud"])
    lines["mini"].close()
    lines["mini"].close()
    assert [event for event in events() if event.startswith("close")] == ["close tts/anna"]
    lines["loud"].close()
    closed = [event for event in events() if event.startswith("close")]
    assert sorted(closed) == sorted([f"close {stage}/anna" for stage in STAGES] + ["close tts/bert"])


def test_an_engine_that_does_not_close_keeps_no_other_open(load: Load) -> None:
    load_lines(load(mini={"tts": "fail: close"}), ["mini"])["mini"].close()
    assert [event for event in events() if event.startswith("close")] == [
        f"close {stage}/anna" for stage in STAGES[::-1]
    ]
