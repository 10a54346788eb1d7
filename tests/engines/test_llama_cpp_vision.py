"""What the llama-cpp engine promises of images, on tiny models and projectors that are real to llama.cpp."""

import ctypes
import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llama_cpp as c
import numpy as np
import pytest
from llama_cpp import mtmd_cpp as m
from numpy.typing import NDArray

from pipeline.errors import EngineError, PromptTooLongError, StageError
from pipeline.images import image_of
from pipeline.llm import llama_batcher, llama_vision
from pipeline.llm.llama_ahead import Prefill
from pipeline.llm.llama_batcher import PREFILL_ROWS
from pipeline.llm.llama_cpp import LlamaCpp, LlamaCppStream
from pipeline.llm.llama_native import MAX_ROWS, Context, Slice
from pipeline.llm.llama_rows import (
    Picture,
    Rows,
    ends_in_tile,
    is_row,
    next_rows,
    position,
    row_token,
    text_before_rows,
)
from pipeline.llm.llama_sampling import Sampler
from pipeline.types import Generated, GenerationRequest, Image, Message, Prompt
from pipeline.workers import CancelToken
from tests.engines import seeing_gguf, tiny_gguf
from tests.engines.llama import end, generate, request, spell, text
from tests.engines.seeing_gguf import AROUND_TILES, PATCH, SIDE, Kind
from tests.images import picture, png, url

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
ROWS = (SIDE // PATCH) ** 2
"""Rows of an image that LLaVA's kind of projector makes by default."""


def plain(colour: tuple[int, int, int], width: int = 20, height: int = 20) -> Image:
    return image_of(url(picture(np.full((height, width, 3), colour))))


def noise(seed: int, width: int = 40, height: int = 40) -> Image:
    """Blocks of any colour, so large that the patches of an image differ."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3))
    pixels = blocks[np.arange(height)[:, None] * 4 // height, np.arange(width) * 4 // width]
    return image_of(url(picture(pixels)))


def look(*images: Image, text: str = "What colour is it?", at: int | None = None) -> Message:
    place = len(text) if at is None else at
    return Message("user", text, images=tuple(dataclasses.replace(image, at=place) for image in images))


def ask(stream: LlamaCppStream, *messages: Message, **more: Any) -> tuple[str, Generated]:
    outputs = generate(stream, GenerationRequest(Prompt(messages), **more))
    return text(outputs), end(outputs)


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., LlamaCpp]]:
    """Loads engines that see, and closes them."""
    engines: list[LlamaCpp] = []

    def load(
        model: Path | None = None, projector: Path | None = None, *, sees: bool = True, **options: Any
    ) -> LlamaCpp:
        model = model or seeing_gguf.write_seer(tmp_path / "seer.gguf")
        projector = projector or seeing_gguf.write_projector(tmp_path / "projector.gguf")
        defaults = {"model": str(model), "temperature": 0, "max_tokens": 24, "threads": 1}
        seeing = {"projector": str(projector)} if sees else {}
        engines.append(LlamaCpp(LlamaCpp.Options(**defaults | seeing | options)))
        return engines[-1]

    yield load
    for engine in engines:
        engine.close()


# --- what is seen -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("colour", "name"), [(RED, "red"), (GREEN, "green"), (BLUE, "blue")])
def test_the_reply_depends_on_what_is_in_the_image(
    load: Callable[..., LlamaCpp], colour: tuple[int, int, int], name: str
) -> None:
    engine = load()
    assert engine.capabilities.vision
    said, generated = ask(engine.open(), look(plain(colour)))
    assert said == name
    assert generated.image_tokens == ROWS


def test_without_an_image_there_is_nothing_to_see(load: Callable[..., LlamaCpp]) -> None:
    said, generated = ask(load().open(), look())
    assert said == "nothing"
    assert generated.image_tokens == 0


def test_several_images_are_all_seen(load: Callable[..., LlamaCpp]) -> None:
    stream = load().open()
    assert ask(stream, look(plain(RED), plain(BLUE)), look(plain(BLUE)))[0] == "blue"
    assert ask(stream, look(plain(RED), plain(BLUE)), look(plain(RED)))[0] == "red"


def test_an_image_may_be_all_that_a_message_has(load: Callable[..., LlamaCpp]) -> None:
    assert ask(load().open(), look(plain(GREEN), text=""))[0] == "green"


def test_an_image_stands_where_it_was_put_in_the_text(load: Callable[..., LlamaCpp]) -> None:
    engine = load()
    message = look(plain(RED), plain(BLUE), text="  One.Two.  ", at=6)
    prompt = engine._prepare(GenerationRequest(Prompt((message,))), object())[1]
    rows = [index for index, token in enumerate(prompt.tokens) if is_row(token)]
    assert rows == list(range(rows[0], rows[0] + 2 * ROWS))
    assert spell(engine, prompt.tokens[: rows[0]]) == "<|im_start|>user\nOne."
    assert spell(engine, prompt.tokens[rows[-1] + 1 :]) == "Two.<|im_end|>\n<|im_start|>assistant\n"


def test_at_low_detail_a_large_image_is_made_smaller(tmp_path: Path, load: Callable[..., LlamaCpp]) -> None:
    projector = seeing_gguf.write_projector(tmp_path / "tiles.gguf", "idefics3", side=256, seed=1)
    engine = load(tiny_gguf.write(tmp_path / "tiny.gguf", words=AROUND_TILES), projector)
    image = noise(1, 1024, 1024)
    high, low = (engine._vision.see(dataclasses.replace(image, detail=detail)) for detail in ("high", "low"))
    assert len(low.embeddings) < len(high.embeddings), "fewer tiles"
    assert low.number != high.number


# --- the same as llama.cpp's own way ----------------------------------------------------------------------------------


def by_the_library(engine: LlamaCpp, words: str, image: Image) -> NDArray[np.float32]:
    """The logits of the reply's first token by llama.cpp's own helper, which decodes a prompt with its images."""
    assert engine._vision is not None
    handle = engine._vision._handle
    marker = m.mtmd_get_marker(handle).decode()
    prompt = f"<|im_start|>user\n{words}{marker}<|im_end|>\n<|im_start|>assistant\n".encode()
    pixels = (ctypes.c_uint8 * len(image.data)).from_buffer_copy(image.data)
    bitmap = m.mtmd_helper_bitmap_init_from_buf(handle, pixels, len(image.data), False)
    chunks = m.mtmd_input_chunks_init()
    given = m.mtmd_input_text(prompt, len(prompt), False, True)
    assert m.mtmd_tokenize(handle, chunks, ctypes.byref(given), (m.mtmd_bitmap_p_ctypes * 1)(bitmap), 1) == 0
    context = Context(engine._model, context=2048, sequences=1, threads=1, rows=2048)
    past = c.llama_pos()
    asked = (handle, context.handle, chunks, 0, 0, 2048, True, ctypes.byref(past))
    assert m.mtmd_helper_eval_chunks(*asked) == 0
    logits = context.logits(-1).copy()
    context.close()
    m.mtmd_input_chunks_free(chunks)
    m.mtmd_bitmap_free(bitmap)
    return logits


PATIENCE_S = 20.0
"""How long a test waits for what should come at once."""

CLOSE, SLICED = 0.01, 0.1
"""How far a logit may be off, in standard deviations of all. Rows that are decoded in other company differ a little."""

KINDS: list[tuple[Kind, int, int, int]] = [
    ("mlp", SIDE, 0, 40),
    ("mlp", 10 * PATCH, 1, 40),  # more rows than a decode takes
    ("idefics3", SIDE, 2, 60),  # tiles with text between them
    ("gemma3", 4 * SIDE, 3, 40),  # rows that look at each other
    ("gemma3", 9 * 4 * PATCH, 4, 40),  # more of them than a decode of tokens takes
    ("qwen2vl_merger", SIDE, 5, 100),  # positions in two dimensions
    ("qwen2vl_merger", SIDE, 6, 200),  # and more rows than a decode takes
]


def files(folder: Path, kind: Kind, side: int, seed: int) -> tuple[Path, Path]:
    """A model with random weights, and a projector for it."""
    model = tiny_gguf.write(
        folder / "tiny.gguf",
        never_ends=True,
        context=2048,
        words=AROUND_TILES,
        two_dimensions=kind == "qwen2vl_merger",
    )
    return model, seeing_gguf.write_projector(folder / f"{kind}.gguf", kind, side=side, seed=seed)


@pytest.mark.parametrize("case", KINDS)
def test_a_prompt_with_an_image_is_decoded_as_by_the_library_itself(
    tmp_path: Path, load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch, case: tuple[Kind, int, int, int]
) -> None:
    kind, side, seed, width = case
    engine = load(*files(tmp_path, kind, side, seed), context=2048, max_tokens=1)
    first, sample = list[NDArray[np.float32]](), Sampler.sample

    def noted(sampler: Sampler, context: Context, row: int) -> int | None:
        first.append(context.logits(row).copy())
        return sample(sampler, context, row)

    monkeypatch.setattr(Sampler, "sample", noted)
    for image in (noise(seed), noise(seed + 100, width, 2 * width // 3)):
        generate(engine.open(), GenerationRequest(Prompt((look(image),))))
        logits = by_the_library(engine, "What colour is it?", image)
        sliced = engine._vision.see(image).causal and len(engine._vision.see(image).embeddings) > MAX_ROWS
        assert np.abs(first.pop() - logits).max() < (SLICED if sliced else CLOSE) * logits.std()


def test_what_is_said_after_an_image_is_decoded_as_ever(tmp_path: Path, load: Callable[..., LlamaCpp]) -> None:
    weights = files(tmp_path, "gemma3", 4 * SIDE, 3)
    looked, new = (load(*weights, context=2048).open() for _ in range(2))
    generate(looked, GenerationRequest(Prompt((look(noise(1)),))))
    long = request("Tell me a story. " * 9)
    assert generate(looked, long) == generate(new, long)


# --- what is computed once --------------------------------------------------------------------------------------------


def test_an_image_of_the_history_is_neither_seen_nor_decoded_again(
    load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = counted(monkeypatch, llama_vision.Vision, "_encode")
    engine = load()
    stream = engine.open()
    first = look(plain(RED))
    said, before = ask(stream, first)
    again = look(plain(RED))
    answer, after = ask(stream, again, Message("assistant", said), Message("user", "Sure?"))
    assert answer == "red"
    assert after.cached_tokens >= before.input_tokens - 1
    assert (before.image_tokens, after.image_tokens) == (ROWS, ROWS)
    ask(engine.open(), look(plain(RED)))
    assert len(encoded) == 1, "nor for another session"


def test_another_image_in_its_place_is_decoded_anew(load: Callable[..., LlamaCpp]) -> None:
    stream = load(sequences=1).open()
    ask(stream, look(plain(RED), at=4))
    said, generated = ask(stream, look(plain(BLUE), at=4))
    assert said == "blue"
    assert 0 < generated.cached_tokens < generated.input_tokens - ROWS


def test_what_was_stopped_within_an_image_goes_on_where_it_was(
    load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = load(projector=seeing_gguf.write_projector(tmp_path / "large.gguf", side=10 * PATCH), sequences=1)
    stream, cancel = engine.open(), CancelToken()
    decode = llama_batcher.decode_rows

    def cancelled_meanwhile(context: Context, rows: Rows) -> None:
        decode(context, rows)
        cancel.cancel()

    monkeypatch.setattr(llama_batcher, "decode_rows", cancelled_meanwhile)
    assert not generate(stream, GenerationRequest(Prompt((look(plain(RED)),))), cancel)
    monkeypatch.setattr(llama_batcher, "decode_rows", decode)
    said, generated = ask(stream, look(plain(RED)))
    assert said == "red"
    behind = len("<|im_end|>\n<|im_start|>assistant\n".removeprefix("<|im_end|>"))
    assert generated.input_tokens - generated.image_tokens - behind < generated.cached_tokens < generated.input_tokens


@pytest.mark.parametrize("kind", ["mlp", "qwen2vl_merger"])
def test_a_prompt_of_which_a_part_is_there_is_decoded_like_a_new_one(
    tmp_path: Path, load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """What is there was computed ahead, or for another turn, or until a reply was stopped within an image."""
    weights = files(tmp_path, kind, 10 * PATCH, 1)
    options: dict[str, Any] = {"context": 2048, "max_tokens": 8, "sequences": 1}
    image = noise(1, 160, 160)
    turns = [look(image), Message("assistant", "Grey."), look(noise(2, 100, 160), text="And this?")]
    first, second = (GenerationRequest(Prompt(tuple(turns[:count]))) for count in (1, 3))
    expected = [text(generate(load(*weights, **options).open(), asked)) for asked in (first, second)]

    ahead = load(*weights, **options).open()
    ahead._engine._vision.see(image)
    prefill(ahead._engine, ahead, first)
    replies = [generate(ahead, first), generate(ahead, second)]
    assert [text(reply) for reply in replies] == expected
    assert all(end(reply).cached_tokens > 80 for reply in replies)

    stopped, cancel, decode = load(*weights, **options).open(), CancelToken(), llama_batcher.decode_rows
    monkeypatch.setattr(llama_batcher, "decode_rows", lambda *given: (decode(*given), cancel.cancel()))
    generate(stopped, second, cancel)
    monkeypatch.setattr(llama_batcher, "decode_rows", decode)
    other = GenerationRequest(Prompt((look(noise(3, 160, 160)),)))
    assert [text(generate(stopped, asked)) for asked in (second, other, second)][::2] == [expected[1]] * 2


def test_what_was_seen_long_ago_is_forgotten(load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load()
    size = engine._vision.see(noise(0)).embeddings.nbytes
    monkeypatch.setattr(llama_vision, "KEPT_BYTES", 2 * size)
    kept = [engine._vision.see(noise(seed)) for seed in (1, 2)]
    assert engine._vision.see(noise(1)) is kept[0]
    engine._vision.see(noise(3))
    assert engine._vision.see(noise(1)) is kept[0], "what was asked for since goes later"
    assert engine._vision.see(noise(2)) is not kept[1]


def test_an_image_is_looked_at_and_decoded_while_the_user_speaks_of_it(
    tmp_path: Path, load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = counted(monkeypatch, llama_vision.Vision, "_encode")
    engine = load(projector=seeing_gguf.write_projector(tmp_path / "large.gguf", side=10 * PATCH))
    stream = engine.open()
    spoken = GenerationRequest(Prompt((look(plain(RED)), Message("user", "What"))))
    prefill(engine, stream, spoken)
    engine._vision._ahead.submit(list).result(PATIENCE_S)  # it is behind the image in the line
    assert len(encoded) == 1, "nobody waits for it"
    prefill(engine, stream, spoken)
    said, generated = ask(stream, look(plain(RED)), Message("user", "What is it?"))
    assert said == "red"
    assert len(encoded) == 1
    assert generated.cached_tokens > generated.image_tokens == 100


def test_a_damaged_image_is_no_trouble_before_a_reply_is_asked_for(load: Callable[..., LlamaCpp]) -> None:
    engine = load()
    stream = engine.open()
    prefill(engine, stream, GenerationRequest(Prompt((look(damaged()), Message("user", "What")))))
    assert ask(stream, look(plain(RED)))[0] == "red"


def prefill(engine: LlamaCpp, stream: LlamaCppStream, asked: GenerationRequest) -> None:
    """Has a prompt computed ahead, and waits until that is through: what is put in line behind it has its turn."""
    through = threading.Event()
    stream.prefill(asked)
    engine._scheduler.prefill(Prefill(object(), lambda: [through.set()][:0]))  # type: ignore[func-returns-value,list-item]
    assert through.wait(PATIENCE_S)


def counted(monkeypatch: pytest.MonkeyPatch, of: Any, name: str) -> list[Any]:
    """Notes the calls of a method, which goes on doing what it does."""
    calls: list[Any] = []
    real = getattr(of, name)

    def noted(*given: Any) -> Any:
        calls.append(given)
        return real(*given)

    monkeypatch.setattr(of, name, noted)
    return calls


# --- beside other replies ---------------------------------------------------------------------------------------------


def test_replies_go_on_between_the_rows_of_an_image(
    tmp_path: Path, load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str | int] = []
    decode, decode_rows = Context.decode, llama_batcher.decode_rows

    def noted(context: Context, slices: list[Slice]) -> list[int]:
        steps.append("tokens")
        return decode(context, slices)

    def noted_rows(context: Context, rows: Rows) -> None:
        steps.append(len(rows.tokens))
        decode_rows(context, rows)

    monkeypatch.setattr(Context, "decode", noted)
    monkeypatch.setattr(llama_batcher, "decode_rows", noted_rows)
    model = tiny_gguf.write(tmp_path / "tiny.gguf", never_ends=True, context=2048)
    engine = load(model, seeing_gguf.write_projector(tmp_path / "large.gguf", side=10 * PATCH, seed=1), max_tokens=800)
    reply = engine.open().generate(request("Tell me a story."), CancelToken())
    next(iter(reply))
    said = ask(engine.open(), look(noise(1)), max_tokens=4)
    first = steps.index(PREFILL_ROWS)
    last = max(index for index, step in enumerate(steps) if step != "tokens")
    assert [step for step in steps[first : last + 1] if step != "tokens"] == [32, 32, 32, 4]
    assert steps[first:last].count("tokens") >= 3
    reply.close()
    steps.clear()
    assert ask(engine.open(), look(noise(1), text="Look: "), max_tokens=4)[0] is not said
    assert [step for step in steps if step != "tokens"] == [MAX_ROWS, 100 - MAX_ROWS], "alone it need not wait"


def test_many_sessions_look_at_the_same_time(load: Callable[..., LlamaCpp]) -> None:
    engine = load(sequences=3)
    colours = [(RED, "red"), (GREEN, "green"), (BLUE, "blue")] * 4
    with ThreadPoolExecutor(len(colours)) as pool:
        said = list(pool.map(lambda each: ask(engine.open(), look(plain(each[0])))[0], colours))
    assert said == [name for _, name in colours]


# --- long conversations -----------------------------------------------------------------------------------------------


def test_images_count_as_what_they_take_of_the_context(tmp_path: Path, load: Callable[..., LlamaCpp]) -> None:
    projector = seeing_gguf.write_projector(tmp_path / "large.gguf", side=10 * PATCH)
    stream = load(projector=projector, context=256).open()
    answer = Message("assistant", "red")
    said, generated = ask(stream, look(plain(RED)), answer, look(plain(RED)), answer, look(plain(BLUE)), max_tokens=8)
    assert said == "blue"
    assert generated.left_out == {0, 1, 2, 3}
    assert generated.image_tokens == 100
    with pytest.raises(PromptTooLongError):
        ask(stream, look(plain(RED), plain(RED), plain(RED)))


# --- what cannot be seen ----------------------------------------------------------------------------------------------


def damaged() -> Image:
    whole = picture(np.random.default_rng(0).integers(0, 256, (40, 40, 3)))
    return image_of(url(whole[:200]))


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (damaged(), "damaged"),
        (dataclasses.replace(image_of(url(png())), width=10_000, height=10_000), "million pixels"),
    ],
)
def test_an_image_that_cannot_be_read_is_refused_and_the_session_goes_on(
    load: Callable[..., LlamaCpp], image: Image, why: str
) -> None:
    stream = load().open()
    with pytest.raises(StageError, match=why) as found:
        ask(stream, look(image))
    assert (found.value.code, found.value.kind) == ("invalid_image", "invalid_request_error")
    assert ask(stream, look(plain(RED)))[0] == "red"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3000), (3000, 1), (777, 333)])
def test_an_image_may_have_any_shape(load: Callable[..., LlamaCpp], width: int, height: int) -> None:
    assert ask(load().open(), look(plain(GREEN, width, height)))[0] == "green"


def test_a_model_without_a_projector_does_not_see(load: Callable[..., LlamaCpp]) -> None:
    engine = load(sees=False)
    assert not engine.capabilities.vision
    with pytest.raises(StageError, match="does not see"):
        ask(engine.open(), look(plain(RED)))


def test_a_closed_engine_sees_no_more(load: Callable[..., LlamaCpp]) -> None:
    engine = load()
    stream = engine.open()
    engine.close()
    with pytest.raises(StageError, match="shut down"):
        ask(stream, look(plain(RED)))


def test_a_template_that_ends_with_the_image_is_refused(tmp_path: Path, load: Callable[..., LlamaCpp]) -> None:
    bare = seeing_gguf.write_seer(tmp_path / "bare.gguf", template="{{ messages[-1].content }}")
    with pytest.raises(StageError, match="nothing behind the image"):
        ask(load(bare).open(), look(plain(RED)))


# --- the projector ----------------------------------------------------------------------------------------------------


def test_a_projector_of_another_model_stops_the_start(tmp_path: Path, load: Callable[..., LlamaCpp]) -> None:
    with pytest.raises(EngineError, match=r"another model: text model \(n_embd = 64\) and mmproj") as found:
        load(projector=seeing_gguf.write_projector(tmp_path / "other.gguf", width=32))
    assert found.value.option == "projector"


def test_a_vocabulary_without_what_is_put_around_images_stops_the_start(
    tmp_path: Path, load: Callable[..., LlamaCpp]
) -> None:
    with pytest.raises(EngineError, match="vocabulary lacks"):
        load(projector=seeing_gguf.write_projector(tmp_path / "tiles.gguf", "idefics3", seed=1))


# --- rows among tokens ------------------------------------------------------------------------------------------------


def test_rows_and_text_are_decoded_apart() -> None:
    rows = [row_token(7, row) for row in range(5)]
    assert not any(map(is_row, (0, 1, 2**31)))
    assert all(map(is_row, rows))
    tokens = [1, 2, *rows, 3]
    assert [text_before_rows(tokens[at:], 3) for at in (0, 1, 2)] == [2, 1, 0]
    assert text_before_rows([3, 4, 5], 2) == 2


@pytest.mark.parametrize(("causal", "most", "taken"), [(True, 2, [2, 1, 2]), (True, 9, [3, 2]), (False, 2, [3, 2])])
def test_no_more_rows_are_taken_than_there_is_room_for_but_whole_tiles_where_they_have_to_be(
    causal: bool, most: int, taken: list[int]
) -> None:
    pending = [row_token(7, row) for row in range(5)]
    embeddings = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    places = np.array([[0, 1, 2, 0, 1]], np.int32)
    shown = Picture(7, tuple(pending), embeddings, places, (3, 5), causal)
    held, seen, positions = list(range(40)), list[float](), list[int]()
    for count in taken:
        rows = next_rows(0, held, pending, {7: shown}, most)
        assert rows.tokens == pending[:count]
        seen += rows.embeddings[:, 0].tolist()
        positions += rows.positions[0].tolist()
        held += rows.tokens
        del pending[:count]
    assert seen == [0, 2, 4, 6, 8]
    assert positions == [40, 41, 42, 43, 44]


def test_in_two_dimensions_a_tile_takes_as_many_positions_as_its_longer_side() -> None:
    tile = [row_token(7, row, step) for row, step in enumerate([0, 0, 0, 0, 0, 3])]
    held = [1, 2, *tile, 3]
    assert position(held) == 2 + 3 + 1
    assert [ends_in_tile(held[:length]) for length in (0, 2, 3, 7, 8, 9)] == [False, False, True, True, False, False]
