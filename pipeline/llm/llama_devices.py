"""Which GPUs llama.cpp can compute on."""

import ctypes
from typing import Any

import llama_cpp as c
from llama_cpp import _ggml

from pipeline.device import CudaUnavailableError
from pipeline.llm.llama_native import start_library

_GPU_KINDS = (1, 2)
"""GPUs with memory of their own, and those that share it (`ggml_backend_dev_type` in ggml-backend.h)."""


def check_cuda() -> None:
    """See `pipeline.device.load_on`.

    Raises:
        CudaUnavailableError: llama-cpp-python was built without CUDA, or sees no GPU.
    """
    start_library()  # it looks for GPUs, and tells Python's log what it finds
    if not c.llama_supports_gpu_offload():
        raise CudaUnavailableError("the llama-cpp-python that is installed was built without CUDA")
    if cuda_device() is None:
        raise CudaUnavailableError("llama.cpp finds no NVIDIA GPU")


def cuda_device() -> str | None:
    """Returns what the first NVIDIA GPU calls itself; None without one."""
    library = _ggml.libggml
    get = library.ggml_backend_dev_get
    get.argtypes, get.restype = [ctypes.c_size_t], ctypes.c_void_p
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    for index in range(library.ggml_backend_dev_count()):
        device = get(index)
        if _ask(library.ggml_backend_dev_type, ctypes.c_int, device) not in _GPU_KINDS:
            continue
        if _ask(library.ggml_backend_dev_name, ctypes.c_char_p, device).startswith(b"CUDA"):
            return str(_ask(library.ggml_backend_dev_description, ctypes.c_char_p, device).decode("utf-8", "replace"))
    return None


def _ask(function: Any, kind: type, device: int) -> Any:
    function.argtypes, function.restype = [ctypes.c_void_p], kind
    return function(device)
