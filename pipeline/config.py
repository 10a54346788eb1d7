"""models.yaml → typed, frozen configuration. Every error names the file, the key and the mend.

    default: mini                       # the pipeline a client gets that does not choose
    models:
      mini:
        vad: {engine: silero}           # a block a stage: its engine, `timeout`, and the engine's own options
        endpointing: {engine: silence}  # may be left out
        transcription: {engine: pocketsphinx}
        llm: {engine: llama-cpp, model: builtin, timeout: 30}
        tts: {engine: espeak-ng, voice: en-us}
        instructions: …                 # what the model is told where a client says nothing
        speculation: true               # start the reply in the first quiet frames and hold it; compute the prompt
                                        # while the user still speaks
        clause_streaming: true          # say a reply clause by clause while the rest of it is being made
        voices: {alloy: en-us+f3}       # names of voices that lead to voices of this pipeline; go before those below
    aliases: {"gpt-realtime*": default} # names that lead to a pipeline; * and ? stand for any letters
    voices: {alloy: en-us+f3}           # the same for all pipelines that have the voice; in others the default speaks

What is wrong with the file itself is an error for every pipeline in it. What is wrong with this machine (an engine's
package that does not import, an environment variable that is not set) is an error for the pipelines that are
chosen: see `Config.pipeline`.
"""

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from pipeline.config_file import Document, KeyPath, MachineError, read_document
from pipeline.engine_options import convert_options, in_plain_words
from pipeline.errors import ConfigError, EngineError, ParleyError
from pipeline.openai_voices import OPENAI_VOICES
from pipeline.registry import STAGES, EngineClass, StageName, did_you_mean, engine_names, find_engine, listed

DEFAULT_INSTRUCTIONS: Final = (
    "You are Parley, a friendly voice assistant running on this machine. Answer in one or two short spoken sentences."
)

DEFAULT_TIMEOUTS: Final[Mapping[StageName, float]] = MappingProxyType(
    {"vad": 10.0, "endpointing": 10.0, "transcription": 10.0, "llm": 30.0, "tts": 10.0}
)
"""Seconds without a sign of life from a stage before the turn fails. A language model may read a long prompt first."""

_DEFAULT_BLOCKS: Final[Mapping[StageName, Mapping[str, object]]] = MappingProxyType(
    {"endpointing": {"engine": "silence"}}
)
_TOP_KEYS: Final = ("default", "models", "aliases", "voices")
_PIPELINE_KEYS: Final = (*STAGES, "instructions", "speculation", "clause_streaming", "voices")
_OWN_STAGE_KEYS: Final = ("engine", "timeout")
_VOICES_MEND: Final = "Write it as {alloy: en-us}."


class UnknownModelError(ParleyError):
    """A client asks for a model that there is not. The message lists those there are."""


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage's block: which engine, its checked options, and the seconds it may go without a sign of life.

    Two blocks are equal when one loaded engine can serve both; `timeout` belongs to the pipeline and does not count.
    """

    engine: str
    options: Any
    engine_class: EngineClass = field(repr=False)
    timeout: float = field(compare=False)


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """One pipeline of models.yaml: a block for each stage, and what its conversations begin with."""

    name: str
    vad: StageConfig
    endpointing: StageConfig
    transcription: StageConfig
    llm: StageConfig
    tts: StageConfig
    instructions: str = DEFAULT_INSTRUCTIONS
    speculation: bool = True
    clause_streaming: bool = True
    voices: Mapping[str, str] = field(default_factory=dict)

    def stage(self, stage: StageName) -> StageConfig:
        """Returns the block of a stage by its name."""
        return cast(StageConfig, getattr(self, stage))


@dataclass(frozen=True, slots=True)
class Config:
    """All that models.yaml says."""

    document: Document = field(repr=False)
    default: str
    models: Mapping[str, PipelineConfig]
    """The pipelines that this machine can try to load."""
    unusable: Mapping[str, ConfigError]
    """The others, and why: an engine that does not import, a variable that is not set."""
    aliases: Mapping[str, str]
    voices: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all pipelines, in the order of the file."""
        return tuple(cast(Mapping[str, object], cast(Mapping[str, object], self.document.value)["models"]))

    def pipeline(self, name: str) -> PipelineConfig:
        """Returns the pipeline of that name.

        Raises:
            ConfigError: there is none, or this machine lacks what it needs.
        """
        if name in self.unusable:
            raise self.unusable[name]
        if name not in self.models:
            mend = f"{did_you_mean(name, self.names)}Choose one of: {listed(self.names)}."
            raise self.document.error(("models",), f"There is no pipeline called `{name}`.", mend)
        return self.models[name]

    def resolve(self, model: str | None, loaded: Collection[str] | None = None) -> str:
        """Returns the name of the pipeline that a client means with `?model=`: nothing, a name, or an alias.

        Args:
            model: what the client said.
            loaded: the pipelines that are loaded, where that matters; None: all of the file.

        Raises:
            UnknownModelError: no such pipeline, or it is not loaded.
        """
        name = self._named(model)
        offered = [each for each in self.names if loaded is None or each in loaded]
        if name in offered:
            return name
        if name in self.names:
            raise UnknownModelError(
                f"The model `{name}` is not loaded. Start the server with --model {name}, or choose one of: "
                f"{listed(offered)}."
            )
        raise UnknownModelError(
            f"There is no model `{model}` here. {did_you_mean(name, offered)}Choose one of: {listed(offered)}."
        )

    def voice_names(self, pipeline: str, own: Sequence[str]) -> Mapping[str, str]:
        """Returns what clients of a pipeline may call voices, and which voice of its engine each name leads to.

        The pipeline's own `voices` go before the engine's names, and these before the `voices` of the whole file.
        Names of the whole file that lead to voices of other engines, and OpenAI's names where nothing is said of them,
        lead to the default voice: a client that sends one works with any pipeline.

        Args:
            pipeline: its name.
            own: the voices of its loaded engine, the default first.
        """
        shared = {name: voice if voice in own else own[0] for name, voice in self.voices.items()}
        return {
            **dict.fromkeys(OPENAI_VOICES, own[0]),
            **shared,
            **{voice: voice for voice in own},
            **self.pipeline(pipeline).voices,
        }

    def _named(self, model: str | None) -> str:
        if not model:
            return self.default
        if model in self.names:
            return model
        for pattern, target in self.aliases.items():
            if fnmatchcase(model, pattern):
                return self.default if target == "default" else target
        return model


