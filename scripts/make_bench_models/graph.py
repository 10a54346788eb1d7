"""Writes ONNX graphs down layer by layer, with random weights and the names that PyTorch's exporter gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class GraphBuilder:
    """A graph in the making. Tensors go by their names; layers stand at paths such as `dec.conv_pre`."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, np.ndarray] = {}
        self._names: Counter[str] = Counter()

    def op(self, kind: str, *inputs: str, at: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """Adds an operation. Returns its output, or a list of several."""
        name = "/".join(("", *at.split("."), kind)) if at else f"/{kind}"
        count = self._names[name]
        self._names[name] += 1
        name = f"{name}_{count}" if count else name
        made = [f"{name}_output_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), made, name, **attributes))
        return made[0] if outputs == 1 else made

    def constant(self, value: Any, kind: type = np.float32) -> str:
        """Returns a tensor that holds numbers."""
        array = np.array(value, kind)
        name = f"constant_{array.dtype}_{array.shape}_{array.ravel().tolist()}"
        self._weights.setdefault(name, array)
        return name

    def integers(self, *values: int) -> str:
        """Returns a tensor of int64, of one dimension."""
        return self.constant(values, np.int64)

    def weight(self, name: str, *shape: int, spread: float = 1.0, mean: float = 0.0) -> str:
        """Returns a tensor of random numbers."""
        self._weights[name] = (mean + spread * self._random.standard_normal(shape)).astype(np.float32)
        return name

    def scale(self, name: str, factor: float) -> None:
        """Multiplies a weight."""
        self._weights[name] = (self._weights[name] * np.float32(factor)).astype(np.float32)

    def conv(
        self,
        at: str,
        taken: str,
        channels: tuple[int, int],
        kernel: int = 1,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        gain: float = 1.0,
    ) -> str:
        """Adds a convolution along time that keeps the number of frames; its output is as loud as its input."""
        before, after = channels
        inside = before // groups
        names = [self.weight(f"{at}.weight", after, inside, kernel, spread=gain / (inside * kernel) ** 0.5)]
        if bias:
            names.append(self.weight(f"{at}.bias", after, spread=0.01))
        pad = (kernel - 1) * dilation // 2
        shape = {"dilations": [dilation], "kernel_shape": [kernel], "pads": [pad, pad], "strides": [1]}
        return self.op("Conv", taken, *names, at=at, group=groups, **shape)

    def longer(self, at: str, taken: str, channels: tuple[int, int], kernel: int, stride: int, *, gain: float) -> str:
        """Adds a transposed convolution, which makes `stride` values of one."""
        spread = gain / (channels[0] * kernel / stride) ** 0.5
        weight = self.weight(f"{at}.weight", *channels, kernel, spread=spread)
        bias = self.weight(f"{at}.bias", channels[1], spread=0.01)
        pad = (kernel - stride) // 2
        shape = {"dilations": [1], "kernel_shape": [kernel], "pads": [pad, pad], "strides": [stride]}
        return self.op("ConvTranspose", taken, weight, bias, at=at, group=1, **shape)

    def norm(self, at: str, taken: str, channels: int) -> str:
        """Adds a normalisation over channels, [1, channels, frames], as the exporter writes it down."""
        turned = self.op("Transpose", taken, at=at, perm=[0, 2, 1])
        mean = self.op("ReduceMean", turned, at=at, axes=[-1])
        centred = self.op("Sub", turned, mean, at=at)
        square = self.op("Pow", centred, self.constant(2.0), at=at)
        variance = self.op("ReduceMean", square, at=at, axes=[-1])
        root = self.op("Sqrt", self.op("Add", variance, self.constant(1e-5), at=at), at=at)
        scaled = self.op("Div", centred, root, at=at)
        scaled = self.op("Mul", scaled, self.weight(f"{at}.gamma", channels, spread=0.0, mean=1.0), at=at)
        shifted = self.op("Add", scaled, self.weight(f"{at}.beta", channels, spread=0.01), at=at)
        return self.op("Transpose", shifted, at=at, perm=[0, 2, 1])

    def gelu(self, at: str, taken: str) -> str:
        """Adds x/2 · (1 + erf(x/√2))."""
        error = self.op("Erf", self.op("Div", taken, self.constant(2**0.5), at=at), at=at)
        product = self.op("Mul", taken, self.op("Add", error, self.constant(1.0), at=at), at=at)
        return self.op("Mul", product, self.constant(0.5), at=at)

    def take(self, taken: str, start: str, end: str, axis: int, at: str = "", *, step: int = 1) -> str:
        """Cuts a tensor along one axis."""
        return self.op("Slice", taken, start, end, self.integers(axis), self.integers(step), at=at)

    def save(self, path: Path, inputs: list[onnx.ValueInfoProto], made: str, opset: int) -> None:
        """Writes the graph; `made` becomes its only output, float32 `output`."""
        nodes = [*self._nodes, helper.make_node("Identity", [made], ["output"], "/output")]
        output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch_size", 1, 1, "time"])
        weights = [numpy_helper.from_array(array, name) for name, array in self._weights.items()]
        graph = helper.make_graph(nodes, "main_graph", inputs, [output], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.save(model, path)
