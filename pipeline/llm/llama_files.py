"""Which GGUF file the option `model` of llama-cpp means."""

import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Literal

from pipeline import hub
from pipeline.errors import EngineError

_PART = re.compile(r"(?P<stem>.*-)(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf", re.IGNORECASE)
"""A model in several files (llama-gguf-split): all have the same name but for their number, which counts from 1."""

_MEND = "Give the path of a GGUF file, or hf:OWNER/REPOSITORY:FILE.gguf, or `builtin`."
_MENDS = {"model": _MEND, "projector": _MEND.replace(", or `builtin`", "")}


def locate(model: str, option: Literal["model", "projector"] = "model") -> Path:
    """Returns the file that an option means, downloaded if need be; of a model in several files the first, with the
    others beside it.

    Raises:
        EngineError: there is none, or it is no GGUF file.
    """
    reference = hub.parse(model, option)
    if reference is not None:
        path = _fetch(reference, option)
    else:
        path = _builtin() if (model, option) == ("builtin", "model") else Path(model).expanduser()
        path = _first(path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise EngineError(f"{path} {what}.", _MENDS[option], option)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}.", _MENDS[option], option) from error
    if magic != b"GGUF":
        raise EngineError(f"{path} is not a GGUF file.", _MENDS[option], option)
    return path


def _fetch(reference: hub.Reference, option: str) -> Path:
    parts = _parts(reference.file or "")
    if not parts:
        return hub.fetch_file(reference, option)
    first, *_ = [hub.fetch_file(replace(reference, file=name), option) for name in parts]
    return first


def _first(path: Path) -> Path:
    """Returns the first of the files that a model is in."""
    parts = [path.with_name(name) for name in _parts(path.name)]
    if not parts:
        return path
    missing = [part.name for part in parts if not part.is_file()]
    if missing and len(missing) < len(parts):
        raise EngineError(
            f"The model {path} is in {len(parts)} files, and {missing[0]} is missing.",
            "Put all of them into one folder.",
            "model",
        )
    return parts[0]


def _parts(name: str) -> list[str]:
    """The names of all the files of a model; none for a model in one file."""
    match = _PART.fullmatch(name)
    if match is None:
        return []
    return [f"{match['stem']}{part:05}-of-{match['parts']}.gguf" for part in range(1, int(match["parts"]) + 1)]


def _builtin() -> Path:
    """The model that comes with the package: the one GGUF file in pipeline/llm/builtin."""
    folder = Path(str(resources.files("pipeline.llm") / "builtin"))
    found = sorted(folder.glob("*.gguf"))
    if len(found) != 1:
        raise EngineError(
            f"The built-in model is missing: {folder} holds {len(found)} GGUF files, not one.",
            "Install Parley again, or make it with scripts/train_builtin_model, or give the path of a GGUF file.",
            "model",
        )
    return found[0]