def find_config(directory: Path | None = None) -> Path:
    """Returns the models.yaml to use where none is named: the one in `directory` (None: the working directory) if
    there is one, else the one that comes with Parley.
    """
    own = (directory or Path.cwd()) / "models.yaml"
    return own if own.is_file() else shipped_config()


def shipped_config() -> Path:
    """Returns the models.yaml that comes with Parley.

    Its one home is the top of the source tree. From there a checkout reads it, and a wheel installs it as
    `share/parley/models.yaml` below the environment (`data-files` in pyproject.toml).

    Raises:
        ConfigError: the installation has lost it.
    """
    tree = Path(__file__).resolve().parent.parent
    if (tree / "pyproject.toml").is_file() and (tree / "models.yaml").is_file():
        return tree / "models.yaml"
    try:
        files = distribution("parley").files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.parts[-3:] == ("share", "parley", "models.yaml"):
            return Path(str(file.locate())).resolve()
    raise ConfigError(
        f"models.yaml: The one that comes with Parley is missing from {sys.prefix}. Reinstall Parley, or name one "
        "with --config."
    )


def load_config(path: Path | str) -> Config:
    """Reads models.yaml and checks all that can be checked without loading an engine.

    Engines named in the file are imported, to check their options.

    Raises:
        ConfigError: the file is missing or wrong, or the default pipeline needs what this machine lacks.
    """
    file = Path(path)
    if not file.exists():
        raise ConfigError(
            f"{file}: There is no such file. Leave --config out to use the one that comes with Parley, or start from a "
            f"copy of it: cp '{shipped_config()}' '{file}'"
        )
    return _ConfigReader(read_document(file)).config()


