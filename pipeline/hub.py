"""Model files from the Hugging Face hub: `hf:OWNER/REPOSITORY[@REVISION][:FILE]`.

What has been downloaded once lies in the hub's own cache (`HF_HOME`, by default ~/.cache/huggingface) and is used from
there without asking anybody. What has not is downloaded when the engine is loaded, with a progress bar, and checked
against the hub's SHA-256 before it is used.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline.errors import EngineError

# Read by huggingface_hub when it is imported: nobody is told what is loaded here.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

T = TypeVar("T")

log = logging.getLogger(__name__)

PREFIX = "hf:"

_REFERENCE = re.compile(
    r"hf:(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:@\s]+))?(?::(?P<file>[^:\s][^:]*))?", re.ASCII
)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository of the hub, and a file in it. `revision` is a branch, a tag or a commit."""

    repository: str
    revision: str | None
    file: str | None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repository}{revision}{f':{self.file}' if self.file else ''}"


def parse(text: str, option: str = "model") -> Reference | None:
    """Returns the reference in an option's value; None when it is none (a path, a name).

    Raises:
        EngineError: it begins with `hf:` and goes on wrong.
    """
    if not text.startswith(PREFIX):
        return None
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise EngineError(
            f"`{text}` is no reference to the Hugging Face hub.",
            "Write hf:OWNER/REPOSITORY, and after another colon the file: hf:OWNER/REPOSITORY:model.gguf.",
            option,
        )
    return Reference(match["repository"], match["revision"], match["file"])


def fetch_file(reference: Reference, option: str = "model") -> Path:
    """Returns the file of a reference, downloaded if it is not here yet.

    Raises:
        EngineError: the reference names no file, there is no such file, or it cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download

    if reference.file is None:
        raise EngineError(
            f"`{reference}` names no file.", f"Write which: {reference}:FILE (the hub's page lists them).", option
        )
    file = reference.file

    def get(local_only: bool) -> Path:
        return Path(
            hf_hub_download(reference.repository, file, revision=reference.revision, local_files_only=local_only)
        )

    return _get(reference, option, get, lambda path: [path])


def fetch_folder(reference: Reference, patterns: Sequence[str], option: str = "model") -> Path:
    """Returns a folder with those files of a repository that match one of `patterns` (`*.json`), downloaded if they
    are not here yet.

    Raises:
        EngineError: there is no such repository, or it cannot be downloaded.
    """
    from huggingface_hub import snapshot_download

    def get(local_only: bool) -> Path:
        return Path(
            snapshot_download(
                reference.repository,
                revision=reference.revision,
                allow_patterns=list(patterns),
                local_files_only=local_only,
            )
        )

    return _get(reference, option, get, lambda folder: [each for each in folder.rglob("*") if each.is_file()])


def _get(
    reference: Reference, option: str, get: Callable[[bool], Path], files: Callable[[Path], Sequence[Path]]
) -> Path:
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return get(True)
    except LocalEntryNotFoundError:
        pass  # not here yet
    log.warning("%s is not on this machine yet: downloading it", reference)
    try:
        path = get(False)
    except Exception as error:
        raise _failure(reference, error, option) from error
    for file in files(path):
        _verify(file, reference, option)
    return path


def _failure(reference: Reference, error: Exception, option: str) -> EngineError:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"https://huggingface.co/{reference.repository}"
    match error:
        case LocalEntryNotFoundError():
            problem = f"{reference} is not on this machine, and the hub cannot be reached"
            mend = (
                "Connect to the internet and start again, or download it on another machine and give the path of the "
                "file or folder here."
            )
        case GatedRepoError():
            problem = f"{reference} is only for those whom its owner lets in"
            mend = f"Ask at {page}, then set HF_TOKEN to your access token."
        case RepositoryNotFoundError():
            problem = f"The hub has no repository `{reference.repository}`, or it is private"
            mend = "Check the spelling; for a private one set HF_TOKEN to your access token."
        case RevisionNotFoundError():
            problem = f"`{reference.repository}` has no revision `{reference.revision}`"
            mend = f"{page} lists its branches and tags."
        case EntryNotFoundError():
            problem = f"`{reference.repository}` has no file `{reference.file}`"
            mend = f"{page}/tree/main lists its files."
        case _:
            problem = f"{reference} cannot be downloaded: {type(error).__name__}: {' '.join(str(error).split())}"
            mend = "Start again to go on where it stopped, or give the path of the file or folder here."
    return EngineError(f"{problem.rstrip('.')}.", mend, option)


def _verify(file: Path, reference: Reference, option: str) -> None:
    """Compares a download with its SHA-256: the cache names large files by it."""
    blob = file.resolve()
    if not _SHA256.fullmatch(blob.name):
        return  # a small one, which git holds itself
    with blob.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != blob.name:
        blob.unlink()
        file.unlink(missing_ok=True)
        raise EngineError(
            f"{file.name} of {reference} was damaged on the way.", "Start again to download it again.", option
        )
