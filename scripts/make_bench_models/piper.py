"""Piper voices: true shape, random weights, sound as long as that of a real voice.

The layers are those of VITS (https://arxiv.org/abs/2106.06103) in the sizes that Piper trains, as one ONNX graph that
takes and makes what Piper's exports do. The sound is noise; each phoneme id lasts about 3 frames, so that some 14
symbols of espeak-ng's are said in a second, stress marks and spaces among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from scripts.make_test_models.piper import describe

from .graph import GraphBuilder
from .spline import add_inverse_spline

RATE = 22_050
OPSET = 15
FRAMES = 2.75
"""How long a phoneme id lasts before it is rounded up."""

LIVELINESS = 0.05
"""How much the logarithm of that follows the noise."""

PEAK = 0.5
"""How loud the sound is."""

WINDOW = 4
"""How many ids to either side the attention has relative positions for."""

COUPLINGS, COUPLING_LAYERS, COUPLING_KERNEL = 4, 4, 5
"""Of the flow."""
DURATION_FLOWS = (7, 5, 3)
"""Those of the duration predictor that a voice uses to speak; the even ones swap the channels."""
BINS = 10


@dataclass(frozen=True)
class Shape:
    """Sizes as in Piper's training; `kinds` of residual blocks have as many convolutions between additions."""

    symbols: int = 256
    width: int = 192
    hidden: int = 768
    heads: int = 2
    layers: int = 6
    speaker_width: int = 512
    convolutions: int = 1
    kernels: tuple[int, ...] = (3, 5, 7)
    dilations: tuple[tuple[int, ...], ...] = ((1, 2), (2, 6), (3, 12))
    decoder_width: int = 256
    rates: tuple[int, ...] = (8, 8, 4)
    rate_kernels: tuple[int, ...] = (16, 16, 8)


SHAPES = {
    "piper-medium": Shape(),
    "piper-high": Shape(
        convolutions=2,
        kernels=(3, 7, 11),
        dilations=((1, 3, 5),) * 3,
        decoder_width=512,
        rates=(8, 8, 2, 2),
        rate_kernels=(16, 16, 4, 4),
    ),
}


