"""Third-party packages that exist for one test: a module and the metadata that an installer would leave."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

FIVE_ENGINES = '''
"""Engines that do nothing but write down what happens to them."""

from typing import Annotated, Literal

import msgspec

from pipeline.errors import EngineError
from pipeline.stages import LanguageModelCapabilities, TranscriberCapabilities

events = []


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    voice: Annotated[str, msgspec.Meta(description="Who speaks.")] = "anna"
    threads: Annotated[int, msgspec.Meta(ge=1, le=8)] = 2
    speed: float = 1.0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    stop: tuple[str, ...] = ()
    fail: str | None = None


class Fake:
    Options = Options
    concurrency = 3

    def __init__(self, options):
        self.options = options
        self.name = f"{self.stage}/{options.voice}"
        if options.fail == "load":
            raise EngineError("There is no such voice.", "Choose another.", option="voice")
        if options.fail == "bug":
            raise ZeroDivisionError("division by zero")
        events.append(f"load {self.name}")

    def warm_up(self):
        events.append(f"warm {self.name}")
        if self.options.fail == "warm_up":
            raise EngineError("It stays cold.", "Heat it.")

    def close(self):
        events.append(f"close {self.name}")
        if self.options.fail == "close":
            raise RuntimeError("stuck")


class Vad(Fake):
    stage = "vad"


class Endpointing(Fake):
    stage = "endpointing"


class Transcription(Fake):
    stage = "transcription"
    capabilities = TranscriberCapabilities(languages=frozenset({"en"}))


class Llm(Fake):
    stage = "llm"
    capabilities = LanguageModelCapabilities(context=None, concurrency=2)


class Tts(Fake):
    stage = "tts"
'''

STAGE_CLASSES = {stage: {"fake": stage.capitalize()} for stage in ("vad", "endpointing", "transcription", "llm", "tts")}


class Packages:
    """Installs packages into a folder on `sys.path`."""

    def __init__(self, site: Path) -> None:
        self._site = site
        self.modules: list[str] = []

    def install(self, name: str, source: str, engines: Mapping[str, Mapping[str, str]]) -> str:
        """Installs a package of one module with engines: stage → engine name → class. Returns the module's name."""
        module = name.replace("-", "_")
        self.modules.append(module)
        (self._site / f"{module}.py").write_text(source)
        metadata = self._site / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = []
        for stage, classes in engines.items():
            lines.append(f"[parley.{stage}]")
            lines.extend(f"{engine} = {module}:{found}" for engine, found in classes.items())
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        return module

    def install_fakes(self) -> str:
        """Installs a package with an engine `fake` for every stage. Returns the module's name."""
        return self.install("parley-fakes", FIVE_ENGINES, STAGE_CLASSES)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    installed = Packages(site)
    yield installed
    for module in installed.modules:
        sys.modules.pop(module, None)
