"""The comparison that fills docs/performance.md: its pipelines can be served, its tables say what was measured."""

from pathlib import Path

import msgspec
import pytest
from yarl import URL

from pipeline.config import load_config
from pipeline.errors import ParleyError
from scripts.measure_turn_time import cases
from scripts.measure_turn_time.markdown import table
from server.bench.bench import Plan, Result, Server
from server.bench.turn import Turn
from server.cli.address import Address


@pytest.mark.parametrize("pipeline", [cases._mini(), cases._remote(9)], ids=["mini", "stubs"])
def test_the_same_pipeline_is_served_with_one_stage_after_the_other(tmp_path: Path, pipeline: cases.Pipeline) -> None:
    models = {"usual": pipeline, "sequential": pipeline | cases.SEQUENTIAL}
    (tmp_path / "models.yaml").write_bytes(msgspec.yaml.encode({"default": "usual", "models": models}))
    config = load_config(tmp_path / "models.yaml")
    usual, sequential = config.pipeline("usual"), config.pipeline("sequential")
    assert (usual.speculation, usual.clause_streaming) == (True, True)
    assert (sequential.speculation, sequential.clause_streaming) == (False, False)
    assert usual.llm == sequential.llm


def test_models_of_true_shape_are_found_where_they_were_made(tmp_path: Path) -> None:
    (tmp_path / "qwen3-0.6b-q4_0.gguf").touch()
    (tmp_path / "whisper-base").mkdir()
    (tmp_path / "whisper-base" / "model.bin").touch()
    (tmp_path / "piper-medium.onnx").touch()
    (tmp_path / "piper-medium.onnx.json").touch()
    ((name, pipeline),) = cases._of_true_shape(tmp_path)
    assert name == "whisper-base + qwen3-0.6b-q4_0 + piper-medium"
    assert pipeline["llm"]["model"] == str(tmp_path / "qwen3-0.6b-q4_0.gguf")
    assert pipeline["transcription"]["model"] == str(tmp_path / "whisper-base")
    assert pipeline["tts"]["voice"] == str(tmp_path / "piper-medium.onnx")


@pytest.mark.parametrize("folder", [None, Path("/")])
def test_where_there_are_no_models_it_says_how_to_make_them(folder: Path | None) -> None:
    with pytest.raises(ParleyError, match="make_bench_models"):
        list(cases._of_true_shape(folder))


def test_a_table_has_both_servers_and_how_one_compares_to_the_other() -> None:
    def server(label: str, ms: float) -> Result:
        turns = [Turn("q", {"end_to_audible": ms})]
        return Result(Server(label, Address(URL("ws://127.0.0.1:1"))), turns, seconds=1.0)

    results = [server("Parley", 600.0), server("sequential", 1200.0)]
    told = table(cases.Measured("m", "A title", Plan([]), results)).splitlines()
    assert told[0] == "**A title**"
    assert any(line.endswith("| 600 | 600 | 600 | 1200 | 1200 | 1200 | 0.50 |") for line in told)
    assert "- turns answered: 1 of 1; 1 of 1" in told
