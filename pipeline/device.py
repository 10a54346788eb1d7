"""Where an engine computes: what `device: auto | cpu | cuda` in models.yaml comes to.

`cuda` works or stops the start with the reason; `auto` takes CUDA where it works, and what came of it is printed when
the engine is loaded.
"""

import ctypes
import functools
import importlib.util
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pipeline.errors import EngineError
from pipeline.stages import Device

T = TypeVar("T")

Place: TypeAlias = Literal["cpu", "cuda"]

log = logging.getLogger(__name__)

_MEND = (
    "Install for CUDA with `make setup CUDA=1`, see that `nvidia-smi` lists a GPU, or write `device: auto`, which "
    "takes the CPU where there is no other way."
)

_DRIVER = "libcuda.so.1"
_NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE of cuda.h."""

_LIBRARIES = ("cudart", "nvrtc", "nvJitLink", "cublasLt", "cublas", "curand", "cufft", "cudnn")
"""NVIDIA's libraries that engines load, each after those that it needs itself."""


class CudaUnavailableError(Exception):
    """CUDA cannot be used here; the message says why, without a full stop."""


def load_on(
    device: Device, load: Callable[[Place], T], check_cuda: Callable[[], None], option: str = "device"
) -> tuple[T, Place]:
    """Loads weights where the option `device` says. Returns what `load` made, and where it is.

    Args:
        device: what models.yaml says.
        load: loads onto "cpu" or "cuda"; its `EngineError` means that the weights or the options are wrong, any other
            exception on "cuda" that CUDA does not work.
        check_cuda: raises `CudaUnavailableError` if the library was built without CUDA, or sees no GPU. NVIDIA's own
            libraries are loaded by then, where they came as wheels.
        option: the key that says where, for the error.

    Raises:
        EngineError: from `load`; or `device` is `cuda`, and that does not work.
    """
    if device != "cpu":
        try:
            load_cuda_libraries()
            check_cuda()
            return load("cuda"), "cuda"
        except EngineError:
            raise
        except Exception as error:
            if device == "cuda":
                raise EngineError(f"CUDA does not work here: {in_one_line(error)}.", _MEND, option) from error
            if not isinstance(error, CudaUnavailableError):
                log.warning("CUDA is there but does not work, so the CPU computes: %s", in_one_line(error))
    return load("cpu"), "cpu"


def check_device(name: str, engine: Any, options: Any) -> None:
    """Refuses `device: cuda` for an engine that has no use for it.

    Raises:
        EngineError: it does not say that it can compute there.
    """
    wanted = getattr(options, "device", "auto")
    able = getattr(engine, "devices", ("cpu",))
    if wanted != "auto" and wanted not in able:
        where = "on the CPU only" if "cpu" in able else "on another machine"
        raise EngineError(f"The engine `{name}` computes {where}.", "Write `device: auto`, or leave it out.", "device")


def device_of(engine: Any) -> str:
    """Returns where a loaded engine computes, for people to read."""
    return str(getattr(engine, "device", "cpu"))


@functools.cache
def load_cuda_libraries() -> None:
    """Loads NVIDIA's libraries from its wheels, where those are installed: the system's loader does not look there,
    but what is loaded already is found by its name. Without a driver they are of no use, and stay where they are.
    """
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return
    wheels = importlib.util.find_spec("nvidia")
    folders = wheels.submodule_search_locations if wheels is not None else None
    for name in _LIBRARIES:
        # Several versions may lie side by side: onnxruntime and CTranslate2 are built for different ones.
        for library in sorted(
            library for folder in folders or () for library in Path(folder).glob(f"*/lib/lib{name}.so.*")
        ):
            try:
                ctypes.CDLL(str(library))
            except OSError as error:  # whoever needs it will say that it is missing
                log.debug("%s cannot be loaded: %s", library, error)


@functools.cache
def gpu() -> str:
    """Returns the name of the first GPU that CUDA's driver shows this process, such as "NVIDIA H200".

    Raises:
        CudaUnavailableError: there is no driver, or it shows none.
    """
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        raise CudaUnavailableError(f"this machine has no NVIDIA driver ({_DRIVER})") from None
    error, count, name = driver.cuInit(0), ctypes.c_int(), ctypes.create_string_buffer(256)
    if not error:
        error = driver.cuDeviceGetCount(ctypes.byref(count))
    if error not in {0, _NO_DEVICE}:
        raise CudaUnavailableError(f"the NVIDIA driver does not start (CUDA error {error})")
    if count.value == 0:
        raise CudaUnavailableError("the NVIDIA driver shows no GPU")
    first = ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(first), 0)
    driver.cuDeviceGetName(name, len(name), first)
    return name.value.decode(errors="replace")


def cores() -> int:
    """Returns how many cores of the CPU this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_one_line(error: Exception) -> str:
    """Returns what an error says, for a sentence: on one line, without a full stop."""
    text = str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")
