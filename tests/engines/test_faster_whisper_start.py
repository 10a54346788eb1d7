"""What the engine `faster-whisper` promises of its start: where weights come from, what is refused, and why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import ctranslate2
import pytest

from pipeline.errors import EngineError, StageError
from pipeline.transcription import whisper_weights
from pipeline.transcription.faster_whisper import ComputeType
from tests.engines.whisper import WEIGHTS, Spy, make, refused, transcribe
from tests.speech import utterance

# --- wrong options and wrong files ----------------------------------------------------------------------------


def test_an_unsupported_compute_type_lists_the_others() -> None:
    able = ctranslate2.get_supported_compute_types("cpu")
    unable = next(kind for kind in get_args(ComputeType) if kind not in ("auto", "default", *able))
    message = refused("compute_type", compute_type=unable)
    for kind in ("auto", "default", *able):
        assert kind in message


def test_an_unknown_language_is_refused() -> None:
    assert "`de`, `en`" in refused("language", language="eng")
    with pytest.raises(StageError, match="'fr'"):
        make().open(language="fr")


def test_no_temperature_is_refused() -> None:
    refused("temperature", temperature=[])


def test_an_unknown_size_says_what_it_may_have_meant() -> None:
    assert "base.en" in refused("model", model="bas.en")
    assert "large-v3" in refused("model", model="large-v9")
    assert "hf:" in refused("model", model="Systran/faster-whisper-base")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "no folder" in refused("model", model=str(tmp_path / "none"))
    (tmp_path / "model.gguf").touch()
    assert "is a file" in refused("model", model=str(tmp_path / "model.gguf"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the weights, to be damaged."""
    return Path(shutil.copytree(WEIGHTS, tmp_path / "whisper"))


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    message = refused("model", model=str(tmp_path))
    assert "no model.bin" in message
    assert "ct2-transformers-converter" in message


@pytest.mark.parametrize("share", [0, 0.00001, 0.001, 0.5, 0.999, 0.99999])
def test_a_truncated_model_is_refused(folder: Path, share: float) -> None:
    whole = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(whole[: int(len(whole) * share)])
    assert "not whole" in refused("model", model=str(folder))


def test_another_file_by_the_name_of_a_model_is_refused(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"GGUF" + bytes(100_000))
    assert "not in the format" in refused("model", model=str(folder))


def test_another_network_is_refused(folder: Path) -> None:
    whole = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(whole.replace(b"WhisperSpec", b"WhisperNope", 1))
    assert "no Whisper" in refused("model", model=str(folder))


@pytest.mark.parametrize("change", [list[str].pop, lambda tokens: tokens.append("<|30.02|>")])
def test_the_vocabulary_of_another_model_is_refused(folder: Path, change: Callable[[list[str]], object]) -> None:
    tokens = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    change(tokens)
    (folder / "vocabulary.json").write_text(json.dumps(tokens), "utf-8")
    assert "different models" in refused("model", model=str(folder))


@pytest.mark.parametrize("name", ["tokenizer.json", "vocabulary.json", "config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert name.partition(".")[0] in refused("model", model=str(folder))


@pytest.mark.parametrize("name", ["tokenizer.json", "vocabulary.json", "config.json"])
def test_a_damaged_file_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text('{"model": ', "utf-8")
    assert name.partition(".")[0] in refused("model", model=str(folder))


@pytest.mark.parametrize("place", [4, 25, 60])
def test_a_damaged_header_is_refused(folder: Path, place: int) -> None:
    damaged = bytearray((folder / "model.bin").read_bytes())
    damaged[place] ^= 0xFF
    (folder / "model.bin").write_bytes(damaged)
    refused("model", model=str(folder))


def test_the_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    tokenizer["added_tokens"].pop(2)
    for number, token in enumerate(tokenizer["added_tokens"], tokenizer["added_tokens"][0]["id"]):
        token["id"] = number
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    assert "does not belong" in refused("model", model=str(folder))


def test_a_vocabulary_as_text_will_do(folder: Path) -> None:
    tokens = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    (folder / "vocabulary.json").unlink()
    (folder / "vocabulary.txt").write_text("".join(f"{token}\n" for token in tokens), "utf-8")
    assert transcribe(make(model=str(folder)), utterance("who made you")).text == "who made you"


def test_an_english_model_knows_english_only(folder: Path) -> None:
    tokens = json.loads((folder / "vocabulary.json").read_text("utf-8"))
    tokens[tokens.index("")] = "<none>"  # CTranslate2 tells the two kinds apart by this token
    (folder / "vocabulary.json").write_text(json.dumps(tokens), "utf-8")
    engine = make(model=str(folder), language="en-US")
    assert engine.capabilities.languages == {"en"}
    assert transcribe(engine, utterance("who made you")).language in ("en", None)
    assert "English only" in refused("language", model=str(folder), language="de")


# --- where weights come from ----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache: Path, repository: str, revision: str = "main") -> Path:
    """Puts the weights there as if they had been downloaded."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = cache / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / revision).write_text(commit)
    return Path(shutil.copytree(WEIGHTS, home / "snapshots" / commit))


@pytest.mark.parametrize(
    ("model", "repository", "revision"),
    [
        ("tiny", "Systran/faster-whisper-tiny", "main"),
        ("turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo", "main"),
        ("hf:somebody/a-whisper", "somebody/a-whisper", "main"),
        ("hf:somebody/a-whisper@v2", "somebody/a-whisper", "v2"),
    ],
)
def test_weights_that_were_downloaded_are_used(cache: Path, model: str, repository: str, revision: str) -> None:
    put(cache, repository, revision)
    assert transcribe(make(model=model), utterance("who made you")).text == "who made you"


@pytest.mark.parametrize("model", ["tiny", "hf:somebody/a-whisper"])
def test_weights_that_cannot_be_downloaded_stop_the_start(cache: Path, model: str) -> None:
    assert "not on this machine" in refused("model", model=model)


def test_a_repository_in_another_format_is_refused(cache: Path) -> None:
    (put(cache, "somebody/a-whisper") / "model.bin").unlink()
    assert "ct2-transformers-converter" in refused("model", model="hf:somebody/a-whisper")


def test_a_reference_to_one_file_is_refused() -> None:
    assert "hf:somebody/a-whisper." in refused("model", model="hf:somebody/a-whisper:model.bin")


# --- where it computes ----------------------------------------------------------------------------------------


@pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="there is a GPU here")
def test_without_a_gpu_cuda_stops_the_start_and_auto_takes_the_cpu() -> None:
    assert "CUDA does not work here" in refused("device", device="cuda")
    assert make(device="auto").device == "cpu"


@pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="there is a GPU here")
def test_cuda_is_tried_in_another_process() -> None:
    with pytest.raises(RuntimeError, match=r"CUDA|cuda"):
        whisper_weights._probe_cuda(WEIGHTS, "default")


@pytest.mark.skipif(ctranslate2.get_cuda_device_count() == 0, reason="there is no GPU here")
def test_computes_on_a_gpu() -> None:
    engine = make(device="cuda")
    assert engine.device.startswith("cuda (")
    assert transcribe(engine, utterance("who made you")).text == "who made you"


def test_a_model_that_cannot_be_computed_with_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make()
    spy = Spy(engine, monkeypatch)

    def refuse() -> None:
        raise RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED")

    spy.before_encoding = refuse
    with pytest.raises(EngineError, match="CUBLAS"):
        engine.warm_up()
