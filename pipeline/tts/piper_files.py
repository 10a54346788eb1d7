"""What a voice is called in models.yaml → the two files of a Piper voice: `NAME.onnx`, and `NAME.onnx.json` beside it.

Voices that go by their names lie on the Hugging Face hub, in rhasspy/piper-voices, in folders that follow from the
name: en_US-lessac-medium is en/en_US/lessac/medium/en_US-lessac-medium.onnx.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import hub
from pipeline.errors import EngineError
from pipeline.registry import did_you_mean

REPOSITORY = "rhasspy/piper-voices"

_NAME = re.compile(
    r"(?P<locale>(?P<language>[a-z]{2,3})_[A-Z0-9]{2,3})-(?P<speaker>\w+)-(?P<quality>x_low|low|medium|high)"
)

_EXAMPLES = (
    "en_US-lessac-medium",
    "en_US-amy-medium",
    "en_US-libritts_r-medium",
    "en_US-ryan-high",
    "en_GB-alan-medium",
    "en_GB-alba-medium",
    "de_DE-thorsten-medium",
    "es_ES-davefx-medium",
    "fr_FR-siwis-medium",
)
"""Voices that many use, to suggest: the hub has more."""


@dataclass(frozen=True, slots=True)
class VoiceFiles:
    """A voice's name, its weights, and their description. The files are there."""

    name: str
    model: Path
    description: Path


def find_voice(voice: str, option: str = "voice") -> VoiceFiles:
    """Returns the files of a voice, downloaded if they are on the hub and not here yet.

    Args:
        voice: a name (`en_US-lessac-medium`), the path of an .onnx file, or `hf:OWNER/REPOSITORY:FILE.onnx`.
        option: the option that says so, for errors.

    Raises:
        EngineError: there is no such voice or file, or it cannot be downloaded.
    """
    reference = hub.parse(voice, option)
    if reference is not None:
        return _fetch(reference, option)
    if voice.endswith(".onnx") or "/" in voice or "\\" in voice:
        return _beside(Path(voice).expanduser(), option)
    match = _NAME.fullmatch(voice)
    if match is None:
        raise EngineError(
            f"`{voice}` is no Piper voice.",
            f"{_suggestion(voice)}Write a name such as `{_EXAMPLES[0]}` (the voices are listed at "
            f"https://huggingface.co/{REPOSITORY}), or the path of an .onnx file.",
            option,
        )
    folder = f"{match['language']}/{match['locale']}/{match['speaker']}/{match['quality']}"
    try:
        return _fetch(hub.Reference(REPOSITORY, None, f"{folder}/{voice}.onnx"), option)
    except EngineError as error:
        raise EngineError(error.problem, f"{_suggestion(voice)}{error.mend}", option) from error


def _fetch(reference: hub.Reference, option: str) -> VoiceFiles:
    if reference.file is not None and not reference.file.endswith(".onnx"):
        raise EngineError(
            f"`{reference}` is no Piper voice.", "Name its .onnx file: hf:OWNER/REPOSITORY:FILE.onnx.", option
        )
    model = hub.fetch_file(reference, option)
    return VoiceFiles(model.stem, model, hub.fetch_file(replace(reference, file=f"{reference.file}.json"), option))


def _beside(model: Path, option: str) -> VoiceFiles:
    if not model.is_file():
        raise EngineError(f"There is no file {model}.", "Correct the path of the voice's .onnx file.", option)
    description = model.with_name(f"{model.name}.json")
    if not description.is_file():
        raise EngineError(
            f"{model} has no description beside it.",
            f"Put the file that came with it there, as {description.name}.",
            option,
        )
    return VoiceFiles(model.stem, model, description)


def _suggestion(voice: str) -> str:
    known = sorted({*_EXAMPLES, *_downloaded()})
    if voice in known:
        return ""
    named = [name for name in known if voice.lower() in name.lower()]
    return f"Did you mean `{named[0]}`? " if named else did_you_mean(voice, known)


def _downloaded() -> list[str]:
    """Returns the names of the voices that are on this machine already."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots"
    return [path.stem for path in folder.rglob("*.onnx")]
