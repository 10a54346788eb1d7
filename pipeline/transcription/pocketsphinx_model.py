"""The files of a model for PocketSphinx other than the one in its wheel, looked at before it is loaded."""

import struct
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import EngineError

_LONGEST_HEADER = 64 * 1024


def find_model(hmm: str | None, lm: str | None, dictionary: str | None) -> dict[str, str]:
    """Returns the paths of a model under PocketSphinx's names for them; none for the one in its wheel.

    Raises:
        EngineError: only some are given, or a file is missing or cut short.
    """
    paths = {"hmm": hmm, "lm": lm, "dict": dictionary}
    given = {name: Path(path).expanduser() for name, path in paths.items() if path is not None}
    for name in paths if given else ():
        if name not in given:
            raise EngineError(f"`{name}` is missing.", "Give `hmm`, `lm` and `dict` together, or none.", option=name)
        wanted = given[name] / "mdef" if name == "hmm" else given[name]
        if not wanted.is_file():
            raise EngineError(f"There is no file {wanted}.", "Correct the path.", option=name)
    if given:
        _check_weights(given["hmm"] / "sendump")
    return {name: str(path) for name, path in given.items()}


def _check_weights(sendump: Path) -> None:
    """PocketSphinx takes this file unchecked; what is missing of it makes other words of what is said."""
    if not sendump.is_file():
        return  # there are models with mixture_weights in its place, which are checked
    with sendump.open("rb") as file:
        wanted = _size(file)
    if wanted is not None and sendump.stat().st_size < wanted:
        raise EngineError(f"{sendump} is cut short.", "Get the model again.", option="hmm")


def _size(file: BinaryIO) -> int | None:
    """How long the file has to be by its own header; None where that does not tell.

    The header is lines of text with a zero behind them, the length of each before it as an int32 (0 ends them), then
    the number of densities and of senones. A byte for each of both follows, for each stream of features.
    (PocketSphinx, ptm_mgau.c, `read_sendump`.)
    """
    features = 1
    try:
        while length := struct.unpack("<i", file.read(4))[0]:
            if not 0 < length <= _LONGEST_HEADER:
                return None
            key, _, value = file.read(length).rstrip(b"\0").partition(b" ")
            if key == b"feature_count":
                features = int(value)
            elif key == b"cluster_count" and int(value):
                return None  # packed
        densities, senones = struct.unpack("<ii", file.read(8))
    except (struct.error, ValueError):
        return None
    return int(file.tell() + densities * senones * features)