def write(path: Path, shape: Shape, speakers: tuple[str, ...] = (), seed: int = 0) -> Path:
    """Writes a voice, and its .onnx.json beside it. It speaks American English."""
    voice = _Voice(shape, len(speakers), seed)
    voice.add()
    voice.save(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {"input": np.arange(40)[None], "input_lengths": np.array([40]), "scales": np.array([0.667, 1, 0.8])}
    feeds["scales"] = feeds["scales"].astype(np.float32)
    if speakers:
        feeds["sid"] = np.array([0])
    (sound,) = session.run(None, feeds)
    voice.graph.scale("dec.conv_post.weight", PEAK / float(np.abs(sound).max()))
    voice.save(path)
    describe(path, rate=RATE, speakers=speakers)
    return path


class _Voice:
    """Its layers, in the order in which they compute."""

    def __init__(self, shape: Shape, speakers: int, seed: int) -> None:
        self.graph = GraphBuilder(seed)
        self._shape = shape
        self._speakers = speakers
        self._output = self._speaker = ""

    def add(self) -> None:
        """Adds all of it."""
        graph, shape = self.graph, self._shape
        self._ids = graph.op("Gather", graph.op("Shape", "input"), graph.integers(1), axis=0)  # how many, [1]
        if self._speakers:
            table = graph.weight("emb_g.weight", self._speakers, shape.speaker_width)
            speaker = graph.op("Gather", table, "sid", at="emb_g", axis=0)
            self._speaker = graph.op("Unsqueeze", speaker, graph.integers(-1))
        self._mask = self._mask_of("input_lengths", self._ids)
        encoded, mean, log_deviation = self._encode()
        lengths = self._lengths(encoded)
        prior, frames_mask = self._spread(mean, log_deviation, lengths)
        self._output = self._decode(self._flow(prior, frames_mask))

    def save(self, path: Path) -> None:
        """Writes the graph."""
        inputs = [
            helper.make_tensor_value_info("input", TensorProto.INT64, ["batch_size", "phonemes"]),
            helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch_size"]),
            helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
        ]
        if self._speakers:
            inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
        self.graph.save(path, inputs, self._output, OPSET)

    # --- the text side ----------------------------------------------------------------------------------------

    def _mask_of(self, length: str, count: str) -> str:
        """Ones up to `length`, float32 [1, 1, count]."""
        graph = self.graph
        places = self._range(count)
        inside = graph.op("Less", places, graph.op("Unsqueeze", length, graph.integers(1)))
        return graph.op("Unsqueeze", graph.op("Cast", inside, to=TensorProto.FLOAT), graph.integers(1))

    def _range(self, count: str) -> str:
        graph = self.graph
        end = graph.op("Squeeze", count, graph.integers(0))
        return graph.op("Range", graph.constant(0, np.int64), end, graph.constant(1, np.int64))

    def _scalar(self, which: int) -> str:
        """One of the three scales."""
        return self.graph.op("Gather", "scales", self.graph.constant(which, np.int64), axis=0)

    def _encode(self) -> tuple[str, str, str]:
        """Ids → what the encoder makes of them, and the prior's mean and log deviation, each [1, width, ids]."""
        graph, shape = self.graph, self._shape
        table = graph.weight("enc_p.emb.weight", shape.symbols, shape.width)
        x = graph.op("Transpose", graph.op("Gather", table, "input", at="enc_p.emb", axis=0), perm=[0, 2, 1])
        x = graph.op("Mul", x, self._mask, at="enc_p")
        square = graph.op(
            "Mul",
            graph.op("Unsqueeze", self._mask, graph.integers(2)),
            graph.op("Unsqueeze", self._mask, graph.integers(-1)),
        )
        hidden = graph.op("Equal", square, graph.constant(0.0))
        for layer in range(shape.layers):
            at = "enc_p.encoder"
            y = self._attend(f"{at}.attn_layers.{layer}", x, hidden)
            x = graph.norm(f"{at}.norm_layers_1.{layer}", graph.op("Add", x, y, at=at), shape.width)
            y = graph.op("Mul", x, self._mask, at=at)
            y = graph.conv(f"{at}.ffn_layers.{layer}.conv_1", y, (shape.width, shape.hidden), 3)
            y = graph.op("Mul", graph.op("Relu", y, at=at), self._mask, at=at)
            y = graph.conv(f"{at}.ffn_layers.{layer}.conv_2", y, (shape.hidden, shape.width), 3)
            y = graph.op("Mul", y, self._mask, at=at)
            x = graph.norm(f"{at}.norm_layers_2.{layer}", graph.op("Add", x, y, at=at), shape.width)
        x = graph.op("Mul", x, self._mask, at="enc_p.encoder")
        both = graph.conv("enc_p.proj", x, (shape.width, 2 * shape.width), gain=0.5)
        both = graph.op("Mul", both, self._mask, at="enc_p")
        mean, log_deviation = graph.op("Split", both, graph.integers(shape.width, shape.width), outputs=2, axis=1)
        return x, mean, log_deviation

    def _attend(self, at: str, x: str, hidden: str) -> str:
        """Self-attention with relative positions (https://arxiv.org/abs/1803.02155)."""
        graph, shape = self.graph, self._shape
        channels = shape.width // shape.heads
        split = graph.integers(1, shape.heads, channels, -1)
        query, key, value = (
            graph.op(
                "Transpose",
                graph.op("Reshape", graph.conv(f"{at}.conv_{each}", x, (shape.width, shape.width)), split, at=at),
                at=at,
                perm=[0, 1, 3, 2],
            )
            for each in "qkv"
        )
        query = graph.op("Div", query, graph.constant(channels**0.5), at=at)
        scores = graph.op("MatMul", query, graph.op("Transpose", key, at=at, perm=[0, 1, 3, 2]), at=at)
        near = graph.op("Transpose", self._positions(f"{at}.emb_rel_k", channels), at=at, perm=[0, 1, 3, 2])
        scores = graph.op("Add", scores, self._absolute(at, graph.op("MatMul", query, near, at=at)), at=at)
        scores = graph.op("Where", hidden, graph.constant(-1e4), scores, at=at)
        weights = graph.op("Softmax", scores, at=at, axis=-1)
        made = graph.op("MatMul", weights, value, at=at)
        near = self._positions(f"{at}.emb_rel_v", channels)
        made = graph.op("Add", made, graph.op("MatMul", self._relative(at, weights), near, at=at), at=at)
        made = graph.op("Transpose", made, at=at, perm=[0, 1, 3, 2])
        made = graph.op("Reshape", made, graph.integers(1, shape.width, -1), at=at)
        return graph.conv(f"{at}.conv_o", made, (shape.width, shape.width))

    def _positions(self, name: str, channels: int) -> str:
        """The embeddings of the 2 · ids - 1 relative positions: zero beyond the window."""
        graph = self.graph
        table = graph.weight(name, 1, 1, 2 * WINDOW + 1, channels, spread=channels**-0.5)
        beyond = graph.op("Sub", self._ids, graph.integers(WINDOW + 1))
        zeros = graph.integers(0, 0)
        pads = graph.op("Concat", zeros, beyond, graph.integers(0), zeros, beyond, graph.integers(0), axis=0)
        return graph.op("Pad", table, pads)

    def _absolute(self, at: str, x: str) -> str:
        """[…, ids, 2 · ids - 1] by relative position → […, ids, ids] by position."""
        graph, heads = self.graph, self._shape.heads
        one, two = graph.integers(1), graph.integers(2)
        less = graph.op("Sub", self._ids, one)
        x = graph.op("Pad", x, graph.integers(0, 0, 0, 0, 0, 0, 0, 1), at=at)
        x = graph.op("Reshape", x, graph.integers(1, heads, -1), at=at)
        x = graph.op("Pad", x, graph.op("Concat", graph.integers(0, 0, 0, 0, 0), less, axis=0), at=at)
        row = graph.op("Sub", graph.op("Mul", self._ids, two), one)
        x = graph.op("Reshape", x, graph.op("Concat", graph.integers(1, heads, -1), row, axis=0), at=at)
        x = graph.take(x, graph.integers(0), self._ids, 2, at)
        return graph.take(x, less, graph.integers(2**62), 3, at)

    def _relative(self, at: str, x: str) -> str:
        """The other way round."""
        graph, heads = self.graph, self._shape.heads
        less = graph.op("Sub", self._ids, graph.integers(1))
        x = graph.op("Pad", x, graph.op("Concat", graph.integers(*[0] * 7), less, axis=0), at=at)
        x = graph.op("Reshape", x, graph.integers(1, heads, -1), at=at)
        x = graph.op("Pad", x, graph.op("Concat", graph.integers(0, 0), self._ids, graph.integers(0, 0, 0), axis=0))
        row = graph.op("Mul", self._ids, graph.integers(2))
        x = graph.op("Reshape", x, graph.op("Concat", graph.integers(1, heads, -1), row, axis=0), at=at)
        return graph.take(x, graph.integers(1), graph.integers(2**62), 3, at)

    def _lengths(self, x: str) -> str:
        """How many frames each id lasts, float32 [1, 1, ids], by a stochastic duration predictor run backwards."""
        graph, width = self.graph, self._shape.width
        x = graph.conv("dp.pre", x, (width, width))
        if self._speaker:
            x = graph.op("Add", x, graph.conv("dp.cond", self._speaker, (self._shape.speaker_width, width)), at="dp")
        x = graph.conv("dp.proj", self._separable("dp.convs", x), (width, width))
        x = graph.op("Mul", x, self._mask, at="dp")
        two = graph.op("Concat", self._mask, self._mask, at="dp", axis=1)
        z = graph.op("Mul", graph.op("RandomNormalLike", two, at="dp"), self._scalar(2), at="dp")
        for flow in DURATION_FLOWS:
            z = self._bend(f"dp.flows.{flow}", self._flip(z), x)
        z = self._flip(z)
        # The last flow is a line. Where it lies decides how long an id is, and its slope how lively.
        mean = graph.constant([[-log(FRAMES) / LIVELINESS]] * 2)
        z = graph.op("Mul", graph.op("Sub", z, mean, at="dp.flows.0"), graph.constant(LIVELINESS), at="dp.flows.0")
        logarithm, _ = graph.op("Split", z, graph.integers(1, 1), at="dp", outputs=2, axis=1)
        length = graph.op("Mul", graph.op("Exp", logarithm), self._mask)
        return graph.op("Ceil", graph.op("Mul", length, self._scalar(1)))

    def _separable(self, at: str, x: str) -> str:
        """Three depthwise convolutions, each followed by one across channels."""
        graph, width = self.graph, self._shape.width
        for layer in range(3):
            y = graph.op("Mul", x, self._mask, at=at)
            y = graph.conv(f"{at}.convs_sep.{layer}", y, (width, width), 3, dilation=3**layer, groups=width)
            y = graph.gelu(at, graph.norm(f"{at}.norms_1.{layer}", y, width))
            y = graph.conv(f"{at}.convs_1x1.{layer}", y, (width, width))
            y = graph.gelu(at, graph.norm(f"{at}.norms_2.{layer}", y, width))
            x = graph.op("Add", x, y, at=at)
        return graph.op("Mul", x, self._mask, at=at)

    def _bend(self, at: str, z: str, x: str) -> str:
        """One channel bends the other: a flow of rational quadratic splines (https://arxiv.org/abs/1906.04032)."""
        graph, width = self.graph, self._shape.width
        first, second = graph.op("Split", z, graph.integers(1, 1), at=at, outputs=2, axis=1)
        h = graph.op("Add", graph.conv(f"{at}.pre", first, (1, width)), x, at=at)
        h = graph.conv(f"{at}.proj", self._separable(f"{at}.convs", h), (width, 3 * BINS - 1))
        h = graph.op("Transpose", graph.op("Mul", h, self._mask, at=at), at=at, perm=[0, 2, 1])
        flat = graph.op("Transpose", second, at=at, perm=[0, 2, 1])
        bent = graph.op("Transpose", add_inverse_spline(graph, at, flat, h, BINS), at=at, perm=[0, 2, 1])
        return graph.op("Mul", graph.op("Concat", first, bent, at=at, axis=1), self._mask, at=at)

    def _flip(self, x: str) -> str:
        graph = self.graph
        return graph.take(x, graph.integers(-1), graph.integers(-(2**62)), 1, step=-1)

    def _spread(self, mean: str, log_deviation: str, lengths: str) -> tuple[str, str]:
        """Ids → frames, drawn from the prior: float32 [1, width, frames], and their mask."""
        graph = self.graph
        total = graph.op("ReduceSum", lengths, graph.integers(1, 2), keepdims=0)
        total = graph.op("Cast", graph.op("Clip", total, graph.constant(1.0)), to=TensorProto.INT64)
        mask = self._mask_of(total, graph.op("ReduceMax", total, axes=[0], keepdims=1))
        places = graph.op("Cast", self._range(total), to=TensorProto.FLOAT)
        ends = graph.op("CumSum", lengths, graph.constant(-1, np.int64))
        until = graph.op("Less", places, graph.op("Transpose", ends, perm=[0, 2, 1]))  # [1, ids, frames]
        until = graph.op("Cast", until, to=TensorProto.FLOAT)
        earlier = graph.op("Pad", until, graph.integers(0, 1, 0, 0, -1, 0))
        path = graph.op("Transpose", graph.op("Sub", until, earlier), perm=[0, 2, 1])
        mean, log_deviation = (
            graph.op("Transpose", graph.op("MatMul", path, graph.op("Transpose", each, perm=[0, 2, 1])), perm=[0, 2, 1])
            for each in (mean, log_deviation)
        )
        noise = graph.op("Mul", graph.op("RandomNormalLike", mean), graph.op("Exp", log_deviation))
        return graph.op("Add", mean, graph.op("Mul", noise, self._scalar(0))), mask

    # --- frames → sound ---------------------------------------------------------------------------------------

    def _flow(self, z: str, mask: str) -> str:
        """Frames of the prior → frames for the decoder, by coupling layers run backwards."""
        graph, width = self.graph, self._shape.width
        half = graph.integers(width // 2, width // 2)
        for index in reversed(range(COUPLINGS)):
            at = f"flow.flows.{2 * index}"
            first, second = graph.op("Split", self._flip(z), half, at=at, outputs=2, axis=1)
            h = graph.op("Mul", graph.conv(f"{at}.pre", first, (width // 2, width)), mask, at=at)
            mean = graph.conv(f"{at}.post", self._gated(f"{at}.enc", h, mask), (width, width // 2), gain=0.3)
            mean = graph.op("Mul", mean, mask, at=at)
            second = graph.op("Mul", graph.op("Sub", second, mean, at=at), mask, at=at)
            z = graph.op("Concat", first, second, at=at, axis=1)
        return graph.op("Mul", z, mask)

    def _gated(self, at: str, x: str, mask: str) -> str:
        """Gated convolutions with skips, as in WaveNet (https://arxiv.org/abs/1609.03499)."""
        graph, width = self.graph, self._shape.width
        both, layers = 2 * width, COUPLING_LAYERS
        if self._speaker:
            speaker = graph.conv(f"{at}.cond_layer", self._speaker, (self._shape.speaker_width, both * layers))
        output = ""
        for layer in range(layers):
            y = graph.conv(f"{at}.in_layers.{layer}", x, (width, both), COUPLING_KERNEL)
            if self._speaker:
                bounds = graph.integers(both * layer), graph.integers(both * (layer + 1))
                y = graph.op("Add", y, graph.take(speaker, *bounds, 1, at), at=at)
            first = graph.take(y, graph.integers(0), graph.integers(width), 1, at)
            second = graph.take(y, graph.integers(width), graph.integers(both), 1, at)
            y = graph.op("Mul", graph.op("Tanh", first, at=at), graph.op("Sigmoid", second, at=at), at=at)
            last = layer == layers - 1
            y = graph.conv(f"{at}.res_skip_layers.{layer}", y, (width, width if last else both))
            if not last:
                rest = graph.take(y, graph.integers(0), graph.integers(width), 1, at)
                x = graph.op("Mul", graph.op("Add", x, rest, at=at), mask, at=at)
                y = graph.take(y, graph.integers(width), graph.integers(both), 1, at)
            output = graph.op("Add", output, y, at=at) if output else y
        return graph.op("Mul", output, mask, at=at)

    def _decode(self, x: str) -> str:
        """Frames → sound, float32 [1, 1, 1, samples]: the generator of HiFi-GAN (https://arxiv.org/abs/2010.05646)."""
        graph, shape = self.graph, self._shape
        width = shape.decoder_width
        x = graph.conv("dec.conv_pre", x, (shape.width, width), 7)
        if self._speaker:
            x = graph.op("Add", x, graph.conv("dec.cond", self._speaker, (shape.speaker_width, width)), at="dec")
        for index, (rate, kernel) in enumerate(zip(shape.rates, shape.rate_kernels, strict=True)):
            x = graph.op("LeakyRelu", x, at="dec", alpha=0.1)
            x = graph.longer(f"dec.ups.{index}", x, (width, width // 2), kernel, rate, gain=1.4)
            width //= 2
            total = ""
            for number in range(len(shape.kernels)):
                block = self._block(f"dec.resblocks.{index * len(shape.kernels) + number}", x, width, number)
                total = graph.op("Add", total, block, at="dec") if total else block
            x = graph.op("Div", total, graph.constant(float(len(shape.kernels))), at="dec")
        x = graph.op("LeakyRelu", x, at="dec", alpha=0.01)
        # Quiet, so that the loudness that comes out tells by how much to make it louder.
        x = graph.conv("dec.conv_post", x, (width, 1), 7, bias=False, gain=0.01)
        return graph.op("Unsqueeze", graph.op("Tanh", x, at="dec"), graph.integers(1))

    def _block(self, at: str, x: str, width: int, number: int) -> str:
        graph, shape = self.graph, self._shape
        kernel, double = shape.kernels[number], shape.convolutions == 2
        for layer, dilation in enumerate(shape.dilations[number]):
            y = graph.op("LeakyRelu", x, at=at, alpha=0.1)
            first = f"{at}.convs1.{layer}" if double else f"{at}.convs.{layer}"
            y = graph.conv(first, y, (width, width), kernel, dilation=dilation)
            if double:
                y = graph.op("LeakyRelu", y, at=at, alpha=0.1)
                y = graph.conv(f"{at}.convs2.{layer}", y, (width, width), kernel)
            x = graph.op("Add", y, x, at=at)
        return x
