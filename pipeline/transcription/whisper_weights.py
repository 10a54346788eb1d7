"""Whisper's weights in CTranslate2's format: where they come from, whether they are whole, and loading them.

CTranslate2 trusts what it loads: a vocabulary that is longer than the embeddings makes it write past their end. So the
header of model.bin and the files beside it are compared before it sees them.
"""

import json
import math
import re
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pipeline import hub
from pipeline.device import CudaUnavailableError, Place, gpu, load_cuda_libraries, load_on
from pipeline.errors import EngineError
from pipeline.registry import did_you_mean, listed
from pipeline.stages import Device

FILES = ("model.bin", "config.json", "tokenizer.json", "preprocessor_config.json", "vocabulary.*")
"""What faster-whisper needs of a repository."""

_CONVERT = (
    "Give a folder that `ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json` has written, "
    "or the name of a size, such as base.en."
)
_TOKENIZER = "Copy it from the repository that the model was converted from, such as openai/whisper-base."
_VERSION = 6
"""Of CTranslate2's file format: all its Whisper models have it."""

_NUMBER_BYTES = (4, 1, 2, 4, 2, 2)
"""Of float32, int8, int16, int32, float16 and bfloat16: the types of weights, by their number in the file."""

_LANDMARKS = ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>")
_TIMESTAMPS = 1501
"""The last tokens of a Whisper: from 0 to 30 s, every 20 ms."""

_PROBE_S = 300


def find(model: str) -> Path:
    """Returns the folder of a model: a size that faster-whisper knows by name, an `hf:` reference, or a folder.

    Raises:
        EngineError: there is no such size or folder, or it cannot be downloaded.
    """
    from faster_whisper import utils

    sizes: dict[str, str] = utils._MODELS

    if (reference := hub.parse(model)) is not None:
        if reference.file is not None:
            raise EngineError(
                f"`{model}` names a file, and Whisper needs the whole folder.",
                f"Leave the file out: {hub.Reference(reference.repository, reference.revision, None)}.",
                "model",
            )
        return hub.fetch_folder(reference, FILES)
    if model in sizes:
        return hub.fetch_folder(hub.Reference(sizes[model], None, None), FILES)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise EngineError(f"{folder} is a file, and Whisper needs a folder.", _CONVERT, "model")
    if re.fullmatch(r"[\w.-]+", model):
        raise EngineError(
            f"There is no Whisper called `{model}`, and no such folder.",
            f"{did_you_mean(model, sizes)}The sizes are {listed(sizes)}.",
            "model",
        )
    other = f"; a repository of the hub is written hf:{model}" if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model) else ""
    raise EngineError(f"There is no folder {folder}.", f"Correct the path{other}.", "model")


def load(folder: Path, device: Device, compute_type: str, threads: int, workers: int) -> tuple[Any, Place]:
    """Returns a faster_whisper.WhisperModel, and where it computes.

    Raises:
        EngineError: the folder is not what it should be, or this device cannot compute with it.
    """
    import ctranslate2
    from faster_whisper import WhisperModel

    check(folder)

    def check_cuda() -> None:
        name = gpu()
        load_cuda_libraries()
        if not ctranslate2.get_cuda_device_count():
            raise CudaUnavailableError(f"CTranslate2 has no use for the {name}")
        _check_compute_type(compute_type, "cuda")
        _probe_cuda(folder, compute_type)

    def load_there(place: Place) -> Any:
        _check_compute_type(compute_type, place)
        try:
            return WhisperModel(
                str(folder), device=place, compute_type=compute_type, cpu_threads=threads, num_workers=workers
            )
        except Exception as error:
            if place == "cuda":
                raise
            raise EngineError(f"CTranslate2 cannot load {folder}: {error}.", _CONVERT, "model") from error

    return load_on(device, load_there, check_cuda)


def _check_compute_type(compute_type: str, place: Place) -> None:
    import ctranslate2

    able = ctranslate2.get_supported_compute_types(place)
    if compute_type not in ("default", "auto", *able):
        where = "CPU" if place == "cpu" else "GPU"
        raise EngineError(
            f"This machine's {where} cannot compute with `{compute_type}`.",
            f"Write one of: auto, default, {', '.join(sorted(able))}.",
            "compute_type",
        )


_PROBE = """
import sys, ctranslate2, numpy
from pipeline.device import load_cuda_libraries
load_cuda_libraries()
model = ctranslate2.models.Whisper(sys.argv[1], device="cuda", compute_type=sys.argv[2])
sound = numpy.zeros((1, model.n_mels, 1000), numpy.float32)
model.encode(ctranslate2.StorageView.from_array(sound), to_cpu=True)
"""


def _probe_cuda(folder: Path, compute_type: str) -> None:
    """Computes on the GPU in another process: where a library of CUDA is missing, CTranslate2 may abort its own."""
    command = [sys.executable, "-P", "-c", _PROBE, str(folder), compute_type]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_PROBE_S
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"loading the model there took more than {_PROBE_S} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RuntimeError(said[-1] if said else f"a trial of it ended with status {done.returncode}")


