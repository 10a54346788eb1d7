"""How the options say that keys and values are to be kept, and what that comes to."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

from pipeline.errors import EngineError
from pipeline.llm.llama_native import Cache, NativeError

T = TypeVar("T")

CacheType: TypeAlias = Literal["auto", "f32", "f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
"""How keys or values are kept: `auto`, or one of llama_native.CACHE_TYPES."""


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """The options of llama-cpp that are about it; `keys` and `values` of None are as `both` says."""

    both: CacheType
    keys: CacheType | None
    values: CacheType | None
    flash_attention: Literal["auto", "on", "off"]

    def check(self) -> None:
        """Checks what can be known before the model is.

        Raises:
            EngineError: llama.cpp cannot keep them so.
        """
        values = self.values or self.both
        if values.startswith("q") and self.flash_attention == "off":
            raise EngineError(
                f"Values are kept as {values} with flash attention only.",
                "Set `flash_attention` to auto, or `v_type` to f16.",
                "v_type" if self.values else "kv_type",
            )

    def start(self, make: Callable[..., T], *, shared: bool) -> T:
        """Returns what `make` does, called with a `cache`.

        With f16 for keys and values several threads of the CPU share the attention of a row that is alone in its step,
        once there are 512 cells, in another way than that of several rows (ggml-cpu/ops.cpp, flash attention): replies
        would depend on whether another is being made. With keys as q8_0, which are no slower, they never do.

        Args:
            make: makes a context.
            shared: whether several threads of the CPU share the work.

        Raises:
            NativeError: llama.cpp cannot keep them so.
        """
        keys, values = self.keys or self.both, self.values or self.both
        cache = Cache(_exact(keys), _exact(values), self.flash_attention)
        if keys == "auto" and shared and self.flash_attention != "off":
            with contextlib.suppress(NativeError):  # the heads of some models have no size that blocks of q8_0 fit
                return make(cache=replace(cache, keys="q8_0"))
        return make(cache=cache)


def _exact(kind: CacheType) -> str:
    return "f16" if kind == "auto" else kind
