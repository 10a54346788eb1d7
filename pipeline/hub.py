"""Model files from the Hugging Face hub: `hf:OWNER/REPOSITORY[@REVISION][:FILE]`.

What has been downloaded once lies in the hub's own cache (`HF_HOME`, by default ~/.cache/huggingface) and is used from
there without asking anybody. What has not is downloaded when the engine is loaded, with a progress bar, and checked
against the hub's SHA-256 before it is used.

A hub that cannot be reached is known in seconds: it is asked once, by `_ask`, before `huggingface_hub` downloads, which
would try again for minutes.
"""

import fnmatch
import hashlib
import logging
import re
import textwrap
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline.errors import EngineError

T = TypeVar("T")

log = logging.getLogger(__name__)

PREFIX = "hf:"

_REFERENCE = re.compile(
    r"hf:(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:@\s]+))?(?::(?P<file>[^:\s][^:]*))?", re.ASCII
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")

_ANSWER_S = 10.0
"""How long the hub may take to answer a question, looking up its address included."""

_LISTS = ".parley"
"""Folder of a repository's cache where the names of its files are kept, one text file for each commit."""


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
    if reference.file is None:
        raise EngineError(
            f"`{reference}` names no file.", f"Write which: {reference}:FILE (the hub's page lists them).", option
        )
    try:
        return _cached(reference, reference.file) or _download(reference, reference.file)
    except Exception as error:
        raise _failure(reference, error, option) from error


def fetch_folder(reference: Reference, patterns: Sequence[str], option: str = "model") -> Path:
    """Returns a folder with those files of a repository that match one of `patterns` (`*.json`), downloaded if they
    are not here yet. A download that was interrupted goes on with the files that are missing.

    Raises:
        EngineError: there is no such repository, it has no such files, or they cannot be downloaded.
    """
    cache = _Cache(reference)
    folder, names = cache.folder(), cache.names()
    if folder is not None and names is not None and all((folder / name).is_file() for name in _like(patterns, names)):
        return folder
    try:
        try:
            commit, names = _list(reference)
        except Exception as error:
            # Somebody else's download: that it is whole is likely, and the only way to go on.
            if folder is not None and names is None and not _is_final(error):
                log.warning("the hub cannot be asked whether %s is complete: using what is there", reference)
                return folder
            raise
        cache.keep(commit, names)
        wanted = _like(patterns, names)
        if not wanted:
            raise EngineError(
                f"`{reference}` has no files such as {' or '.join(patterns)}.",
                f"{_page(reference)}/tree/main lists its files.",
                option,
            )
        for name in wanted:
            if not (cache.home / "snapshots" / commit / name).is_file():
                _download(reference, name)
    except EngineError:
        raise
    except Exception as error:
        raise _failure(reference, error, option) from error
    return cache.home / "snapshots" / commit


class _Cache:
    """What the hub's cache holds of a repository.

    Its layout is that of `huggingface_hub`: refs/REVISION holds a commit, snapshots/COMMIT the files. A folder there
    may be incomplete, so `_LISTS`/COMMIT holds the names of all files that belong into it.
    """

    def __init__(self, reference: Reference) -> None:
        from huggingface_hub import constants

        self.home = Path(constants.HF_HUB_CACHE) / f"models--{reference.repository.replace('/', '--')}"
        self._revision = reference.revision or "main"

    def folder(self) -> Path | None:
        """Returns the folder of the revision's files, if there is one."""
        commit = self._commit()
        folder = self.home / "snapshots" / commit if commit else None
        return folder if folder is not None and folder.is_dir() else None

    def names(self) -> list[str] | None:
        """Returns which files the revision has; None: it was not downloaded by `fetch_folder`."""
        commit = self._commit()
        names = self.home / _LISTS / commit if commit else None
        return names.read_text(encoding="utf-8").splitlines() if names is not None and names.is_file() else None

    def keep(self, commit: str, names: Sequence[str]) -> None:
        """Remembers which files a commit has."""
        file = self.home / _LISTS / commit
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text("\n".join(names), encoding="utf-8")
        part.replace(file)

    def _commit(self) -> str | None:
        if _COMMIT.fullmatch(self._revision):
            return self._revision
        ref = self.home / "refs" / self._revision
        return ref.read_text(encoding="utf-8").strip() if ref.is_file() else None


def _cached(reference: Reference, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(reference.repository, name, revision=reference.revision)
    return Path(found) if isinstance(found, str) else None


def _list(reference: Reference) -> tuple[str, list[str]]:
    """Asks for the commit of a revision, and which files it has."""
    from huggingface_hub import HfApi

    info = _ask(lambda: HfApi().model_info(reference.repository, revision=reference.revision, timeout=_ANSWER_S))
    return str(info.sha), [file.rfilename for file in info.siblings or ()]


def _download(reference: Reference, name: str) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(reference.repository, name, revision=reference.revision)
    told = _ask(lambda: get_hf_file_metadata(url, timeout=_ANSWER_S))
    if told.commit_hash is None:
        raise _UnreachableError("what answers in its place is no hub")
    size = f" ({told.size / 1e6:.0f} MB)" if told.size and told.size > 1e6 else ""
    log.warning("%s of %s is not on this machine yet: downloading it%s", name, reference.repository, size)
    file = Path(hf_hub_download(reference.repository, name, revision=reference.revision, etag_timeout=round(_ANSWER_S)))
    if told.etag and _SHA256.fullmatch(told.etag):  # small files, which git holds itself, have another hash
        _verify(file, told.etag)
    return file


class _UnreachableError(Exception):
    """The hub does not answer; the message says how that shows."""


class _DamagedError(Exception):
    """A file is not what the hub says it is."""


def _ask(question: Callable[[], T]) -> T:
    """Returns the answer to one request, or raises what it raises.

    The request has a thread of its own: looking up an address may take minutes, and no timeout reaches there.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    answers: list[T] = []
    errors: list[Exception] = []

    def ask() -> None:
        try:
            answers.append(question())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=ask, name="parley-hub", daemon=True)
    thread.start()
    thread.join(_ANSWER_S)
    if answers:
        return answers[0]
    if not errors:
        raise _UnreachableError(f"no answer within {_ANSWER_S:g} s")
    if isinstance(errors[0], HfHubHTTPError | OfflineModeIsEnabled | HFValidationError):
        raise errors[0]
    raise _UnreachableError(_line(errors[0])) from errors[0]


def _verify(file: Path, sha256: str) -> None:
    """Compares a download with its SHA-256, and removes it if that differs."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest == sha256:
        return
    path: Path | None = file  # a link to the file proper, which may be one itself
    while path is not None:
        target = path.parent / path.readlink() if path.is_symlink() else None
        path.unlink(missing_ok=True)
        path = target
    raise _DamagedError(file.name)


def _failure(reference: Reference, error: Exception, option: str) -> EngineError:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    elsewhere = "download it on another machine and give the path of the file or folder here."
    token = "set HF_TOKEN to your access token."
    match error:
        case _DamagedError():
            problem = f"{error} of {reference} was damaged on the way: it is not what the hub's SHA-256 says"
            mend = "Start again to download it again."
        case OfflineModeIsEnabled():
            problem = f"{reference} is not on this machine, and HF_HUB_OFFLINE forbids to download it"
            mend = f"Unset HF_HUB_OFFLINE and start again, or {elsewhere}"
        case _UnreachableError() | LocalEntryNotFoundError() | ConnectionError() | TimeoutError():
            reason = f" ({error})" if isinstance(error, _UnreachableError) else ""
            problem = f"{reference} is not on this machine, and the hub {constants.ENDPOINT} cannot be reached{reason}"
            mend = f"Connect to the internet and start again, or {elsewhere}"
        case GatedRepoError():
            problem = f"{reference} is only for those whom its owner lets in"
            mend = f"Ask at {_page(reference)}, then {token}"
        case RepositoryNotFoundError():
            problem = f"The hub has no repository `{reference.repository}`, or it is private"
            mend = f"Check the spelling; for a private one {token}"
        case RevisionNotFoundError():
            problem = f"`{reference.repository}` has no revision `{reference.revision or 'main'}`"
            mend = f"{_page(reference)} lists its branches and tags."
        case HFValidationError():
            problem = f"`{reference}` is no reference to the Hugging Face hub: {_line(error)}"
            mend = "Write hf:OWNER/REPOSITORY, and after another colon the file: hf:OWNER/REPOSITORY:model.gguf."
        case HfHubHTTPError():
            problem, mend = _refused(reference, _status(error), token)
        case OSError(errno=int()):
            problem = f"{reference} cannot be stored in {constants.HF_HUB_CACHE}: {error.strerror}"
            mend = "Make room there, or set HF_HOME to another folder."
        case _:
            problem = f"The download of {reference} broke off: {_line(error)}"
            mend = f"Start again, or {elsewhere}"
    return EngineError(f"{problem}.", mend, option)


def _refused(reference: Reference, status: int, token: str) -> tuple[str, str]:
    """Returns what is wrong, and what to do, when the hub answers with an HTTP error of its own."""
    if status == 404:
        return (
            f"`{reference.repository}` has no file `{reference.file}`",
            f"{_page(reference)}/tree/main lists its files.",
        )
    if status in {401, 403}:
        return f"The hub refuses {reference} to this access token", f"See that it may read this repository, and {token}"
    return f"The hub cannot give {reference} now (HTTP {status})", "Start again later."


def _status(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _is_final(error: Exception) -> bool:
    """Whether the hub has answered, and would answer the same another time."""
    return 400 <= _status(error) < 500


def _like(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _page(reference: Reference) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{reference.repository}"


def _line(error: Exception) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}".rstrip(".: \n"), 200, placeholder=" …")