# --- the files ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """What model.bin says of itself: the kind of network, and the shapes of its weights."""

    kind: str
    shapes: dict[str, tuple[int, ...]]


class _NotOursError(Exception):
    """It is not a file of CTranslate2's, or not a whole one; the message says which."""


def check(folder: Path) -> None:
    """Looks whether a folder holds a Whisper whose parts belong together.

    Raises:
        EngineError: files are missing, damaged, or do not belong together.
    """
    path = folder / "model.bin"
    if not path.is_file():
        raise EngineError(f"{folder} holds no model.bin, so it is no model for CTranslate2.", _CONVERT, "model")
    try:
        with path.open("rb") as file:
            header = read_header(file)
    except _NotOursError as error:
        raise EngineError(f"{path} {error}.", _CONVERT, "model") from error
    if header.kind != "WhisperSpec":
        raise EngineError(f"{path} is no Whisper, but a {header.kind}.", _CONVERT, "model")
    tokens = header.shapes.get("decoder/embeddings/weight", (0,))[0]
    _check_config(folder, tokens)
    if not (folder / "tokenizer.json").is_file():
        raise EngineError(f"{folder} holds no tokenizer.json.", _TOKENIZER, "model")
    vocabulary = _vocabulary(folder)
    if len(vocabulary) != tokens:
        problem = f"The vocabulary in {folder} has {len(vocabulary)} tokens, and its model.bin {tokens}: they are of "
        raise EngineError(f"{problem}different models.", _CONVERT, "model")
    _check_tokenizer(folder, vocabulary)


def read_header(file: BinaryIO) -> Header:
    """Reads the header of a model.bin, past the weights (format: ModelSpec._serialize of
    CTranslate2's specs/model_spec.py).

    Raises:
        _NotOursError: it is something else, or ends too early.
    """
    try:
        (version,) = _unpack(file, "<I")
        if version != _VERSION:
            raise _NotOursError("is not in the format of CTranslate2")
        kind = _name(file)
        _, count = _unpack(file, "<II")
        shapes = {}
        for _ in range(count):
            name = _name(file)
            (rank,) = _unpack(file, "<B")
            shapes[name] = _unpack(file, f"<{rank}I")
            number_type, length = _unpack(file, "<BI")
            if number_type >= len(_NUMBER_BYTES) or length != math.prod(shapes[name]) * _NUMBER_BYTES[number_type]:
                raise _NotOursError("is damaged")
            file.seek(length, 1)
        (aliases,) = _unpack(file, "<I")
        for _ in range(aliases):
            alias, name = _name(file), _name(file)
            shapes[alias] = shapes.get(name, ())
    except EOFError as error:
        raise _NotOursError("is not whole: its end is missing") from error
    except UnicodeDecodeError as error:
        raise _NotOursError("is damaged") from error
    return Header(kind, shapes)


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    data = file.read(struct.calcsize(form))
    if len(data) != struct.calcsize(form):
        raise EOFError
    return struct.unpack(form, data)


def _name(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<H")
    return str(_unpack(file, f"<{length}s")[0].rstrip(b"\0").decode())


def _check_config(folder: Path, tokens: int) -> None:
    """Reads config.json. CTranslate2 reads past the end of its memory where lists of tokens are missing or wrong."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"config.json in {folder} cannot be read: {error}.", _CONVERT, "model") from error
    if not isinstance(config, dict):
        raise EngineError(f"config.json in {folder} holds no settings.", _CONVERT, "model")
    for key in ("suppress_ids", "suppress_ids_begin", "lang_ids"):
        ids = config.get(key, None if key == "suppress_ids_begin" else [])
        if not (isinstance(ids, list) and all(type(each) is int and -1 <= each < tokens for each in ids)):
            raise EngineError(
                f"config.json in {folder} has no list of this model's tokens as `{key}`.", _CONVERT, "model"
            )


def _vocabulary(folder: Path) -> list[str]:
    try:
        if (path := folder / "vocabulary.json").is_file():
            listed = json.loads(path.read_text("utf-8"))
            return listed if isinstance(listed, list) else []
        return (folder / "vocabulary.txt").read_text("utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise EngineError(f"The vocabulary in {folder} cannot be read: {error}.", _CONVERT, "model") from error


def _check_tokenizer(folder: Path, vocabulary: list[str]) -> None:
    """Compares tokenizer.json with the vocabulary: prompts are written with the one and read with the other."""
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises nothing more specific
        raise EngineError(f"tokenizer.json in {folder} cannot be read: {error}.", _TOKENIZER, "model") from error
    last = tokenizer.token_to_id("<|notimestamps|>")
    fits = (
        last is not None
        and last + _TIMESTAMPS < len(vocabulary)
        and tokenizer.get_vocab_size() <= len(vocabulary)
        and all(vocabulary[tokenizer.token_to_id(token) or 0] == token for token in _LANDMARKS)
    )
    if not fits:
        raise EngineError(f"tokenizer.json in {folder} does not belong to its model.bin.", _TOKENIZER, "model")
