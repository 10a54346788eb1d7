"""What a loaded pipeline is and can do, in the terms of the session machine."""

import functools
import logging
from collections.abc import Collection, Mapping
from typing import Literal

from pipeline.config import Config, UnknownModelError
from pipeline.line import Line
from pipeline.registry import did_you_mean, listed
from server.realtime.session_config import Profile

log = logging.getLogger(__name__)

_LISTED = 8


def profile_of(line: Line, config: Config) -> Profile:
    """Returns the profile of a pipeline: its engines' capabilities, and its settings in models.yaml."""
    own = line.tts.capabilities.voices
    return Profile(
        model=line.name,
        instructions=line.config.instructions,
        voice=own[0],
        voices=config.voice_names(line.name, own),
        speeds=line.tts.capabilities.speeds,
        transcriber=line.config.transcription.engine,
        languages=line.transcription.capabilities.languages,
        transcriber_prompt=line.transcription.capabilities.prompt,
        log_probabilities=line.transcription.capabilities.log_probabilities,
        tools=line.llm.capabilities.tools,
        forced_calls=line.llm.capabilities.forced_calls,
        semantic_by_default=bool(line.endpointing.reads),
        endpointing_reads=endpointing_reads(line),
        vision=line.llm.capabilities.vision,
        reasoning=line.llm.capabilities.reasoning,
        truncation="truncation" in line.llm.capabilities.heeds,
        context=line.llm.capabilities.context,
        temperature=_temperature(line.config.llm.options),
        answers_to=functools.partial(_leads_to, config, line.name),
        speculation=line.config.speculation and line.transcription.capabilities.streaming,
        prefills=line.config.speculation and line.llm.capabilities.prefills,
    )


def endpointing_reads(line: Line) -> frozenset[Literal["sound", "words"]]:
    """Returns what is looked at under `semantic_vad`. The detector that is not the pipeline's own goes by silence alone
    where words would cost a transcription more for each pause.
    """
    if line.endpointing.reads or line.transcription.capabilities.streaming:
        return line.judge.reads
    return frozenset()


def _leads_to(config: Config, pipeline: str, name: str) -> bool:
    """Returns whether clients mean a pipeline by a name. Agents SDKs name OpenAI's model in every update.

    No name means the default where a client connects, and nothing here.
    """
    try:
        return bool(name) and config.resolve(name) == pipeline
    except UnknownModelError:
        return False


def _temperature(options: object) -> float | None:
    """Returns what the language model is set to draw with, where its engine has such an option under the usual name."""
    temperature = getattr(options, "temperature", None)
    return float(temperature) if isinstance(temperature, int | float) else None


def check_voices(lines: Mapping[str, Line], config: Config) -> None:
    """Checks that the names of voices in models.yaml lead somewhere.

    Those of a pipeline have to lead to voices of its engine. Those of the whole file may also lead to voices of
    pipelines that are not loaded: which these have is not known.

    Raises:
        ConfigError: one leads nowhere; names the key.
    """
    for line in lines.values():
        own = line.tts.capabilities.voices
        for name, voice in config.pipeline(line.name).voices.items():
            if voice not in own:
                raise config.document.error(
                    ("models", line.name, "voices", name),
                    f"The engine `{line.config.tts.engine}` has no voice `{voice}` here.",
                    f"{did_you_mean(voice, own)}Some that it has: {listed(own[:_LISTED])}.",
                )
    known = {voice for line in lines.values() for voice in line.tts.capabilities.voices}
    for name, voice in config.voices.items():
        if voice not in known:
            _check_elsewhere(name, voice, known, lines, config)


def _check_elsewhere(name: str, voice: str, known: Collection[str], lines: Mapping[str, Line], config: Config) -> None:
    """Judges a name of the whole file that leads to no voice that is loaded."""
    loaded = [line.config.tts for line in lines.values()]
    others = [each for each in config.names if each not in config.models or config.models[each].tts not in loaded]
    suggestion = did_you_mean(voice, known)
    error = config.document.error(
        ("voices", name),
        f"No pipeline that is loaded has the voice `{voice}`.",
        f"{suggestion}Name another, or leave it out: the pipeline's own then speaks.",
    )
    if not others:
        raise error
    if suggestion:
        log.warning("%s", error)
