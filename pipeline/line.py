"""Loads the engines of the pipelines that are served: each distinct block once, for all sessions.

Two pipelines that say the same of a stage share its engine. Loading blocks: call `load_lines` before the event
loop starts, or on a thread.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from pipeline.config import Config, PipelineConfig, StageConfig
from pipeline.device import device_of
from pipeline.endpointing.words import Words
from pipeline.errors import ConfigError, EngineError
from pipeline.registry import STAGES, StageName
from pipeline.slots import Slots
from pipeline.stages import EndOfTurnDetector, LanguageModel, Synthesizer, Transcriber, VoiceActivityDetector

log = logging.getLogger(__name__)

_READER = Words(Words.Options())


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds without a sign of life from a stage before the turn fails."""

    vad: float
    endpointing: float
    transcription: float
    llm: float
    tts: float


@dataclass(frozen=True, slots=True)
class LoadStarted:
    """An engine is about to be loaded for the pipeline `line`."""

    line: str
    stage: StageName
    engine: str


@dataclass(frozen=True, slots=True)
class LoadFinished:
    """An engine is loaded and warm; how many seconds each took."""

    line: str
    stage: StageName
    engine: str
    load_s: float
    warm_up_s: float
    device: str
    """Where it computes: "cpu" or "cuda"; for a service, its address."""


LoadStep: TypeAlias = LoadStarted | LoadFinished


class _Shared:
    """One loaded engine and how many lines use it. The last to let go closes it."""

    def __init__(self, engine: Any, slots: Slots) -> None:
        self.engine = engine
        self.slots = slots
        self._users = 0

    def hold(self) -> "_Shared":
        self._users += 1
        return self

    def release(self) -> None:
        self._users -= 1
        if self._users == 0:
            _close(self.engine)


@dataclass(slots=True)
class Line:
    """The loaded engines of one pipeline.

    `llm_slots` bounds how many replies the language model makes at a time, and `tts_slots` how many clauses the
    synthesizer, over all sessions and all lines that share them. `transcription_slots` counts the transcripts and
    hypotheses that are asked for; transcribers keep their own line. Without `clause_streaming` a reply is one clause.
    """

    name: str
    config: PipelineConfig
    vad: VoiceActivityDetector
    endpointing: EndOfTurnDetector
    transcription: Transcriber
    llm: LanguageModel
    tts: Synthesizer
    timeouts: Timeouts
    transcription_slots: Slots
    llm_slots: Slots
    tts_slots: Slots
    clause_streaming: bool = True
    _held: list[_Shared] = field(default_factory=list, repr=False)

    @property
    def judge(self) -> EndOfTurnDetector:
        """What is asked under `semantic_vad`: the pipeline's detector, or one that reads where that only counts."""
        return self.endpointing if self.endpointing.reads else _READER

    def close(self) -> None:
        """Closes the engines that no other open line uses. Call it after all streams are closed; again is no harm."""
        held, self._held = self._held, []
        for shared in reversed(held):
            shared.release()


def load_lines(
    config: Config, names: Iterable[str], report: Callable[[LoadStep], None] = lambda step: None
) -> dict[str, Line]:
    """Loads and warms the engines of the pipelines `names`, stage by stage.

    Args:
        config: what models.yaml says.
        names: the pipelines to load; one that is named twice is loaded once.
        report: is told when an engine begins to load and when it is ready, on the caller's thread.

    Raises:
        ConfigError: an engine cannot be loaded; those that were are closed again.
    """
    pipelines = {name: config.pipeline(name) for name in names}
    loader = _Loader(config, report)
    lines: dict[str, Line] = {}
    try:
        for name, pipeline in pipelines.items():
            lines[name] = loader.line(pipeline)
    except BaseException:
        loader.close_all()
        raise
    return lines


class _Loader:
    def __init__(self, config: Config, report: Callable[[LoadStep], None]) -> None:
        self._config = config
        self._report = report
        self._loaded: list[tuple[StageName, StageConfig, _Shared]] = []

    def line(self, pipeline: PipelineConfig) -> Line:
        shared = {stage: self._shared(pipeline, stage) for stage in STAGES}
        return Line(
            name=pipeline.name,
            config=pipeline,
            **{stage: each.engine for stage, each in shared.items()},
            timeouts=Timeouts(**{stage: pipeline.stage(stage).timeout for stage in STAGES}),
            transcription_slots=shared["transcription"].slots,
            llm_slots=shared["llm"].slots,
            tts_slots=shared["tts"].slots,
            clause_streaming=pipeline.clause_streaming,
            _held=[each.hold() for each in shared.values()],
        )

    def close_all(self) -> None:
        for _, _, shared in reversed(self._loaded):
            _close(shared.engine)

    def _shared(self, pipeline: PipelineConfig, stage: StageName) -> _Shared:
        block = pipeline.stage(stage)
        for loaded_stage, loaded_block, shared in self._loaded:
            if loaded_stage == stage and loaded_block == block:
                return shared
        self._report(LoadStarted(pipeline.name, stage, block.engine))
        began = time.perf_counter()
        engine = self._guarded(pipeline, stage, lambda: block.engine_class.make(block.options))
        loaded = time.perf_counter()
        shared = _Shared(engine, Slots(_concurrency(stage, engine)))
        self._loaded.append((stage, block, shared))
        self._guarded(pipeline, stage, engine.warm_up)
        warm = time.perf_counter()
        self._report(LoadFinished(pipeline.name, stage, block.engine, loaded - began, warm - loaded, device_of(engine)))
        return shared

    def _guarded(self, pipeline: PipelineConfig, stage: StageName, step: Callable[[], Any]) -> Any:
        """Takes a step of loading; what it raises becomes an error that names the key."""
        path = ("models", pipeline.name, stage)
        try:
            return step()
        except EngineError as error:
            key = (*path, error.option) if error.option else path
            raise self._config.document.error(key, error.problem, error.mend) from error
        except ConfigError:
            raise
        except Exception as error:
            engine = pipeline.stage(stage).engine_class
            raise self._config.document.error(
                path,
                f"The engine `{engine.name}` failed to load: {type(error).__name__}: {error}.",
                f"This is a fault of the package {engine.package}: choose another engine, or report it there.",
            ) from error


def _concurrency(stage: StageName, engine: Any) -> int | None:
    """Returns how much a loaded engine does at a time; None: as much as it is asked for, as far as a line cares."""
    match stage:
        case "transcription":
            return cast(Transcriber, engine).capabilities.concurrency
        case "llm":
            return cast(LanguageModel, engine).capabilities.concurrency
        case "tts":
            return cast(Synthesizer, engine).concurrency
        case _:
            return None


def _close(engine: Any) -> None:
    try:
        engine.close()
    except Exception:
        # The others still have to be closed.
        log.exception("%s did not close", type(engine).__name__)
