"""Breaks an engine's weights: copies in which a file is missing, cut short or of another kind."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.engines.contract.case import Case, Place, Weights
from tests.engines.contract.loading import Attempt

CUTS = (0.0, 0.02, 0.5, 0.99)
"""How much of a file is left."""

OTHER_KINDS = {
    "an error page": b"<!DOCTYPE html><html><title>404 Not Found</title></html>\n" * 20,
    "bytes": bytes(range(256)) * 64,
}
OTHER_JSON = {"a list": b"[1, 2, 3]", "an empty object": b"{}"}
"""What may stand in a .json file besides."""


def broken(case: Case, place: Place, folder: Path) -> dict[str, Attempt]:  # type: ignore[type-arg]
    """Returns what to try: what is wrong → an attempt to load just that. The copies are made in `folder`."""
    attempts: dict[str, Attempt] = {}
    for index, weights in enumerate(case.weights):
        whole = weights.whole(place)
        for number, (label, path) in enumerate(_copies(weights, whole, place, folder / str(index))):
            name = label if len(case.weights) == 1 else f"{weights.option or weights.package}: {label}"
            attempts[name] = _attempt(case, weights, place, path, folder / f"{index}-{number}")
    return attempts


def _attempt(case: Case, weights: Weights, place: Place, path: Path, folder: Path) -> Attempt:  # type: ignore[type-arg]
    block = {**case.block(place), **weights.with_them(place)}
    if weights.option is not None:
        return Attempt(case.stage, case.engine, {**block, weights.option: str(path / weights.entry)})
    assert weights.package is not None
    folder.mkdir(parents=True)
    (folder / weights.package).symlink_to(path)
    return Attempt(case.stage, case.engine, dict(block), str(folder))


def _copies(weights: Weights, whole: Path, place: Place, folder: Path) -> Iterator[tuple[str, Path]]:
    folder.mkdir(parents=True)
    if weights.option is not None:
        yield "nothing is there", folder / "nowhere" / whole.name
        yield "an empty folder", _empty(folder)
    for other in weights.others(place):
        yield f"{other.name}, made for something else", other
    for name in weights.files or ("",):
        size = (whole / name).stat().st_size
        shown = Path(name).name or whole.name
        if name and name not in weights.optional:
            yield f"no {shown}", _copy(whole, name, None, folder)
        content = (whole / name).read_bytes()
        for cut in () if name in weights.cuttable else CUTS:
            yield f"{cut:.0%} of {shown}", _copy(whole, name, content[: round(cut * size)], folder)
        kinds = OTHER_KINDS | (OTHER_JSON if shown.endswith(".json") and name not in weights.optional else {})
        for kind, wrong in kinds.items():
            yield f"{kind} for {shown}", _copy(whole, name, wrong, folder)


def _empty(folder: Path) -> Path:
    empty = folder / "empty"
    empty.mkdir()
    return empty


def _copy(whole: Path, name: str, content: bytes | None, folder: Path) -> Path:
    """Copies a file or a folder, with another content for the file `name` (None: without it)."""
    place = folder / str(len(list(folder.iterdir())))
    place.mkdir()
    copy = place / whole.name
    if not name:
        assert content is not None
        copy.write_bytes(content)
        return copy
    shutil.copytree(whole, copy, copy_function=lambda source, target: Path(target).symlink_to(Path(source).resolve()))
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    return copy
