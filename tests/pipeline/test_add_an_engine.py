"""docs/add-an-engine.md works as it stands."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import load_config
from pipeline.registry import find_engine
from pipeline.types import SpeechRequest
from pipeline.workers import CancelToken

PAGE = Path(__file__).parents[2] / "docs" / "add-an-engine.md"


@pytest.fixture
def blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Installs the page's package into a folder on the path, as pip would; returns its code blocks."""
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL))
    (tmp_path / "parley_morse.py").write_text(blocks["python"])
    info = tmp_path / "parley_morse-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parley-morse\nVersion: 1.0\n")
    group, line = re.search(r'entry-points\."(.*)"\]\n(.*)', blocks["toml"]).groups()  # type: ignore[union-attr]
    (info / "entry_points.txt").write_text(f"[{group}]\n{line.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield blocks
    sys.modules.pop("parley_morse", None)


def test_the_engine_of_the_page_is_found_and_speaks(blocks: dict[str, str], tmp_path: Path) -> None:
    models = tmp_path / "models.yaml"
    models.write_text(blocks["yaml"])
    stage = load_config(models).pipeline("telegraph").tts
    assert stage.options.hertz == 700
    engine = find_engine("tts", "morse").make(stage.options)
    sound = np.concatenate(list(engine.synthesize(SpeechRequest("sos"), CancelToken())))
    assert len(sound) > engine.rate
    assert np.abs(sound).max() > 7000


def test_its_options_are_checked(blocks: dict[str, str], tmp_path: Path) -> None:
    models = tmp_path / "models.yaml"
    models.write_text(blocks["yaml"].replace("700", "7"))
    with pytest.raises(Exception, match="hertz"):
        load_config(models)