class _ConfigReader:
    """Checks a document, key by key."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._error = document.error

    def config(self) -> Config:
        top = self._mapping(self._document.value, (), "`default` and `models`")
        self._refuse_unknown(top, _TOP_KEYS, ())
        models, unusable = self._models(top)
        names = [*models, *unusable]
        default = self._text(
            self._required(top, "default", (), "Name the pipeline that clients get: `default: mini`."), ("default",)
        )
        if default not in names:
            raise self._no_pipeline(default, names, ("default",))
        if default in unusable:
            raise unusable[default]
        aliases = self._texts(top, ("aliases",), 'Write it as {"gpt-realtime*": default}.')
        for pattern, target in aliases.items():
            if target != "default" and target not in names:
                raise self._no_pipeline(target, ["default", *names], ("aliases", pattern))
        voices = self._texts(top, ("voices",), _VOICES_MEND)
        return Config(self._document, default, models, unusable, aliases, voices)

    def _models(self, top: Mapping[str, object]) -> tuple[Mapping[str, PipelineConfig], Mapping[str, ConfigError]]:
        mend = "Describe at least one pipeline under `models:`; docs and examples are in the models.yaml of Parley."
        models = self._mapping(self._required(top, "models", (), mend), ("models",), "a block for each pipeline")
        if not models:
            raise self._error(("models",), "There is no pipeline.", mend)
        usable: dict[str, PipelineConfig] = {}
        unusable: dict[str, ConfigError] = {}
        for name, block in models.items():
            try:
                usable[name] = self._pipeline(name, block)
            except MachineError as error:
                unusable[name] = error
        return MappingProxyType(usable), MappingProxyType(unusable)

    def _pipeline(self, name: str, value: object) -> PipelineConfig:
        path: KeyPath = ("models", name)
        if name == "default":
            raise self._error(
                path, "`default` means the default pipeline and cannot name one.", "Call it something else."
            )
        block = self._mapping(value, path, "a block for each stage")
        self._refuse_unknown(block, _PIPELINE_KEYS, path)
        # All is read before a lack of this machine is reported, so that it hides no mistake in the file.
        stages: dict[str, StageConfig] = {}
        lacking: MachineError | None = None
        for stage in STAGES:
            try:
                stages[stage] = self._stage(stage, block, path)
            except MachineError as error:
                lacking = lacking or error
        speculation = self._switch(block, "speculation", path)
        clause_streaming = self._switch(block, "clause_streaming", path)
        instructions = DEFAULT_INSTRUCTIONS
        if "instructions" in block:
            instructions = self._text(block["instructions"], (*path, "instructions"))
        voices = self._texts(block, (*path, "voices"), _VOICES_MEND)
        if lacking:
            raise lacking
        return PipelineConfig(
            name,
            **stages,
            instructions=instructions,
            speculation=speculation,
            clause_streaming=clause_streaming,
            voices=voices,
        )

    def _stage(self, stage: StageName, pipeline: Mapping[str, object], parent: KeyPath) -> StageConfig:
        path = (*parent, stage)
        if stage not in pipeline and stage not in _DEFAULT_BLOCKS:
            mend = f"Add a block, such as `{stage}: {{engine: …}}`."
            raise self._error(parent, f"The pipeline has no `{stage}` block.", mend)
        block = self._mapping(pipeline.get(stage, _DEFAULT_BLOCKS.get(stage)), path, "`engine:` and its options")
        engine = self._text(self._required(block, "engine", path, "Name one, such as `engine: …`."), (*path, "engine"))
        timeout = self._timeout(block.get("timeout", DEFAULT_TIMEOUTS[stage]), (*path, "timeout"))
        try:
            found = find_engine(stage, engine)
        except EngineError as error:
            # A name that nobody here offers is a mistake in the file; one that does not import, a fault of the machine.
            complain = self._document.machine_error if engine in engine_names(stage) else self._error
            raise complain((*path, error.option or "engine"), error.problem, error.mend) from error
        given = {key: value for key, value in block.items() if key not in _OWN_STAGE_KEYS}
        return StageConfig(engine, self._options(found, given, path), found, timeout)

    def _options(self, engine: EngineClass, given: Mapping[str, object], path: KeyPath) -> Any:
        try:
            expanded = cast(Mapping[str, object], self._document.expand(given, path))
        except MachineError:
            # The values are not known, but a key that the engine does not have is wrong all the same.
            convert_options(self._document, engine, given, path, reserved=_OWN_STAGE_KEYS, keys_only=True)
            raise
        return convert_options(self._document, engine, expanded, path, reserved=_OWN_STAGE_KEYS)

    def _switch(self, block: Mapping[str, object], key: str, path: KeyPath) -> bool:
        value = block.get(key, True)
        if not isinstance(value, bool):
            raise self._wrong((*path, key), "true or false", value)
        return value

    def _timeout(self, value: object, path: KeyPath) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(path, "a number of seconds", value)
        if not (math.isfinite(value) and value > 0):
            raise self._error(
                path, f"A stage cannot be given {value:g} seconds.", "Write a number above 0, such as 10."
            )
        return float(value)

    def _mapping(self, value: object, path: KeyPath, contents: str) -> Mapping[str, object]:
        if value is None:
            problem = "There is nothing here." if path else "The file is empty."
            raise self._error(path, problem, f"It needs {contents}.")
        if not isinstance(value, Mapping):
            raise self._wrong(path, f"keys with values: {contents}", value)
        return value

    def _text(self, value: object, path: KeyPath) -> str:
        if not isinstance(value, str):
            raise self._wrong(path, "text", value)
        return cast(str, self._document.expand(value, path))

    def _texts(self, block: Mapping[str, object], path: KeyPath, mend: str) -> Mapping[str, str]:
        """Returns the names with names that stand at `path`, whose last part is their key in `block`."""
        value = block.get(str(path[-1]))
        if value is None:
            return MappingProxyType({})
        if not isinstance(value, Mapping):
            raise self._error(path, f"This has to be a list of names with names, not {in_plain_words(value)}.", mend)
        return MappingProxyType({name: self._text(target, (*path, name)) for name, target in value.items()})

    def _required(self, block: Mapping[str, object], key: str, path: KeyPath, mend: str) -> object:
        if key not in block:
            raise self._error(path, f"The key `{key}` is missing.", mend)
        return block[key]

    def _refuse_unknown(self, block: Mapping[str, object], known: tuple[str, ...], path: KeyPath) -> None:
        for key in block:
            if key not in known:
                mend = f"{did_you_mean(key, known)}Keys here: {listed(known)}."
                raise self._error((*path, key), f"There is no key `{key}` here.", mend)

    def _wrong(self, path: KeyPath, wanted: str, value: object) -> ConfigError:
        return self._error(path, f"This has to be {wanted}, not {in_plain_words(value)}.", f"Write {wanted}.")

    def _no_pipeline(self, name: str, names: list[str], path: KeyPath) -> ConfigError:
        mend = f"{did_you_mean(name, names)}Choose one of: {listed(names)}."
        return self._error(path, f"There is no pipeline called `{name}` under `models`.", mend)
