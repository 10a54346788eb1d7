"""What each option of llama-cpp does, and what files it takes."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import llama_cpp as c
import pytest

from pipeline.config import load_config
from pipeline.errors import EngineError
from pipeline.llm.llama_cache import CacheOptions
from pipeline.llm.llama_cpp import LlamaCpp
from pipeline.llm.llama_native import Cache, NativeError
from pipeline.types import Effort, GenerationRequest, Message, NamedTool, Prompt, TextDelta, Tool
from tests.engines import tiny_gguf
from tests.engines.llama import calls, end, generate, request, spell, text

SWITCH = tiny_gguf.CHATML + "{% if add_generation_prompt and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
ALWAYS_THINKS = tiny_gguf.CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}"
CUTS_THOUGHTS = (
    "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}<|im_start|>assistant{{ '\n' }}"
)


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


def refusal(**options: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        LlamaCpp(LlamaCpp.Options(**options))
    return caught.value


def tokens_of(engine: LlamaCpp, asked: GenerationRequest) -> list[int]:
    """The tokens of a reply, as the model draws them."""
    drawn: list[int] = []
    vocabulary = engine._model.vocabulary
    piece = vocabulary.piece
    vocabulary.piece = lambda token: drawn.append(token) or piece(token)  # type: ignore[method-assign,func-returns-value]
    generate(engine.open(), asked)
    vocabulary.piece = piece  # type: ignore[method-assign]
    return drawn


# --- how a reply ends -----------------------------------------------------------------------------------------


def test_a_reply_ends_where_a_stop_string_comes_which_is_not_shown(load: Callable[..., LlamaCpp]) -> None:
    asked = request("what is the capital of france")
    whole = generate(load(model="builtin").open(), asked)
    pieces = [output.text for output in whole if isinstance(output, TextDelta)]
    before, stop = "".join(pieces[:2]) + pieces[2][:1], pieces[2][1:] + pieces[3][:2]
    outputs = generate(load(model="builtin", stop=("never said", stop)).open(), asked)
    assert stop not in before
    assert text(outputs) == before
    assert (end(outputs).reason, end(outputs).output_tokens) == ("stop", 4)


def test_what_began_like_a_stop_string_is_shown_at_the_end(load: Callable[..., LlamaCpp]) -> None:
    whole = text(generate(load().open(), request("Hi")))
    assert text(generate(load(stop=(whole[-2:] + "never said",)).open(), request("Hi"))) == whole


# --- how tokens are drawn -------------------------------------------------------------------------------------


def test_penalties_keep_a_reply_from_repeating_itself(load: Callable[..., LlamaCpp]) -> None:
    asked = request("Hello there?", max_tokens=48)
    free = tokens_of(load(), asked)
    assert len(set(free)) < len(free)
    for penalty in ({"repeat_penalty": 10.0}, {"presence_penalty": 2.0}, {"frequency_penalty": 2.0}):
        assert tokens_of(load(**penalty), asked) != free, penalty
        assert tokens_of(load(**penalty, repeat_last_n=0), asked) == free, penalty
    assert len(set(tokens_of(load(repeat_penalty=10.0, repeat_last_n=512), asked))) > len(set(free))
    assert tokens_of(load(frequency_penalty=2.0), asked) != tokens_of(load(presence_penalty=2.0), asked)
    close = tokens_of(load(repeat_penalty=10.0, repeat_last_n=1), asked)
    assert not any(one == other for one, other in pairwise(close))
    assert close != tokens_of(load(repeat_penalty=10.0), asked)


def test_penalties_do_not_touch_a_call_that_has_to_be_made(load: Callable[..., LlamaCpp]) -> None:
    numbers = {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}
    tool = Tool("add", "", {"type": "object", "properties": {"numbers": numbers}, "required": ["numbers"]})
    asked = GenerationRequest(Prompt((Message("user", "Hi"),), (tool,)), 200, tool_choice=NamedTool("add"))
    free = calls(generate(load(context=1024).open(), asked))
    for penalty in ({"repeat_penalty": 10.0}, {"presence_penalty": 2.0}, {"frequency_penalty": 2.0}):
        assert calls(generate(load(context=1024, **penalty).open(), asked)) == free


def test_each_way_to_narrow_the_choice_does(load: Callable[..., LlamaCpp]) -> None:
    asked = request("Hello there?", max_tokens=40)
    likeliest = text(generate(load().open(), asked))
    wide = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0}
    assert text(generate(load(**wide).open(), asked)) != likeliest
    for narrow in ({"top_k": 1}, {"top_p": 0.001}, {"min_p": 1}):
        assert text(generate(load(**wide | narrow).open(), asked)) == likeliest, narrow


def test_a_request_may_set_what_the_options_set(load: Callable[..., LlamaCpp]) -> None:
    asked = request("Hello there?", max_tokens=40)
    wide = load(temperature=1, top_k=0, min_p=0, top_p=1)
    likeliest = text(generate(load().open(), asked))
    assert text(generate(wide.open(), replace(asked, top_p=0.001))) == likeliest
    first, second = (text(generate(wide.open(), replace(asked, seed=7))) for _ in range(2))
    assert first == second != text(generate(wide.open(), replace(asked, seed=8)))
    free = tokens_of(load(), asked)
    for penalty in ({"presence_penalty": 2.0}, {"frequency_penalty": 2.0}):
        assert tokens_of(load(), replace(asked, **penalty)) == tokens_of(load(**penalty), asked) != free  # type: ignore[arg-type]
    stop = likeliest[5:8]
    assert text(generate(load().open(), replace(asked, stop=(stop,)))) == likeliest[: likeliest.index(stop)]


# --- memory and attention -------------------------------------------------------------------------------------


def state_size(engine: LlamaCpp) -> int:
    """Bytes of what is kept of a prompt."""
    talk = engine.open()
    generate(talk, request("x" * 200, max_tokens=1))
    return int(c.llama_state_seq_get_size(engine._scheduler._owner._context.handle, 0))


def test_histories_take_less_memory_in_smaller_types(load: Callable[..., LlamaCpp]) -> None:
    f32, f16, q8, q4 = (state_size(load(kv_type=kind)) for kind in ("f32", "f16", "q8_0", "q4_0"))
    assert f32 > 1.8 * f16
    assert f16 > 1.6 * q8
    assert q8 > 1.6 * q4
    only_keys, only_values = state_size(load(k_type="q8_0")), state_size(load(v_type="q8_0"))
    assert q8 < only_keys < f16
    assert q8 < only_values < f16
    assert state_size(load(kv_type="q4_0", k_type="f16", v_type="f16")) == f16


@pytest.mark.parametrize("kind", ["f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"])
def test_replies_are_made_with_every_type(load: Callable[..., LlamaCpp], kind: str) -> None:
    assert end(generate(load(kv_type=kind).open(), request("Hi"))).output_tokens == 24


def test_quantised_values_need_flash_attention(weights: Path) -> None:
    for given, option in (({"kv_type": "q8_0"}, "kv_type"), ({"v_type": "q4_0"}, "v_type")):
        error = refusal(model=str(weights), flash_attention="off", **given)
        assert (error.option, "flash attention" in error.problem) == (option, True)


def test_quantised_keys_do_not(load: Callable[..., LlamaCpp]) -> None:
    assert generate(load(k_type="q8_0", flash_attention="off").open(), request("Hi"))


def test_keys_are_kept_so_that_replies_do_not_depend_on_others_where_nothing_else_is_wanted() -> None:
    def kept(*options: Any, shared: bool = True) -> list[tuple[str, str]]:
        tried: list[tuple[str, str]] = []

        def make(cache: Cache) -> None:
            tried.append((cache.keys, cache.values))
            if cache.keys == "q8_0" and options[0] == "auto":
                raise NativeError("the heads have another size")

        CacheOptions(*options).start(make, shared=shared)
        return tried

    assert kept("auto", None, None, "auto") == [("q8_0", "f16"), ("f16", "f16")]
    assert kept("auto", None, None, "on", shared=False) == [("f16", "f16")]
    assert kept("auto", None, None, "off") == [("f16", "f16")]
    assert kept("f16", None, None, "auto") == [("f16", "f16")]
    assert kept("auto", "f32", None, "auto") == [("f32", "f16")]
    assert kept("q4_0", "auto", None, "auto") == [("q8_0", "q4_0")]
    assert kept("q8_0", None, "auto", "auto") == [("q8_0", "f16")]


def test_with_flash_attention_and_without_a_model_says_the_same(
    load: Callable[..., LlamaCpp], caplog: pytest.LogCaptureFixture
) -> None:
    asked = request("what is the capital of france")
    said = {}
    for choice in ("on", "off", "auto"):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "llama.cpp"):
            said[choice] = text(generate(load(model="builtin", flash_attention=choice).open(), asked))
        logged = {"on": "enabled", "off": "disabled"}.get(choice, choice)
        assert f"flash_attn = {logged}" in " ".join(caplog.text.split())
    assert said["on"] == said["auto"]
    assert said["on"][:16] == said["off"][:16]


# --- where it computes ----------------------------------------------------------------------------------------


def test_the_cpu_is_the_cpu(load: Callable[..., LlamaCpp], weights: Path) -> None:
    engine = load(device="cpu")
    assert engine.device == "cpu"
    assert not engine._model.on_gpu
    error = refusal(model=str(weights), device="cpu", gpu_layers=3)
    assert error.option == "gpu_layers"


@pytest.mark.skipif(c.llama_supports_gpu_offload(), reason="llama.cpp is built for a GPU here")
def test_cuda_stops_the_start_where_it_is_not(load: Callable[..., LlamaCpp], weights: Path) -> None:
    error = refusal(model=str(weights), device="cuda")
    assert (error.option, "built without CUDA" in error.problem) == ("device", True)
    assert load(device="auto", gpu_layers=3).device == "cpu"


# --- templates and reasoning ----------------------------------------------------------------------------------


def prompt_of(engine: LlamaCpp, effort: Effort | None = None) -> str:
    asked = GenerationRequest(Prompt((Message("user", "Hi"),)), effort=effort)
    return spell(engine, engine._prepare(asked, None)[0].prompt)


def test_a_chat_template_of_ones_own_takes_the_place_of_the_models(
    load: Callable[..., LlamaCpp], tmp_path: Path
) -> None:
    source = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"
    (tmp_path / "mine.jinja").write_text(source)
    for given in (source, str(tmp_path / "mine.jinja")):
        assert prompt_of(load(chat_template=given)) == "[user] Hi\n[assistant]"


@pytest.mark.parametrize("given", ["nowhere.jinja", "{% for %}", "/"])
def test_a_chat_template_that_cannot_be_read_is_refused(weights: Path, given: str) -> None:
    assert refusal(model=str(weights), chat_template=given).option == "chat_template"


def test_thinking_is_off_unless_it_is_asked_for(load: Callable[..., LlamaCpp]) -> None:
    off, on = load(chat_template=SWITCH), load(chat_template=SWITCH, thinking=True)
    assert prompt_of(off).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert prompt_of(off, effort="low").endswith("<|im_start|>assistant\n")
    assert prompt_of(on).endswith("<|im_start|>assistant\n")
    assert prompt_of(on, effort="minimal") == prompt_of(off)


@pytest.mark.parametrize("source", [ALWAYS_THINKS, CUTS_THOUGHTS])
def test_thoughts_are_over_at_once_where_a_model_cannot_be_told(load: Callable[..., LlamaCpp], source: str) -> None:
    engine = load(chat_template=source)
    assert prompt_of(engine).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not prompt_of(engine, effort="high").endswith("</think>\n\n")
    assert text(generate(engine.open(), request("Hi"))), "the reply is no thought"


def test_a_call_that_has_to_be_made_is_no_thought(load: Callable[..., LlamaCpp]) -> None:
    engine = load(chat_template=ALWAYS_THINKS, context=1024)
    asked = GenerationRequest(
        Prompt((Message("user", "Hi"),), (Tool("now", "", {"additionalProperties": False}),)),
        max_tokens=60,
        tool_choice="required",
        parallel_tool_calls=False,
        effort="medium",
    )
    prompt = spell(engine, engine._prepare(asked, None)[0].prompt)
    assert prompt.endswith("<think>\n\n</think>\n\n<tool_call>\n")
    assert calls(generate(engine.open(), asked)) == [("now", "{}")]


def test_whether_a_model_can_think_is_told(load: Callable[..., LlamaCpp], tmp_path: Path) -> None:
    assert load(chat_template=SWITCH).capabilities.reasoning
    assert load(chat_template="{{ messages[0].content }}").capabilities.reasoning, "its vocabulary has <think>"
    assert not load(model="builtin").capabilities.reasoning


# --- files ----------------------------------------------------------------------------------------------------


def test_a_model_in_several_files_is_loaded_from_any_of_them(load: Callable[..., LlamaCpp], tmp_path: Path) -> None:
    whole = tiny_gguf.write(tmp_path / "whole.gguf", never_ends=True)
    tiny_gguf.write(tmp_path / "parts.gguf", never_ends=True, tensors_a_file=8)
    parts = sorted(tmp_path.glob("parts-*.gguf"))
    assert len(parts) > 2
    said = text(generate(load(model=str(whole)).open(), request("Hi")))
    for part in parts[:2]:
        assert text(generate(load(model=str(part)).open(), request("Hi"))) == said
    parts[1].unlink()
    error = refusal(model=str(parts[0]))
    assert (error.option, f"{parts[1].name} is missing" in error.problem) == ("model", True)


def test_a_reference_to_the_hub_is_a_file_of_its_cache(
    load: Callable[..., LlamaCpp], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    home, commit = tmp_path / "models--parley--tiny", "0" * 40
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    folder = home / "snapshots" / commit
    folder.mkdir(parents=True)
    tiny_gguf.write(folder / "one.gguf")
    tiny_gguf.write(folder / "parts.gguf", tensors_a_file=8)
    count = len(list(folder.glob("parts-*")))
    for name in ("one.gguf", f"parts-00001-of-0000{count}.gguf"):
        assert generate(load(model=f"hf:parley/tiny:{name}").open(), request("Hi"))
    assert "names no file" in refusal(model="hf:parley/tiny").problem
    assert "no reference" in refusal(model="hf:tiny").problem


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("adapter", tiny_gguf.write_adapter),
        ("encoder", tiny_gguf.write_encoder),
        ("vocabulary", lambda path: tiny_gguf.write(path, with_weights=False)),
        ("embeddings", lambda path: tiny_gguf.write(path, pooling=gguf.PoolingType.LAST)),
        ("ranking", lambda path: tiny_gguf.write(path, pooling=gguf.PoolingType.RANK)),
        ("unknown", lambda path: tiny_gguf.finish(gguf.GGUFWriter(path, "martian"), path)),
    ],
)
def test_a_file_that_holds_no_model_that_writes_is_refused(
    tmp_path: Path, kind: str, write: Callable[[Path], Path]
) -> None:
    error = refusal(model=str(write(tmp_path / f"{kind}.gguf")))
    assert (error.option, "cannot be loaded" in error.problem) == ("model", True)


def test_a_file_that_is_cut_anywhere_is_refused(weights: Path, tmp_path: Path) -> None:
    whole = weights.read_bytes()
    header = whole.index(b"blk.1.ffn_norm.weight")
    places = [4, 8, 16, 24, 31, *range(40, header, header // 20), header + 10, len(whole) - 1]
    for size in places:
        (tmp_path / "cut.gguf").write_bytes(whole[:size])
        assert refusal(model=str(tmp_path / "cut.gguf")).option == "model", size


def test_a_template_that_fails_when_it_is_used_stops_the_start(load: Callable[..., LlamaCpp]) -> None:
    engine = load(chat_template="{{ nothing.at.all }}")
    with pytest.raises(EngineError, match="undefined") as caught:
        engine.warm_up()
    assert caught.value.option == "chat_template"


@pytest.mark.parametrize("written", ["on", "off", "auto"])
def test_on_and_off_need_no_quotes_although_yaml_takes_them_for_true_and_false(tmp_path: Path, written: str) -> None:
    file = tmp_path / "models.yaml"
    others = "vad: {engine: silero}, transcription: {engine: pocketsphinx}, tts: {engine: espeak-ng}"
    llm = f"{{engine: llama-cpp, flash_attention: {written}}}"
    file.write_text(f"default: one\nmodels: {{one: {{{others}, llm: {llm}}}}}\n")
    assert load_config(file).pipeline("one").llm.options.flash_attention == written
