"""What llama-cpp need not compute: prompts prefilled, beginnings that others have, histories that were parked.

Every test compares with a model that had to compute it all: the reply has to be the same.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.llm.llama_ahead import AHEAD_ROWS, Prefill
from pipeline.llm.llama_cpp import LlamaCpp, LlamaCppStream
from pipeline.llm.llama_memory import Parked, Shelf
from pipeline.llm.llama_native import Context, DecodeError, NativeError, Slice
from pipeline.stages import PrefillingStream
from pipeline.types import GenerationRequest, Message, Tool
from pipeline.workers import CancelToken
from tests.engines import recurrent_gguf, tiny_gguf
from tests.engines.llama import end, generate, request, spell, text
from tests.engines.test_llama_cpp import PATIENCE_S, Steps, result, wait_for_mail

BRIEF = "You are a guide on a ship. Be brief, be kind, and never speak of the weather."
STORY = "Tell me a very long story of the sea and of all who sail it, and of the whale, and how they fared."


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write(tmp_path_factory.mktemp("weights") / "tiny.gguf", never_ends=True)


@pytest.fixture
def load(weights: Path) -> Iterator[Callable[..., LlamaCpp]]:
    """Loads engines with the tiny model, and closes them."""
    engines: list[LlamaCpp] = []

    def load(**options: Any) -> LlamaCpp:
        defaults = {"model": str(weights), "temperature": 0, "max_tokens": 24, "context": 512, "threads": 1}
        engines.append(LlamaCpp(LlamaCpp.Options(**defaults | options)))
        return engines[-1]

    yield load
    for engine in engines:
        engine.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    steps = Steps(monkeypatch)
    yield steps
    steps.allow_all()


def finish_prefills(engine: LlamaCpp) -> None:
    """Waits until the prefills that have been asked for are through: this one is behind them in the line."""
    through = threading.Event()
    engine._scheduler.prefill(Prefill(object(), lambda: [through.set()][:0]))  # type: ignore[func-returns-value,list-item]
    assert through.wait(PATIENCE_S)


def prefill(engine: LlamaCpp, stream: LlamaCppStream, asked: GenerationRequest) -> None:
    stream.prefill(asked)
    finish_prefills(engine)


def rows(steps: list[list[Slice]]) -> int:
    return sum(len(piece.tokens) for slices in steps for piece in slices)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[list[Slice]]:
    """The steps that are decoded from here on."""
    made: list[list[Slice]] = []
    decode = Context.decode

    def noted(context: Context, slices: list[Slice]) -> list[int]:
        made.append(slices)
        return decode(context, slices)

    monkeypatch.setattr(Context, "decode", noted)
    return made


# --- prefill --------------------------------------------------------------------------------------------------


def test_a_stream_can_be_told_a_prompt_before_it_is_complete(load: Callable[..., LlamaCpp]) -> None:
    engine = load()
    assert engine.capabilities.prefills
    assert isinstance(engine.open(), PrefillingStream)


def test_after_a_prefill_only_the_rest_is_computed_and_the_reply_is_the_same(load: Callable[..., LlamaCpp]) -> None:
    engine, cold = load(), load()
    talk = engine.open()
    for partial in ("", "Tell", "Tell me of", "Tell me of the sea"):
        prefill(engine, talk, request(partial, system=BRIEF))
    asked = request("Tell me of the sea.", system=BRIEF)
    known = len(engine._beginning(request("Tell me of the sea", system=BRIEF)))
    said = generate(talk, asked)
    assert end(said).cached_tokens == known
    assert end(said).input_tokens - known < 30, "what is left is the end of the turn and the opening of the reply"
    assert text(said) == text(generate(cold.open(), asked))
    again = request("Tell me of the sea.", text(said), "And", system=BRIEF)
    prefill(engine, talk, again)
    asked = request("Tell me of the sea.", text(said), "And the land?", system=BRIEF)
    warm = generate(talk, asked)
    assert end(warm).cached_tokens == len(engine._beginning(again))
    assert text(warm) == text(generate(cold.open(), asked))


def test_a_prefill_has_what_surely_stays_and_no_more(load: Callable[..., LlamaCpp]) -> None:
    engine = load()
    said = {
        "partial": spell(engine, engine._beginning(request("Tell me ", system="Sing."))),
        "silent": spell(engine, engine._beginning(request("Hi", "Ho", system="Sing."))),
        "instructions": spell(engine, engine._beginning(request(system="Sing."))),
    }
    sing = "<|im_start|>system\nSing.<|im_end|>\n<|im_start|>user\n"
    assert said["partial"] == sing + "Tell me"
    assert said["silent"].startswith(sing + "Hi<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n<|im_start|>user\n")
    assert said["instructions"].startswith(sing)


def test_a_prefill_is_the_beginning_of_the_prompt_with_tools_too(load: Callable[..., LlamaCpp]) -> None:
    engine = load(context=1024)
    tools = (Tool("look", "Looks out.", {"type": "object", "properties": {"far": {"type": "boolean"}}}),)
    told = request("Look", system=BRIEF)
    told = replace(told, prompt=replace(told.prompt, tools=tools))
    asked = replace(told, prompt=replace(told.prompt, messages=(*told.prompt.messages[:-1], Message("user", "Look!"))))
    talk = engine.open()
    prefill(engine, talk, told)
    said = generate(talk, asked)
    assert end(said).cached_tokens == len(engine._beginning(told)) > 200
    assert text(said) == text(generate(load(context=1024).open(), asked))


def test_a_prompt_that_does_not_fit_is_not_prefilled_and_nothing_fails(
    load: Callable[..., LlamaCpp], decoded: list[list[Slice]]
) -> None:
    engine = load(context=256)
    talk = engine.open()
    prefill(engine, talk, request("x" * 400))
    assert not decoded
    assert end(generate(talk, request("Hi"))).output_tokens == 24


def test_the_newest_prefill_takes_the_place_of_the_one_before(
    load: Callable[..., LlamaCpp], steps: Steps, pool: ThreadPoolExecutor
) -> None:
    engine = load()
    talk = engine.open()
    talk.prefill(request("x" * 200))
    steps.next()
    talk.prefill(request("y" * 200))
    steps.allow_all()
    finish_prefills(engine)
    computed = [spell(engine, piece.tokens) for slices in list(steps.asked.queue) for piece in slices]
    assert "x" not in "".join(computed)
    assert "".join(computed).count("y") == 200


def test_a_reply_goes_before_every_prefill_and_ends_that_of_its_stream(
    load: Callable[..., LlamaCpp], steps: Steps, pool: ThreadPoolExecutor
) -> None:
    engine = load()
    talk, other = engine.open(), engine.open()
    talk.prefill(request("x" * 200))
    other.prefill(request("y" * 200))
    assert len(steps.next()[0].tokens) == AHEAD_ROWS
    talking = pool.submit(generate, talk, request("x" * 200, max_tokens=5))
    wait_for_mail(engine)
    steps.allow_all()
    said = result(talking)
    finish_prefills(engine)
    made = list(steps.asked.queue)
    spelling = engine._model.vocabulary.text
    spelled = ["".join(spelling(token) for piece in slices for token in piece.tokens) for slices in made]
    first_other = next(index for index, each in enumerate(spelled) if "y" in each)
    assert sum(each.count("x") for each in spelled) <= 200 - end(said).cached_tokens + 30
    assert end(said).cached_tokens == AHEAD_ROWS
    assert all("y" not in each for each in spelled[: first_other - 1])
    assert not any("x" in each for each in spelled[first_other:]), "the reply was over, and its prefill was dropped"


def test_the_next_reply_ends_a_prefill_even_if_it_is_cancelled(load: Callable[..., LlamaCpp], steps: Steps) -> None:
    engine = load()
    talk = engine.open()
    talk.prefill(request("x" * 200))
    steps.next()
    cancelled = engine._prepare(request("x" * 200), talk)[0]
    engine._scheduler.submit(cancelled)
    cancelled.stop()
    steps.allow_all()
    finish_prefills(engine)
    assert steps.asked.empty()


@pytest.mark.parametrize("sequences", [1, 2])
def test_a_prefill_that_is_shorter_by_chance_costs_no_history(
    load: Callable[..., LlamaCpp], sequences: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(sequences=sequences)
    talk = engine.open()
    said = generate(talk, request(STORY, system=BRIEF))
    with monkeypatch.context() as patch:
        for name in ("trim", "save", "decode"):
            patch.setattr(Context, name, lambda *given: pytest.fail("there is nothing to do"))
        for shorter in (request(STORY[:-9], system=BRIEF), request(STORY[:20], system=BRIEF), request(system=BRIEF)):
            prefill(engine, talk, shorter)
    asked = request(STORY, text(said), "Why?", system=BRIEF)
    after = generate(talk, asked)
    assert end(after).cached_tokens >= end(said).input_tokens
    assert text(after) == text(generate(load().open(), asked))


def test_a_prefill_takes_no_sequence_that_waits_for_its_own_reply(load: Callable[..., LlamaCpp]) -> None:
    engine = load(sequences=2)
    talks = [engine.open() for _ in range(3)]
    told = [request(f"{who} " + STORY) for who in ("Ann", "Ben", "Cid")]
    for talk, one in zip(talks, told, strict=True):
        prefill(engine, talk, one)
    cached = [end(generate(talk, one)).cached_tokens for talk, one in zip(talks, told, strict=True)]
    assert cached[0] > 90
    assert cached[1] > 90
    assert cached[2] < 50, "there was no room to compute it ahead"


@pytest.mark.parametrize(("parking", "makes_way"), [(16, True), (0, False)])
def test_a_history_makes_way_for_a_prefill_only_if_it_can_be_parked(
    load: Callable[..., LlamaCpp], parking: int, makes_way: bool
) -> None:
    engine = load(sequences=1, parking=parking)
    old, new = engine.open(), engine.open()
    said = generate(old, request(STORY, system=BRIEF))
    prefill(engine, new, request("A quite other matter, and a long one too: what is there for lunch?"))
    after = end(generate(old, request(STORY, text(said), "Why?", system=BRIEF)))
    assert after.cached_tokens >= end(said).input_tokens
    asked = request("A quite other matter, and a long one too: what is there for lunch?")
    assert (end(generate(new, asked)).cached_tokens > 60) == makes_way


def test_a_prefill_that_fails_harms_nobody(
    load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = load()
    talk = engine.open()
    expected = text(generate(talk, request(STORY)))
    decode = Context.decode

    def failing(context: Context, slices: list[Slice]) -> list[int]:
        decode(context, slices)  # as llama.cpp does when it fails late
        raise DecodeError(-3)

    with monkeypatch.context() as broken:
        broken.setattr(Context, "decode", failing)
        prefill(engine, talk, request(STORY, "Once.", "And then what?"))
    on = generate(talk, request(STORY, "Once.", "And then what?"))
    assert end(on).cached_tokens > len(STORY), "the history was kept"
    assert "one by one" not in caplog.text, "what failed was undone"
    assert text(on) == text(generate(load().open(), request(STORY, "Once.", "And then what?")))
    assert text(generate(talk, request(STORY))) == expected


def test_a_prefill_that_cannot_be_encoded_harms_nobody(load: Callable[..., LlamaCpp]) -> None:
    engine = load()
    reply = engine.open().generate(request("Hi"), CancelToken())
    outputs = [next(reply)]
    engine._scheduler.prefill(Prefill(object(), lambda: 1 // 0 * [1]))
    finish_prefills(engine)
    assert end([*outputs, *reply]).output_tokens == 24


def test_closing_ends_prefills(load: Callable[..., LlamaCpp], steps: Steps) -> None:
    engine = load()
    talk, other = engine.open(), engine.open()
    talk.prefill(request("x" * 300))
    steps.next()
    talk.close()
    talk.prefill(request("x" * 300))
    steps.allow()
    finish_prefills(engine)
    assert steps.asked.empty()
    other.prefill(request("y" * 300))
    steps.next()
    steps.allow_all()
    engine.close()
    other.prefill(request("y" * 300))
    assert steps.asked.qsize() < 5


# --- beginnings that others have ------------------------------------------------------------------------------

KEPT = [
    {},
    {"flash_attention": "off"},
    {"kv_type": "q8_0"},
    {"kv_type": "q4_0"},
    {"k_type": "q8_0", "flash_attention": "off"},
    {"kv_type": "f32"},
]


@pytest.mark.parametrize("kept", KEPT)
def test_what_another_session_begins_with_is_copied(load: Callable[..., LlamaCpp], kept: dict[str, str]) -> None:
    engine = load(**kept)
    first, second = request(STORY, system=BRIEF), request("And the land?", system=BRIEF)
    generate(engine.open(), first)
    said = generate(engine.open(), second)
    assert end(said).cached_tokens > len(BRIEF)
    assert text(said) == text(generate(load(**kept).open(), second))


def test_it_is_copied_from_a_reply_that_is_under_way_which_goes_on_as_before(load: Callable[..., LlamaCpp]) -> None:
    engine, cold = load(), load()
    first = request(STORY, system=BRIEF, max_tokens=200)
    second = request("And the land?", system=BRIEF)
    reply = engine.open().generate(first, CancelToken())
    outputs = [next(reply)]
    said = generate(engine.open(), second)
    outputs += reply
    assert end(said).cached_tokens > len(BRIEF)
    assert text(said) == text(generate(cold.open(), second))
    assert text(outputs) == text(generate(cold.open(), first))


def test_of_sessions_that_begin_at_once_one_computes_what_all_begin_with(
    load: Callable[..., LlamaCpp], steps: Steps, pool: ThreadPoolExecutor
) -> None:
    engine = load(sequences=4)
    busy = pool.submit(generate, engine.open(), request("Hi", max_tokens=1))
    steps.next()
    asked = [request(f"{who}?", system=BRIEF * 3, max_tokens=4) for who in ("Ann", "Ben", "Cid")]
    together = []
    for one in asked:
        together.append(pool.submit(generate, engine.open(), one))
        wait_for_mail(engine)
    steps.allow_all()
    result(busy)
    said = [result(future) for future in together]
    computed = rows(list(steps.asked.queue))
    assert computed < end(said[0]).input_tokens + 150
    assert sorted(end(each).cached_tokens > 200 for each in said) == [False, True, True]
    alone = load()
    assert [text(each) for each in said] == [text(generate(alone.open(), one)) for one in asked]


def test_a_step_is_not_overfull_when_a_reply_has_got_all_of_its_prompt_from_another(
    load: Callable[..., LlamaCpp], steps: Steps, pool: ThreadPoolExecutor
) -> None:
    engine = load(sequences=3, context=1024)
    busy = pool.submit(generate, engine.open(), request("Hi", max_tokens=1))
    steps.next()
    once = request(STORY, system=BRIEF, max_tokens=1)
    asked = [once, once, request("z" * 400, max_tokens=1)]
    together = []
    for one in asked:
        together.append(pool.submit(generate, engine.open(), one))
        wait_for_mail(engine)
    steps.allow_all()
    said = [result(future) for future in (busy, *together)]
    assert end(said[1]).cached_tokens in (0, end(said[1]).input_tokens - 1)
    assert text(said[1]) == text(said[2])
    assert max(rows([slices]) for slices in list(steps.asked.queue)) == 63


def test_a_reply_that_waits_for_anothers_beginning_goes_on_if_that_is_cancelled(
    load: Callable[..., LlamaCpp], steps: Steps, pool: ThreadPoolExecutor
) -> None:
    engine = load(sequences=2)
    cancel = CancelToken()
    first = pool.submit(generate, engine.open(), request("Ann?", system=BRIEF * 4), cancel)
    steps.next()
    second = pool.submit(generate, engine.open(), request("Ben?", system=BRIEF * 4, max_tokens=4))
    wait_for_mail(engine)
    cancel.cancel()
    steps.allow_all()
    assert result(first) == []
    assert 60 <= end(result(second)).cached_tokens <= 64, "of what the first had computed"


def test_a_copy_that_fails_is_computed(load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load()
    second = request("And the land?", system=BRIEF)
    expected = text(generate(load().open(), second))
    generate(engine.open(), request(STORY, system=BRIEF))

    def cannot(context: Context, sequence: int, *rest: object) -> bool:
        raise NativeError("no")

    def fails(context: Context, sequence: int, *rest: object) -> bool:
        context.clear(sequence)
        return False

    for name, broken in (("save", cannot), ("restore", fails)):
        with monkeypatch.context() as patch:
            patch.setattr(Context, name, broken)
            talk = engine.open()
            said = generate(talk, second)
            talk.close()
        assert (text(said), end(said).cached_tokens) == (expected, 0)


def test_a_model_that_cannot_go_back_takes_what_is_the_beginning_as_it_is(
    load: Callable[..., LlamaCpp], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(recurrent_gguf.write(tmp_path / "recurrent.gguf"))
    engine, cold = load(model=model), load(model=model)
    generate(engine.open(), request(STORY, system=BRIEF))
    with monkeypatch.context() as patch:
        patch.setattr(Context, "restore", lambda *given: pytest.fail("no sequence is the beginning of this prompt"))
        second = request("And the land?", system=BRIEF)
        assert text(generate(engine.open(), second)) == text(generate(cold.open(), second))
    third = request("So it is that the ship", system=BRIEF * 2)
    prefill(engine, engine.open(), request("So it is that the", system=BRIEF * 2))
    for stream in (engine.open(), engine.open()):
        said = generate(stream, third)
        assert end(said).cached_tokens > 150
        assert text(said) == text(generate(cold.open(), third))


# --- histories that are parked --------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", KEPT)
def test_a_history_that_made_way_comes_back(load: Callable[..., LlamaCpp], kept: dict[str, str]) -> None:
    engine, cold = load(sequences=1, **kept), load(sequences=1, parking=0, **kept)
    talks = {who: engine.open() for who in ("Ann", "Ben", "Cid")}
    said = {who: [f"{who} says: {STORY}"] for who in talks}
    for turn in range(3):
        for who, talk in talks.items():
            reply = generate(talk, request(*said[who]))
            stranger = cold.open()
            assert text(reply) == text(generate(stranger, request(*said[who])))
            stranger.close()
            assert (end(reply).cached_tokens > 100) == (turn > 0)
            said[who] += ["Well.", "Go on."]
            waiting = [entry.owner for entry in engine._scheduler._owner._batcher._memory._shelf.entries]
            assert talk not in waiting
            assert len(waiting) == len(set(waiting))


def test_without_memory_for_it_nothing_is_parked(load: Callable[..., LlamaCpp]) -> None:
    engine = load(sequences=1, parking=0)
    one, two = engine.open(), engine.open()
    generate(one, request(STORY))
    generate(two, request("A quite other matter, and a long one too: what is there for lunch?"))
    assert end(generate(one, request(STORY))).cached_tokens < 50
    assert not engine._scheduler._owner._batcher._memory._shelf.entries


def test_what_is_parked_is_bounded_and_goes_with_its_stream(load: Callable[..., LlamaCpp]) -> None:
    engine = load(sequences=1)
    shelf = engine._scheduler._owner._batcher._memory._shelf
    talks = [engine.open() for _ in range(6)]
    for number, talk in enumerate(talks):
        generate(talk, request(f"{number} {STORY}"))
    sizes = [entry.state.nbytes for entry in shelf.entries]
    assert len(sizes) == 5
    shelf._limit = sum(sizes[-3:])
    for number in (0, 1):
        generate(talks[number], request(f"{number} {STORY}"))
        assert sum(entry.state.nbytes for entry in shelf.entries) <= shelf._limit
    for talk in talks:
        talk.close()
    generate(engine.open(), request("Hi", max_tokens=1))
    assert not shelf.entries


def test_the_shelf_keeps_a_few_histories_of_one_owner_and_none_twice() -> None:
    shelf, state = Shelf(1000), np.zeros(10, np.uint8)
    histories = [[number] * (200 - number) for number in range(6)]
    for tokens in (*histories[:4], histories[2] + [9] * 50, histories[4]):
        shelf.put(Parked("ann", tokens, state))
    shelf.put(Parked("ben", histories[0], state))
    held = [(entry.owner, len(entry.tokens), entry.tokens[0]) for entry in shelf.entries]
    assert held == [("ann", 200, 0), ("ann", 199, 1), ("ann", 248, 2), ("ann", 196, 4), ("ben", 200, 0)]
    assert shelf.has_room(1000)
    assert not shelf.has_room(1001)


def test_a_session_that_goes_on_at_once_costs_nobody_a_copy(
    load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(sequences=2)
    monkeypatch.setattr(Context, "save", lambda *given: pytest.fail("there is room for both"))
    talks = {who: engine.open() for who in ("Ann", "Ben")}
    for turn in range(3):
        for who, talk in talks.items():
            said = generate(talk, request(f"{who}: {STORY}", *("Yes.", "And?") * turn))
            assert end(said).output_tokens == 24


# --- beside the spoken reply ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sequences", [1, 2])
def test_the_spoken_history_survives_replies_out_of_band(load: Callable[..., LlamaCpp], sequences: int) -> None:
    engine = load(sequences=sequences)
    talk = engine.open()
    said = generate(talk, request(STORY, system=BRIEF))
    aside = [
        request("Name a mood for this: a ship came in, and nobody was glad of it but the cook."),
        request("Is it rude?", system="You judge what is said, in one word, and give no reason for it at all."),
    ]
    for one in aside * 2:
        assert text(generate(talk, one)) == text(generate(load().open(), one))
    asked = request(STORY, text(said), "Why?", system=BRIEF)
    after = generate(talk, asked)
    assert end(after).cached_tokens >= end(said).input_tokens
    assert text(after) == text(generate(load().open(), asked))


def test_what_a_session_says_beside_it_costs_no_others_history(
    load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(sequences=2)
    quiet, talk = engine.open(), engine.open()
    said = generate(quiet, request(f"Ann: {STORY}"))
    generate(talk, request(STORY, system=BRIEF))
    for aside in ("a ship came in, and nobody was glad of it but the cook.", "it rains on all of us here today."):
        generate(talk, request(f"Name a mood in one word for this: {aside}"))
    monkeypatch.setattr(Context, "restore", lambda *given: pytest.fail("it was never taken away"))
    on = generate(quiet, request(f"Ann: {STORY}", "Well.", "Go on."))
    assert end(on).cached_tokens >= end(said).input_tokens


def test_it_survives_those_made_while_it_is_spoken(load: Callable[..., LlamaCpp], pool: ThreadPoolExecutor) -> None:
    engine = load(sequences=2, context=1024)
    talk = engine.open()
    spoken = talk.generate(request(STORY, system=BRIEF, max_tokens=100), CancelToken())
    outputs = [next(spoken)]
    aside = request("Name a mood for this: a ship came in, and nobody was glad of it but the cook.", max_tokens=100)
    beside = pool.submit(generate, talk, aside)
    outputs += spoken
    assert text(result(beside)) == text(generate(load().open(), aside))
    after = generate(talk, request(STORY, text(outputs), "Why?", system=BRIEF))
    assert end(after).cached_tokens >= end(outputs).input_tokens
