"""What a loaded pipeline is and can do, in the terms of the session machine."""

from collections.abc import Mapping

from pipeline.config import Config
from pipeline.line import Line
from server.realtime.session_config import Profile


def profile_of(line: Line, config: Config) -> Profile:
    """Returns the profile of a pipeline: its engines' capabilities, and its settings in models.yaml."""
    own = line.tts.capabilities.voices
    # OpenAI's names lead to voices of the engine where it has them, and to its default where not.
    lent = {name: voice if voice in own else own[0] for name, voice in config.voices.items()}
    return Profile(
        model=line.name,
        instructions=line.config.instructions,
        voice=own[0],
        voices={**lent, **{voice: voice for voice in own}},
        speeds=line.tts.capabilities.speeds,
        transcriber=line.config.transcription.engine,
        languages=line.transcription.capabilities.languages,
        transcriber_prompt=line.transcription.capabilities.prompt,
        tools=line.llm.capabilities.tools,
        forced_calls=line.llm.capabilities.forced_calls,
        endpointing_reads=line.endpointing.reads,
        speculation=line.config.speculation and line.transcription.capabilities.streaming,
    )


def check_voices(lines: Mapping[str, Line], config: Config) -> None:
    """Checks that every voice that `voices` leads to is one of a loaded pipeline.

    Raises:
        ConfigError: none has it.
    """
    known = {voice for line in lines.values() for voice in line.tts.capabilities.voices}
    for name, voice in config.voices.items():
        if voice not in known:
            raise config.document.error(
                ("voices", name),
                f"No pipeline that is loaded has the voice `{voice}`.",
                "Name another, or leave it out: the pipeline's own then speaks.",
            )
