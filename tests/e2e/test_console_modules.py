"""The console's scripts by themselves, in a browser without a server: what they make of sound, tools and timings."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from server.page import FOLDER
from tests.e2e.chromium import chromium

ORIGIN = "http://localhost"
"""Answered from the folder; nothing listens there."""


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with chromium() as browser:
        page = browser.new_page()

        def answer(route: Any) -> None:
            name = route.request.url.removeprefix(f"{ORIGIN}/")
            if name:
                route.fulfill(path=FOLDER / name, content_type="text/javascript")
            else:
                route.fulfill(body="<!doctype html>", content_type="text/html")

        page.route(f"{ORIGIN}/**", answer)
        page.goto(f"{ORIGIN}/")
        yield page


def resampled(page: Any, samples: Any, source: int, target: int, piece: int = 128) -> Any:
    """Returns what the page's resampler makes of a sound that comes in pieces."""
    script = """async ([samples, from, to, piece]) => {
        const { Resampler } = await import("/resampler.js");
        const resampler = new Resampler(from, to);
        const made = [];
        for (let at = 0; at < samples.length; at += piece) {
            made.push(...resampler.process(Float32Array.from(samples.slice(at, at + piece))));
        }
        return [...made, ...resampler.flush()];
    }"""
    return np.array(page.evaluate(script, [samples.tolist(), source, target, piece]))


def tone(hertz: float, rate: int, seconds: float = 0.2) -> Any:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize(("source", "target"), [(48_000, 24_000), (44_100, 24_000), (16_000, 24_000), (24_000, 48_000)])
def test_resampled_sound_is_the_same_sound_in_time_and_without_seams(page: Any, source: int, target: int) -> None:
    made = resampled(page, tone(1000, source), source, target)
    wanted = tone(1000, target)
    assert abs(len(made) - len(wanted)) <= 2
    inner = slice(200, len(wanted) - 200)  # where the filter has all that it looks at
    assert np.abs(made[: len(wanted)] - wanted)[inner].max() < 0.002


def test_what_24_khz_cannot_carry_is_taken_out_and_does_not_come_back_as_something_else(page: Any) -> None:
    made = resampled(page, tone(15_000, 48_000), 48_000, 24_000)
    assert np.abs(made[200:-200]).max() < 0.5 * 10 ** (-60 / 20)


def test_sound_survives_its_way_through_base64(page: Any) -> None:
    script = """async () => {
        const { encode, decode } = await import("/pcm.js");
        const samples = Int16Array.from({ length: 50000 }, (_, index) => (index * 7919) % 65536 - 32768);
        return encode(samples) === encode(decode(encode(samples))) && decode(encode(samples)).length;
    }"""
    assert page.evaluate(script) == 50_000


def test_the_bars_of_a_held_reply_lie_where_its_time_went(page: Any) -> None:
    timings = {
        "prefill": -300,
        "quiet": 64,
        "words": 70,
        "run": 70,
        "first_token": 80,
        "first_clause": 90,
        "first_audio": 95,
        "committed": 500,
        "released": 505,
        "sent": 506,
        "heard": 530,
    }
    script = 'async (timings) => (await import("/waterfall.js")).bars(timings)'
    bars = {bar["name"]: (bar["start"], bar["end"]) for bar in page.evaluate(script, timings)}
    assert bars == {
        "Silence, until the turn is over": (0, 500),
        "Transcription": (64, 70),
        "Language model": (70, 90),
        "Speech": (90, 95),
        "Held back, until the turn is over": (95, 505),
        "Way to the page": (506, 530),
    }


@pytest.mark.parametrize(
    ("timings", "said"),
    [
        ({"committed": 500, "sent": 506, "heard": 530.4}, "Heard 530 ms after you fell silent"),
        ({"sent": 40}, "Heard 40 ms after you asked"),
        ({"first_token": 12}, "First word 12 ms after you asked"),
        ({}, "How long it took"),
    ],
)
def test_what_one_waited_for_is_said_in_a_few_words(page: Any, timings: dict[str, float], said: str) -> None:
    assert page.evaluate('async (timings) => (await import("/waterfall.js")).summary(timings)', timings) == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NotAllowedError", "does not let this page use the microphone"),
        ("NotFoundError", "There is no microphone"),
        ("NotReadableError", "another program"),
    ],
)
def test_each_fault_of_a_microphone_has_its_words(page: Any, name: str, said: str) -> None:
    script = 'async (name) => (await import("/problems.js")).microphoneProblem(new DOMException("", name))'
    assert said in page.evaluate(script, name)


def test_sample_tools_run_and_say_what_is_wrong_with_a_call(page: Any) -> None:
    script = 'async ([name, given]) => (await import("/tools.js")).run(name, given, {})'
    assert '"sum"' in page.evaluate(script, ["roll_dice", '{"count": 3}'])
    assert '"time"' in page.evaluate(script, ["get_current_time", ""])
    assert "no color" in page.evaluate(script, ["set_page_color", '{"color": "nonsense"}'])
    assert '"error"' in page.evaluate(script, ["roll_dice", "no json"])
    assert page.evaluate(script, ["somebody_elses", "{}"]) is None


def test_the_log_is_bounded_and_a_run_of_sound_is_one_line(page: Any) -> None:
    script = """async () => {
        const { Log } = await import("/log.js");
        const list = document.createElement("div");
        const log = new Log(list, document.createElement("span"));
        for (let index = 0; index < 500; index++) log.add("out", { type: "input_audio_buffer.append", audio: "AAAA" });
        const sound = list.childElementCount;
        for (let index = 0; index < 500; index++) log.add("in", { type: "error", index });
        return [sound, list.childElementCount, list.textContent.includes("\\u00d7500")];
    }"""
    sound, all_, _ = page.evaluate(script)
    assert sound == 1
    assert all_ == 400
