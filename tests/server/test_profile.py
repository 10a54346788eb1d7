"""Which voices clients may name, and what is said of names in models.yaml that lead nowhere."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, load_config
from pipeline.errors import ConfigError
from pipeline.line import Line
from pipeline.openai_voices import OPENAI_VOICES
from pipeline.stages import SynthesizerCapabilities
from pipeline.tts.piper import Piper
from server.profile import check_voices, profile_of
from tests.fakes import FakeVoice, fake_line
from tests.pipeline.packages import Packages, packages
from tests.piper_voice import make_voice

__all__ = ["packages"]

CONFIG = """
default: robot
models:
  robot: &robot
    vad: {engine: fake}
    transcription: {engine: fake}
    llm: {engine: fake}
    tts: {engine: espeak-ng, voice: en-us}
  person:
    <<: *robot
    tts: {engine: piper, voice: PIPER}
    voices: {nova: anna, own: bert}
voices: {alloy: en-us+f3, echo: en-us+m2}
"""

VOICES = {"robot": ("en-us", "en-us+f3", "en-us+m2"), "person": ("anna", "bert")}


@pytest.fixture(autouse=True)
def engines(packages: Packages) -> None:
    packages.install_fakes()


def read(folder: Path, text: str) -> Config:
    file = folder / "models.yaml"
    file.write_text(text)
    return load_config(file)


def line_of(config: Config, name: str, tts: Any) -> Line:
    return dataclasses.replace(fake_line(tts=tts), name=name, config=config.pipeline(name))


def loaded(config: Config, *names: str) -> dict[str, Line]:
    """Lines whose speech engines have the voices above, and do not speak."""
    lines = {}
    for name in names:
        voice = FakeVoice()
        voice.capabilities = SynthesizerCapabilities(VOICES[name], frozenset({"en"}))
        lines[name] = line_of(config, name, voice)
    return lines


def refused(config: Config, *names: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_voices(loaded(config, *names), config)
    return str(caught.value)


def test_names_lead_to_voices_of_the_pipelines_own_engine(tmp_path: Path) -> None:
    config = read(tmp_path, CONFIG)
    lines = loaded(config, "robot", "person")
    check_voices(lines, config)
    robot, person = (profile_of(lines[name], config).voices for name in ("robot", "person"))
    assert (robot["alloy"], robot["echo"], robot["nova"]) == ("en-us+f3", "en-us+m2", "en-us")
    assert (person["alloy"], person["nova"], person["own"]) == ("anna", "anna", "bert")
    assert "own" not in robot
    assert "en-us" not in person


def test_every_pipeline_knows_the_names_of_openai(tmp_path: Path) -> None:
    config = read(tmp_path, CONFIG[: CONFIG.index("    voices:")])
    for line in loaded(config, "robot", "person").values():
        profile = profile_of(line, config)
        own = VOICES[line.name]
        assert {name: profile.voices[name] for name in OPENAI_VOICES} == dict.fromkeys(OPENAI_VOICES, own[0])
        assert {name: profile.voices[name] for name in own} == {name: name for name in own}


def test_names_of_the_pipeline_go_before_the_engines_and_these_before_names_of_the_file(tmp_path: Path) -> None:
    text = CONFIG.replace("{nova: anna, own: bert}", "{alloy: bert, anna: bert}").replace("echo: en", "bert: en")
    config = read(tmp_path, text)
    voices = profile_of(loaded(config, "person")["person"], config).voices
    assert (voices["alloy"], voices["anna"], voices["bert"]) == ("bert", "bert", "bert")


def test_a_name_of_the_pipeline_that_leads_to_no_voice_of_its_engine_stops_the_start(tmp_path: Path) -> None:
    config = read(tmp_path, CONFIG.replace("nova: anna", "nova: ana"))
    complaint = refused(config, "person")
    assert "models.yaml, line 12, models.person.voices.nova: The engine `piper` has no voice `ana` here." in complaint
    assert "Did you mean `anna`? Some that it has: `anna`, `bert`." in complaint
    check_voices(loaded(config, "robot"), config)


def test_a_name_of_the_pipeline_may_not_borrow_a_voice_of_another(tmp_path: Path) -> None:
    config = read(tmp_path, CONFIG.replace("nova: anna", "nova: en-us"))
    assert "models.person.voices.nova" in refused(config, "robot", "person")


def test_a_name_of_the_file_that_leads_to_no_voice_of_any_pipeline_stops_the_start(tmp_path: Path) -> None:
    config = read(tmp_path, CONFIG.replace("alloy: en-us+f3", "alloy: en-us+f9"))
    complaint = refused(config, "robot", "person")
    assert "voices.alloy: No pipeline that is loaded has the voice `en-us+f9`. Did you mean `en-us+f3`?" in complaint


def test_a_name_of_the_file_may_lead_to_a_voice_of_a_pipeline_that_is_not_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = read(tmp_path, CONFIG)
    with caplog.at_level(logging.WARNING):
        check_voices(loaded(config, "person"), config)
    assert caplog.records == []


def test_a_name_of_the_file_that_is_likely_a_slip_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = read(tmp_path, CONFIG.replace("alloy: en-us+f3", "alloy: en-us+f9"))
    with caplog.at_level(logging.WARNING):
        check_voices(loaded(config, "robot"), config)
    (record,) = caplog.records
    assert "voices.alloy: No pipeline that is loaded has the voice `en-us+f9`" in record.getMessage()


def test_pipelines_that_share_the_engine_count_as_loaded(tmp_path: Path) -> None:
    text = CONFIG.replace("    tts: {engine: piper, voice: PIPER}\n    voices: {nova: anna, own: bert}\n", "")
    config = read(tmp_path, text.replace("alloy: en-us+f3", "alloy: nope"))
    assert "voices.alloy" in refused(config, "robot")


def test_a_piper_voice_speaks_under_the_names_that_espeak_ng_has_voices_for(tmp_path: Path) -> None:
    config = read(tmp_path, CONFIG.replace("nova: anna, own: bert", "own: en_US-tones-medium"))
    line = line_of(config, "person", Piper(Piper.Options(voice=str(make_voice(tmp_path)))))
    check_voices({"person": line}, config)
    names = [*OPENAI_VOICES, "own", "en_US-tones-medium"]
    assert profile_of(line, config).voices == dict.fromkeys(names, "en_US-tones-medium")


@pytest.mark.parametrize(
    ("block", "temperature"),
    [
        ("{engine: llama-cpp, model: builtin, temperature: 0.3}", 0.3),
        ("{engine: llama-cpp, model: builtin, temperature: 0}", 0.0),
        ('{engine: openai, base_url: "http://127.0.0.1:1/v1", model: m}', None),
        ("{engine: fake}", None),
    ],
)
def test_the_temperature_is_the_one_that_the_language_model_is_set_to(
    tmp_path: Path, block: str, temperature: float | None
) -> None:
    config = read(tmp_path, CONFIG.replace("llm: {engine: fake}", f"llm: {block}"))
    (line,) = loaded(config, "robot").values()
    assert profile_of(line, config).temperature == temperature


def test_a_pipeline_answers_to_its_name_and_to_aliases_that_lead_to_it(tmp_path: Path) -> None:
    config = read(tmp_path, CONFIG + 'aliases: {"gpt-realtime*": default, "other": person}\n')
    (line,) = loaded(config, "robot").values()
    answers_to = profile_of(line, config).answers_to
    names = ("robot", "gpt-realtime-2.1", "other", "person", "nobody", "")
    assert [answers_to(name) for name in names] == [True, True, False, False, False, False]
