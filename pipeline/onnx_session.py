"""Opens weights in ONNX files with onnxruntime, on the CPU or on a GPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime

from pipeline.device import CudaUnavailableError, Place, gpu, in_one_line, load_on
from pipeline.errors import EngineError
from pipeline.stages import Device

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


def open_session(
    path: Path,
    device: Device,
    *,
    threads: int = 1,
    fixed_shapes: bool = True,
    trial: Callable[[onnxruntime.InferenceSession], object] = lambda session: None,
    mend: str,
    option: str | None = None,
    part: bytes | None = None,
) -> tuple[onnxruntime.InferenceSession, str]:
    """Opens an ONNX file. Returns the session, whose `run` several threads may call, and where it computes.

    Args:
        path: the file.
        device: what models.yaml says.
        threads: how many compute one `run` on the CPU; the caller's is one of them.
        fixed_shapes: whether every `run` is given as much as the others.
        trial: runs the model once, so that one that cannot compute here is known before it is needed.
        mend: what to do about a file that cannot be opened, for the error.
        option: the option that names the file, for the error.
        part: a part of the model in the file, itself a model, to open in its place.

    Raises:
        EngineError: the file is missing or no model; or `device` is `cuda`, and that does not work.
    """
    if not path.is_file():
        raise EngineError(f"{path} {'is a folder, not a file' if path.is_dir() else 'does not exist'}.", mend, option)

    model = str(path) if part is None else part

    def load(place: Place) -> onnxruntime.InferenceSession:
        try:
            session = _session(model, _CPU, threads, fixed_shapes)
        except Exception as error:  # onnxruntime raises classes of its own, without a common base
            raise EngineError(f"{path} cannot be read as an ONNX model: {in_one_line(error)}.", mend, option) from error
        if place == "cuda":
            session = _on_cuda(model, threads, fixed_shapes)
            trial(session)
            return session
        try:
            trial(session)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"{path} cannot be run: {in_one_line(error)}.", mend, option) from error
        return session

    session, place = load_on(device, load, check_cuda)
    return session, f"cuda ({gpu()})" if place == "cuda" else place


def check_cuda() -> None:
    """Finds whether onnxruntime may compute on a GPU: see `device.load_on`.

    Raises:
        CudaUnavailableError: it was built without CUDA, or there is no GPU.
    """
    if _CUDA not in onnxruntime.get_available_providers():
        raise CudaUnavailableError("the installed onnxruntime is built without it")
    gpu()


def _on_cuda(model: str | bytes, threads: int, fixed_shapes: bool) -> onnxruntime.InferenceSession:
    session = _session(model, _CUDA, threads, fixed_shapes)
    if _CUDA not in session.get_providers():  # it takes the CPU instead, and only its log tells why
        raise RuntimeError("onnxruntime finds the GPU, but cannot load the libraries of CUDA or cuDNN that it needs")
    return session


def _session(model: str | bytes, provider: str, threads: int, fixed_shapes: bool) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other engines want the cores
    settings.log_severity_level = 3  # errors; below are hints about its own optimisations
    # A plan of the memory fits one shape only: with ever new ones, plans would pile up.
    settings.enable_mem_pattern = fixed_shapes
    providers: list[Any] = [_CPU]
    if provider == _CUDA:
        # Its default tries all of cuDNN's algorithms, anew for each shape.
        providers.insert(0, (_CUDA, {"cudnn_conv_algo_search": "EXHAUSTIVE" if fixed_shapes else "HEURISTIC"}))
    return onnxruntime.InferenceSession(model, settings, providers=providers, enable_fallback=0)
