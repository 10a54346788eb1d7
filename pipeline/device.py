"""Where an engine computes: what `device: auto | cpu | cuda` in models.yaml comes to.

`cuda` works or stops the start with the reason; `auto` takes CUDA where it works, and what came of it is printed when
the engine is loaded.
"""

import logging
from collections.abc import Callable
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
        check_cuda: raises `CudaUnavailableError` if the library was built without CUDA, or sees no GPU.
        option: the key that says where, for the error.

    Raises:
        EngineError: from `load`; or `device` is `cuda`, and that does not work.
    """
    if device != "cpu":
        try:
            check_cuda()
            return load("cuda"), "cuda"
        except EngineError:
            raise
        except Exception as error:
            if device == "cuda":
                raise EngineError(f"CUDA does not work here: {_reason(error)}.", _MEND, option) from error
            if not isinstance(error, CudaUnavailableError):
                log.warning("CUDA is there but does not work, so the CPU computes: %s", _reason(error))
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


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")
