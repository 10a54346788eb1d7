"""What pipeline/hub.py promises, with huggingface_hub itself against a hub on loopback."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download, hf_hub_download

from pipeline import hub
from pipeline.errors import EngineError
from pipeline.hub import Reference
from tests.pipeline.fake_hub import COMMIT, FakeHub, running

WEIGHTS = bytes(range(256)) * 12_000
MODEL = Reference("some/model", None, "model.gguf")
FOLDER = Reference("some/model", None, None)
PATTERNS = ["*.json", "model.bin"]


@pytest.fixture
def the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that serves, and an empty cache."""
    fake = FakeHub(
        small={"config.json": b"{}", "README.md": b"read me", "vocabulary/words.json": b"[]"},
        large={"model.gguf": WEIGHTS, "model.bin": WEIGHTS[1:], "other.bin": b"other"},
    )
    with running(fake):
        point_to(fake.url, tmp_path / "cache", monkeypatch)
        yield fake


def point_to(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Does what HF_ENDPOINT and HF_HUB_CACHE do before huggingface_hub is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    for module in (constants, file_download):  # the latter for huggingface_hub before 1.0
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache.with_name("token")))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def refusal(reference: Reference, patterns: list[str] | None = None) -> EngineError:
    with pytest.raises(EngineError) as caught:
        hub.fetch_folder(reference, patterns, "voice") if patterns else hub.fetch_file(reference, "voice")
    assert caught.value.option == "voice"
    assert caught.value.problem.endswith(".")
    assert "\n" not in str(caught.value)
    return caught.value


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# --- references ---


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("hf:a/b", Reference("a/b", None, None)),
        ("hf:a/b:c.gguf", Reference("a/b", None, "c.gguf")),
        ("hf:A-1/b.2_c:dir/c d.onnx", Reference("A-1/b.2_c", None, "dir/c d.onnx")),
        ("hf:a/b@v1.0:c", Reference("a/b", "v1.0", "c")),
        ("hf:a/b@refs/pr/1", Reference("a/b", "refs/pr/1", None)),
    ],
)
def test_a_reference_names_repository_revision_and_file(text: str, reference: Reference) -> None:
    assert hub.parse(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize("text", ["", "base.en", "/models/a.gguf", "a/b", "C:model.gguf", "HF:a/b"])
def test_what_does_not_begin_with_hf_is_no_reference(text: str) -> None:
    assert hub.parse(text) is None


@pytest.mark.parametrize("text", ["hf:", "hf:a", "hf:a/b/c", "hf:a/b:", "hf:/b", "hf:a/b@:c", "hf: a/b", "hf:a/b: c"])
def test_a_reference_that_goes_on_wrong_is_refused(text: str) -> None:
    with pytest.raises(EngineError) as caught:
        hub.parse(text, "voice")
    assert caught.value.option == "voice"
    assert "hf:OWNER/REPOSITORY:model.gguf" in caught.value.mend


def test_a_reference_that_the_hub_cannot_have_is_refused_without_asking(the_hub: FakeHub) -> None:
    reference = hub.parse("hf:a--b/c:d")
    assert reference is not None
    assert "is no reference" in refusal(reference).problem
    assert the_hub.requests == []


# --- one file ---


@pytest.mark.parametrize("name", ["model.gguf", "config.json", "vocabulary/words.json"])
def test_a_file_is_downloaded_and_nothing_else(the_hub: FakeHub, name: str) -> None:
    file = hub.fetch_file(Reference("some/model", None, name))
    assert file.read_bytes() == the_hub.files[name]
    assert the_hub.downloads() == [name]


def test_a_file_of_a_revision_is_downloaded(the_hub: FakeHub) -> None:
    assert hub.fetch_file(Reference("some/model", COMMIT, "model.gguf")).read_bytes() == WEIGHTS


def test_what_is_here_is_used_without_asking(the_hub: FakeHub) -> None:
    first = hub.fetch_file(MODEL)
    the_hub.requests.clear()
    assert hub.fetch_file(MODEL) == first
    assert the_hub.requests == []


def test_a_damaged_file_is_removed_and_downloaded_again(the_hub: FakeHub) -> None:
    the_hub.damaged = True
    damaged = refusal(MODEL)
    assert "damaged" in damaged.problem
    assert hashlib.sha256(WEIGHTS).hexdigest() not in {
        file.name for file in Path(constants.HF_HUB_CACHE).rglob("*") if not file.name.endswith(".lock")
    }
    the_hub.damaged = False
    assert hub.fetch_file(MODEL).read_bytes() == WEIGHTS


def test_a_connection_that_breaks_is_taken_up_where_it_broke(the_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1_000_000)
    the_hub.breaks_after = 2_000_000
    assert hub.fetch_file(MODEL).read_bytes() == WEIGHTS
    assert the_hub.requests[-1].endswith(" bytes=2000000-")


def test_a_reference_without_a_file_is_refused() -> None:
    assert "names no file" in refusal(FOLDER).problem


# --- a folder ---


def test_a_folder_has_the_files_that_were_asked_for_and_nothing_else(the_hub: FakeHub) -> None:
    folder = hub.fetch_folder(FOLDER, PATTERNS)
    assert contents(folder) == {
        name: the_hub.files[name] for name in ("config.json", "vocabulary/words.json", "model.bin")
    }
    assert sorted(the_hub.downloads()) == sorted(contents(folder))


def test_a_folder_that_is_here_is_used_without_asking(the_hub: FakeHub) -> None:
    first = hub.fetch_folder(FOLDER, PATTERNS)
    the_hub.requests.clear()
    assert hub.fetch_folder(FOLDER, PATTERNS) == first
    assert the_hub.requests == []


def test_an_interrupted_folder_is_completed(the_hub: FakeHub) -> None:
    the_hub.damaged = True
    refusal(FOLDER, PATTERNS)  # after config.json and words.json, before model.bin
    the_hub.damaged = False
    the_hub.requests.clear()
    assert set(contents(hub.fetch_folder(FOLDER, PATTERNS))) >= {"config.json", "model.bin"}
    assert the_hub.downloads() == ["model.bin"]


def test_an_interrupted_folder_is_not_used_without_the_hub(
    the_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_hub.damaged = True
    refusal(FOLDER, PATTERNS)
    point_to("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    assert "cannot be reached" in refusal(FOLDER, PATTERNS).problem


def test_a_file_of_the_repository_is_not_taken_for_the_folder(the_hub: FakeHub) -> None:
    hub.fetch_file(MODEL)
    assert "config.json" in contents(hub.fetch_folder(FOLDER, PATTERNS))


def test_more_files_of_a_folder_are_added(the_hub: FakeHub) -> None:
    hub.fetch_folder(FOLDER, ["*.json"])
    the_hub.requests.clear()
    assert "other.bin" in contents(hub.fetch_folder(FOLDER, ["*.json", "other.bin"]))
    assert the_hub.downloads() == ["other.bin"]


def test_a_folder_that_somebody_else_downloaded_is_used_when_the_hub_is_away(
    the_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.json", "model.bin"):
        folder = Path(hf_hub_download("some/model", name)).parent
    point_to("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    assert hub.fetch_folder(FOLDER, PATTERNS) == folder


def test_a_repository_without_such_files_is_refused(the_hub: FakeHub) -> None:
    assert "no files such as *.onnx" in refusal(FOLDER, ["*.onnx"]).problem
    assert the_hub.downloads() == []


# --- what can be wrong ---


@pytest.mark.parametrize(
    ("reference", "problem", "mend"),
    [
        (Reference("some/typo", None, "model.gguf"), "no repository `some/typo`", "spelling"),
        (Reference("some/model", "v9", "model.gguf"), "no revision `v9`", "branches and tags"),
        (Reference("some/model", None, "typo.gguf"), "no file `typo.gguf`", "/some/model/tree/main lists"),
    ],
)
def test_what_is_not_there_is_named(the_hub: FakeHub, reference: Reference, problem: str, mend: str) -> None:
    missing = refusal(reference)
    assert problem in missing.problem
    assert mend in missing.mend


def test_a_folder_of_what_is_not_there_is_named(the_hub: FakeHub) -> None:
    assert "no repository" in refusal(Reference("some/typo", None, None), PATTERNS).problem
    assert "no revision" in refusal(Reference("some/model", "v9", None), PATTERNS).problem


@pytest.mark.parametrize("patterns", [None, PATTERNS])
@pytest.mark.parametrize(
    ("answer", "problem", "mend"),
    [
        ((401, "GatedRepo"), "lets in", "HF_TOKEN"),
        ((403, "GatedRepo"), "lets in", "HF_TOKEN"),
        ((403, ""), "refuses", "HF_TOKEN"),
        ((500, ""), "HTTP 500", "later"),
        ((503, ""), "HTTP 503", "later"),
        ((429, ""), "HTTP 429", "later"),
    ],
)
def test_a_hub_that_refuses_is_understood(
    the_hub: FakeHub, answer: tuple[int, str], problem: str, mend: str, patterns: list[str] | None
) -> None:
    the_hub.refuses = answer
    refused = refusal(MODEL, patterns)
    assert problem in refused.problem
    assert mend in refused.mend
    assert len(the_hub.requests) == 1  # it is not asked again and again


@pytest.mark.parametrize("patterns", [None, PATTERNS])
def test_a_hub_that_is_away_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patterns: list[str] | None
) -> None:
    point_to("http://127.0.0.1:9", tmp_path, monkeypatch)
    away = refusal(MODEL, patterns)
    assert "cannot be reached" in away.problem
    assert "give the path" in away.mend


@pytest.mark.parametrize("patterns", [None, PATTERNS])
def test_a_hub_that_does_not_answer_is_not_waited_for(
    the_hub: FakeHub, monkeypatch: pytest.MonkeyPatch, patterns: list[str] | None
) -> None:
    monkeypatch.setattr(hub, "_ANSWER_S", 0.2)
    the_hub.hangs = threading.Event()
    try:
        assert "no answer" in (silent := refusal(MODEL, patterns)).problem or "imeout" in silent.problem
        assert len(the_hub.requests) == 1
    finally:
        the_hub.hangs.set()


def test_an_address_that_is_looked_up_for_ever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_ANSWER_S", 0.1)
    ended = threading.Event()
    with pytest.raises(hub._UnreachableError, match="no answer"):
        hub._ask(ended.wait)
    ended.set()


def test_a_server_that_is_no_hub_is_noticed(the_hub: FakeHub) -> None:
    the_hub.refuses = 200, ""
    assert "is no hub" in refusal(MODEL).problem
    assert "cannot be reached" in refusal(FOLDER, PATTERNS).problem


def test_a_cache_that_cannot_be_written_is_named(the_hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where the folder should be")
    assert str(tmp_path / "cache") in (full := refusal(MODEL)).problem
    assert "HF_HOME" in full.mend


# --- who is told what ---


def test_a_token_is_sent_only_if_there_is_one(the_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.fetch_file(MODEL)
    assert the_hub.tokens == set()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.fetch_file(Reference("some/model", None, "other.bin"))
    hub.fetch_folder(FOLDER, ["*.json"])
    assert the_hub.tokens == {"127.0.0.1 Bearer hf_secret"}


FETCH = """
import sys
from pipeline import hub
from pipeline.errors import EngineError
try:
    print(hub.fetch_file(hub.parse("hf:some/model:" + sys.argv[1])))
except EngineError as error:
    print(error)
"""


def fetch(the_hub: FakeHub, home: Path, name: str, **environment: str) -> str:
    """Fetches a file in a process of its own, which is told by the environment where the hub is."""
    told = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    told |= {"HF_ENDPOINT": the_hub.url, "HF_HOME": str(home), **environment}
    done = subprocess.run([sys.executable, "-c", FETCH, name], env=told, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_hub_is_told_nothing_else(the_hub: FakeHub, tmp_path: Path) -> None:
    assert Path(fetch(the_hub, tmp_path, "model.gguf")).read_bytes() == WEIGHTS
    assert {request.split()[1].split("/")[1] for request in the_hub.requests} == {"some", "cdn"}
    assert not [agent for agent in the_hub.agents if "torch" in agent or "agent/" in agent]


def test_offline_nothing_is_asked(the_hub: FakeHub, tmp_path: Path) -> None:
    fetch(the_hub, tmp_path, "model.gguf")
    the_hub.requests.clear()
    assert Path(fetch(the_hub, tmp_path, "model.gguf", HF_HUB_OFFLINE="1")).read_bytes() == WEIGHTS
    assert "HF_HUB_OFFLINE forbids" in fetch(the_hub, tmp_path, "other.bin", HF_HUB_OFFLINE="1")
    assert the_hub.requests == []
