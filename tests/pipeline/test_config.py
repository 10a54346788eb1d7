"""The promise of models.yaml: whoever makes a mistake is told the file, the line, the key and the mend."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import (
    DEFAULT_INSTRUCTIONS,
    DEFAULT_TIMEOUTS,
    Config,
    UnknownModelError,
    find_config,
    load_config,
    shipped_config,
)
from pipeline.errors import ConfigError
from pipeline.registry import STAGES
from tests.pipeline.packages import Packages

Load = Callable[[str], Config]

GOOD = """\
default: mini
models:
  mini:
    vad: {engine: fake}
    endpointing: {engine: fake}
    transcription: {engine: fake, timeout: 2.5}
    llm: {engine: fake, threads: 4}
    tts:
      engine: fake
      voice: bert
aliases: {"gpt-realtime*": default, "gpt-4o-*realtime*": mini}
voices: {alloy: anna}
"""


@pytest.fixture
def load(packages: Packages, tmp_path: Path) -> Load:
    packages.install_fakes()

    def load(text: str) -> Config:
        file = tmp_path / "models.yaml"
        file.write_text(text, encoding="utf-8")
        return load_config(file)

    return load


def refused(load: Load, text: str) -> str:
    """Returns the complaint, without the folder."""
    with pytest.raises(ConfigError) as raised:
        load(text)
    complaint = str(raised.value)
    assert "models.yaml" in complaint, "every complaint names the file"
    return complaint[complaint.index("models.yaml") :]


# --- what is read ---------------------------------------------------------------------------------------------


def test_a_block_becomes_the_engine_its_options_and_the_timeout(load: Load) -> None:
    mini = load(GOOD).pipeline("mini")
    assert mini.transcription.timeout == 2.5
    assert mini.llm.options.threads == 4
    assert mini.tts.options.voice == "bert"
    assert [mini.stage(stage).engine for stage in STAGES] == ["fake"] * 5


def test_what_is_left_out_has_sensible_defaults(load: Load) -> None:
    mini = load(GOOD.replace("    endpointing: {engine: fake}\n", "")).pipeline("mini")
    assert mini.endpointing.engine == "silence"
    assert (mini.instructions, mini.speculation, mini.clause_streaming) == (DEFAULT_INSTRUCTIONS, True, True)
    assert mini.llm.timeout == DEFAULT_TIMEOUTS["llm"] == 30.0
    assert mini.tts.timeout == DEFAULT_TIMEOUTS["tts"] == 10.0


def test_instructions_and_speculation_belong_to_the_pipeline(load: Load) -> None:
    text = GOOD.replace("    vad:", "    instructions: Be brief.\n    speculation: false\n    vad:", 1)
    mini = load(text).pipeline("mini")
    assert (mini.instructions, mini.speculation) == ("Be brief.", False)


def test_whether_replies_are_said_by_clauses_belongs_to_the_pipeline(load: Load) -> None:
    text = GOOD.replace("    vad:", "    clause_streaming: off\n    vad:", 1)
    assert not load(text).pipeline("mini").clause_streaming


def test_voices_may_belong_to_the_file_or_to_the_pipeline(load: Load) -> None:
    config = load(GOOD.replace("    vad:", "    voices: {echo: bert}\n    vad:", 1))
    assert (config.voices, config.pipeline("mini").voices) == ({"alloy": "anna"}, {"echo": "bert"})
    assert load(GOOD).pipeline("mini").voices == {}


def test_a_voice_goes_by_names_of_the_pipeline_then_of_the_engine_then_of_the_file(load: Load) -> None:
    text = GOOD.replace("    vad:", "    voices: {echo: bert, alloy: bert, first: bert}\n    vad:", 1)
    names = load(text.replace("{alloy: anna}", "{alloy: anna, sage: anna, bert: anna, ash: else}")).voice_names(
        "mini", ("first", "anna", "bert")
    )
    assert {name: names[name] for name in ("echo", "alloy", "first")} == dict.fromkeys(
        ("echo", "alloy", "first"), "bert"
    )
    assert (names["bert"], names["anna"], names["sage"]) == ("bert", "anna", "anna")
    assert (names["ash"], names["coral"]) == ("first", "first"), "no voice of this engine, and nothing said"


def test_the_configuration_cannot_be_changed(load: Load) -> None:
    config = load(GOOD)
    with pytest.raises(AttributeError):
        config.default = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.models["other"] = config.models["mini"]  # type: ignore[index]


def test_blocks_are_equal_when_one_engine_can_serve_both(load: Load) -> None:
    mini = load(GOOD).pipeline("mini")
    again = load(GOOD.replace("threads: 4", "threads: 4, timeout: 5")).pipeline("mini")
    other = load(GOOD.replace("threads: 4", "threads: 5")).pipeline("mini")
    assert mini.llm == again.llm != other.llm
    assert mini.llm != mini.vad


def test_blocks_can_be_shared_by_yaml_anchors(load: Load) -> None:
    text = GOOD.replace("vad: {engine: fake}", "vad: &ears {engine: fake, threads: 3}")
    text = text.replace(
        "aliases:", "  other:\n    <<: &rest {endpointing: {engine: fake}}\n    vad: {<<: *ears, voice: x}\n"
    )
    text += "    transcription: *ears\n    llm: *ears\n    tts: *ears\n"
    text = text.replace(' {"gpt-realtime*": default, "gpt-4o-*realtime*": mini}\nvoices: {alloy: anna}\n', "")
    other = load(text).pipeline("other")
    assert (other.vad.options.threads, other.vad.options.voice) == (3, "x")
    assert (other.llm.options.threads, other.endpointing.engine) == (3, "fake")


# --- environment ----------------------------------------------------------------------------------------------


def test_variables_of_the_environment_are_put_into_texts(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "carla")
    mini = load(GOOD.replace("threads: 4", "voice: ${WHO}, stop: [a, 'x${WHO}${WHO}y']")).pipeline("mini")
    assert mini.llm.options.voice == "carla"
    assert mini.llm.options.stop == ("a", "xcarlacarlay")


def test_a_variable_that_is_not_set_is_an_error_with_the_key(load: Load) -> None:
    complaint = refused(load, GOOD.replace("threads: 4", "voice: ${NOT_SET_HERE}"))
    assert complaint.startswith(
        "models.yaml, line 7, models.mini.llm.voice: The environment variable NOT_SET_HERE is not set."
    )
    assert "export NOT_SET_HERE=" in complaint


def test_what_is_no_name_of_a_variable_is_an_error(load: Load) -> None:
    assert "`${A-B}` does not name" in refused(load, GOOD.replace("threads: 4", "voice: ${A-B}"))


def test_a_comment_may_mention_a_variable(load: Load) -> None:
    assert load("# ${NOT_SET_HERE}\n" + GOOD).default == "mini"


def test_a_value_of_the_environment_is_not_printed(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cr3t")
    complaint = refused(load, GOOD.replace("threads: 4", "threads: '${SECRET}'"))
    assert "s3cr3t" not in complaint
    assert "${SECRET}" in complaint


def test_what_only_another_pipeline_needs_does_not_stop_the_default(load: Load, packages: Packages) -> None:
    packages.install("broken", "import there_is_no_such_module", {"tts": {"broken": "X"}})
    block = GOOD[GOOD.index("    vad") : GOOD.index("aliases")]
    remote = "  remote:\n" + block.replace("threads: 4", "voice: ${NOT_SET_HERE}")
    broken = "  broken:\n" + block.replace("engine: fake\n      voice: bert", "engine: broken")
    config = load(GOOD.replace("aliases", remote + broken + "aliases"))
    assert config.names == ("mini", "remote", "broken")
    assert tuple(config.models) == ("mini",)
    with pytest.raises(ConfigError, match=r"models\.remote\.llm\.voice: .*NOT_SET_HERE is not set"):
        config.pipeline("remote")
    with pytest.raises(ConfigError, match=r"models\.broken\.tts\.engine: .*there_is_no_such_module"):
        config.pipeline("broken")


def test_a_lack_of_the_machine_hides_no_mistake_in_the_file(load: Load) -> None:
    block = GOOD[GOOD.index("    vad") : GOOD.index("aliases")]
    remote = "  remote:\n" + block.replace("threads: 4", "voice: ${NOT_SET_HERE}").replace("voice: bert", "vioce: bert")
    assert "models.remote.tts.vioce" in refused(load, GOOD.replace("aliases", remote + "aliases"))
    remote = "  remote:\n" + block.replace("threads: 4", "voice: ${NOT_SET_HERE}, thread: 4")
    assert "models.remote.llm.thread" in refused(load, GOOD.replace("aliases", remote + "aliases"))


# --- mistakes -------------------------------------------------------------------------------------------------

MISTAKES = {
    "unknown top key": ("voices:", "voces:", ["line 12, voces:", "Did you mean `voices`?"]),
    "no default": ("default: mini\n", "", ["The key `default` is missing.", "`default: mini`"]),
    "unknown default": ("default: mini", "default: mimi", ["line 1, default:", "Did you mean `mini`?"]),
    "default is no text": ("default: mini", "default: 3", ["line 1, default:", "has to be text, not a number"]),
    "no models": ("models:", "modles:", ["modles", "Did you mean `models`?"]),
    "a pipeline called default": ("  mini:", "  default:", ["models.default", "Call it something else"]),
    "empty pipeline": ("  mini:", "  empty:\n  mini:", ["line 3, models.empty:", "nothing here", "each stage"]),
    "missing stage": ("    vad: {engine: fake}\n", "", ["models.mini:", "no `vad` block", "`vad: {engine: …}`"]),
    "unknown stage": ("    vad:", "    vda:", ["line 4, models.mini.vda:", "Did you mean `vad`?"]),
    "a stage that is text": ("vad: {engine: fake}", "vad: fake", ["models.mini.vad:", "`engine:` and its options"]),
    "no engine": ("vad: {engine: fake}", "vad: {threads: 2}", ["models.mini.vad:", "The key `engine` is missing"]),
    "unknown engine": ("vad: {engine: fake}", "vad: {engine: fkae}", ["mini.vad.engine:", "mean `fake`?", "silero"]),
    "timeout is text": ("timeout: 2.5", "timeout: soon", ["transcription.timeout:", "a number of seconds, not text"]),
    "timeout is true": ("timeout: 2.5", "timeout: true", ["transcription.timeout:", "a number of seconds"]),
    "timeout is nothing": ("timeout: 2.5", "timeout: 0", ["transcription.timeout:", "above 0"]),
    "timeout is infinite": ("timeout: 2.5", "timeout: .inf", ["transcription.timeout:", "above 0"]),
    "unknown option": ("voice: bert", "vioce: bert", ["line 10, models.mini.tts.vioce:", "`voice`?", "`threads`"]),
    "option of the wrong kind": ("threads: 4", "threads: four", ["models.mini.llm.threads:", "whole number", "`four`"]),
    "option out of range": ("threads: 4", "threads: 9", ["models.mini.llm.threads:", "of at most 8, not `9`"]),
    "an unquoted no": ("voice: bert", "voice: no", ["models.mini.tts.voice:", 'Put it in quotes', "Who speaks"]),
    "not a choice": ("threads: 4", "device: cude", ["llm.device:", "`cude` is not", "`cuda`?", "`auto`, `cpu`"]),
    "inside a list": ("threads: 4", "stop: [a, 3]", ["models.mini.llm.stop[1]:", "has to be text"]),
    "speculation is text": ("    vad:", "    speculation: maybe\n    vad:", ["mini.speculation:", "true or false"]),
    "clause_streaming is a number": ("    vad:", "    clause_streaming: 0\n    vad:", ["mini.clause_streaming:"]),
    "instructions is a list": ("    vad:", "    instructions: [a]\n    vad:", ["mini.instructions:", "not a list"]),
    "alias to nothing": ('"gpt-realtime*": default', '"gpt-realtime*": mimi', ["aliases.gpt-realtime*:", "`mini`?"]),
    "voices is a list": ("{alloy: anna}", "[alloy]", ["line 12, voices:", "not a list", "{alloy: en-us}"]),
    "a voice that is a number": ("{alloy: anna}", "{alloy: 3}", ["line 12, voices.alloy:", "has to be text"]),
    "a pipeline's voices are text": ("    vad:", "    voices: alloy\n    vad:", ["models.mini.voices:", "not text"]),
    "a pipeline's voice is a list": ("    vad:", "    voices: {alloy: [a]}\n    vad:", ["models.mini.voices.alloy:"]),
    "a key twice": ("    llm:", "    vad: {engine: fake}\n    llm:", ["line 7, models.mini.vad:", "already in line 4"]),
    "a key that is no text": ("    llm:", "    no: x\n    llm:", ["line 7", '"no"']),
    "a block in itself": ("vad: {engine: fake}", "vad: &a {engine: fake, stop: [*a]}", ["contains itself"]),
    "a tab": ("    llm:", "\tllm:", ["line 7, column 1", "not YAML", "Indent with spaces"]),
    "a bracket left open": ("{alloy: anna}", "{alloy: anna", ["line 13, column 1", "not YAML"]),
    "a colon in a text": ("voice: bert", "voice: a: b", ["line 10, column 15", "in quotes"]),
    "an unknown tag": ("voice: bert", "voice: !secret bert", ["line 10, column 14", "!secret"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_with_place_key_and_mend(load: Load, mistake: str) -> None:
    right, wrong, said = MISTAKES[mistake]
    assert right in GOOD
    complaint = refused(load, GOOD.replace(right, wrong, 1))
    for words in said:
        assert words in complaint


def test_models_that_are_a_list_are_refused(load: Load) -> None:
    assert "models: This has to be keys with values" in refused(load, "default: a\nmodels: [a]\n")


def test_a_required_option_is_asked_for_with_its_meaning(load: Load, packages: Packages) -> None:
    packages.install(
        "needy",
        "import msgspec\nfrom typing import Annotated\n"
        "class O(msgspec.Struct):\n    model: Annotated[str, msgspec.Meta(description='A file.')]\n"
        "class E:\n    Options = O\n",
        {"llm": {"needy": "E"}},
    )
    complaint = refused(load, GOOD.replace("engine: fake, threads: 4", "engine: needy"))
    assert (
        "models.mini.llm: The engine `needy` needs the option `model`. Add `model: …`, which is: A file." in complaint
    )


def test_an_engine_cannot_have_an_option_that_belongs_to_the_pipeline(load: Load, packages: Packages) -> None:
    source = "import msgspec\nclass O(msgspec.Struct):\n    timeout: float = 1\nclass E:\n    Options = O\n"
    packages.install("greedy", source, {"llm": {"greedy": "E"}})
    assert "option called `timeout`" in refused(load, GOOD.replace("engine: fake, threads: 4", "engine: greedy"))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_what_it_needs(load: Load, text: str) -> None:
    assert refused(load, text) == "models.yaml: The file is empty. It needs `default` and `models`."


def test_a_file_that_is_not_utf8_or_has_control_characters_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"default: m\xfcni\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: This is not UTF-8"):
        load_config(tmp_path / "latin.yaml")
    assert "not YAML" in refused(load, "default: \x01\n")


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no such file") as raised:
        load_config(tmp_path / "mine.yaml")
    command = str(raised.value).split("a copy of it: ")[1]
    assert os.system(command) == 0
    assert (tmp_path / "mine.yaml").read_bytes() == shipped_config().read_bytes()


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


# --- which pipeline -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (None, "mini"),
        ("", "mini"),
        ("mini", "mini"),
        ("gpt-realtime", "mini"),
        ("gpt-realtime-2025-08-28", "mini"),
        ("gpt-4o-mini-realtime-preview", "mini"),
    ],
)
def test_a_client_finds_its_pipeline_by_name_by_alias_or_by_saying_nothing(
    load: Load, model: str | None, name: str
) -> None:
    assert load(GOOD).resolve(model) == name


def test_a_name_goes_before_an_alias_and_the_first_alias_before_the_second(load: Load) -> None:
    block = GOOD[GOOD.index("    vad") : GOOD.index("aliases")]
    text = GOOD.replace("aliases", f"  gpt-realtime-own:\n{block}aliases")
    text = text.replace('"gpt-realtime*": default', '"gpt-realtime-x": gpt-realtime-own, "gpt-realtime*": default')
    config = load(text)
    assert config.resolve("gpt-realtime-own") == "gpt-realtime-own"
    assert config.resolve("gpt-realtime-x") == "gpt-realtime-own"
    assert config.resolve("gpt-realtime-y") == "mini"


def test_an_unknown_model_is_answered_with_those_there_are(load: Load) -> None:
    config = load(GOOD)
    with pytest.raises(UnknownModelError, match=r"no model `minni` here. Did you mean `mini`\? Choose one of: `mini`"):
        config.resolve("minni")
    with pytest.raises(UnknownModelError, match=r"`mini` is not loaded. Start the server with --model mini"):
        config.resolve("mini", loaded=[])


def test_an_unknown_pipeline_is_answered_with_those_there_are(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"models\.yaml, line 2, models: There is no pipeline called `maxi`"):
        load(GOOD).pipeline("maxi")


# --- the one that comes with Parley ---------------------------------------------------------------------------


def test_the_shipped_file_serves_mini_to_clients_of_openai() -> None:
    config = load_config(shipped_config())
    assert config.resolve("gpt-realtime") == "mini"
    assert config.unusable == {}
    openai = {"alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"}
    assert set(config.voices) == openai
    assert len(set(config.voices.values())) == len(openai), "each sounds different"


def test_a_file_in_the_working_directory_goes_before_the_shipped_one(tmp_path: Path) -> None:
    assert find_config(tmp_path) == shipped_config()
    shutil.copy(shipped_config(), tmp_path / "models.yaml")
    assert find_config(tmp_path) == tmp_path / "models.yaml"


def test_an_installed_wheel_finds_the_file_by_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "lib" / "site"
    (site / "parley-9.dist-info").mkdir(parents=True)
    (site / "parley-9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: parley\nVersion: 9\n")
    (site / "parley-9.dist-info" / "RECORD").write_text("../../share/parley/models.yaml,,\n")
    (tmp_path / "share" / "parley").mkdir(parents=True)
    (tmp_path / "share" / "parley" / "models.yaml").write_text("default: mini\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr("pipeline.config.__file__", str(site / "pipeline" / "config.py"))
    assert shipped_config() == (tmp_path / "share" / "parley" / "models.yaml").resolve()
