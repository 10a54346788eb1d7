"""Cuts a Piper voice in three, so that a long sentence need not be made whole before its beginning is heard.

A voice is a VITS (https://arxiv.org/abs/2106.06103) that has been exported to ONNX as one graph:

    phoneme ids → text encoder, durations → frames of the prior → flow → frames → decoder (HiFi-GAN) → sound
                  └─────────── text ────────────────────┘       └ flow ┘        └──── decoder ────┘

The text side needs the whole sentence and is cheap. The flow and the decoder are convolutions: a frame of theirs
depends on a few frames to either side only, the margin, which follows from the kernels in the graph. So they can be
run on slices with that margin, and the sound is that of the whole.

Where to cut is found by what the graph does, not by the names of its nodes, which differ from one version of the
exporter to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.onnx_graph import Graph, Node, NotAGraphError

SPEAKER_INPUT: Final = "sid"

_EACH_FRAME_BY_ITSELF: Final = frozenset(
    """
    Abs Add Cast Clip Concat Constant ConstantOfShape Div Elu Erf Exp Expand Gather Identity LeakyRelu Mul Neg PRelu Pow
    Relu Reshape Shape Sigmoid Slice Softplus Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze Where
    """.split()
)
"""Operations that do not mix frames. Some could, such as `Slice`, where they were used on time: a voice is tried."""


class UncuttableError(Exception):
    """The graph is not that of a Piper voice as it is known; the message says where it differs."""


@dataclass(frozen=True, slots=True)
class Margins:
    """How many frames before and after one it depends on."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Parts:
    """A voice in three ONNX models. A frame is `hop` samples of sound.

    `text` has the voice's inputs and makes `prior`, float32 [1, channels, frames], and `beside`: whatever else of it
    the flow and the decoder take, with as many frames or none. `flow` makes `latent` of that, of the same shape, and
    `decoder` makes `output`. Where there are several speakers, they take `SPEAKER_INPUT` as the voice does.
    """

    inputs: frozenset[str]
    text: bytes
    flow: bytes
    decoder: bytes
    prior: str
    beside: tuple[str, ...]
    latent: str
    output: str
    flow_margins: Margins
    decoder_margins: Margins
    hop: int


def cut(model: bytes) -> Parts:
    """Cuts a voice, which takes milliseconds.

    Raises:
        UncuttableError: it is not built as Piper's voices are.
    """
    try:
        graph = Graph(model)
    except NotAGraphError as error:
        raise UncuttableError(str(error)) from error
    if not graph.outputs:
        raise UncuttableError("it makes nothing")
    output = graph.outputs[0]  # some voices tell the lengths of the phonemes besides
    prior, latent = _prior(graph), _latent(graph)
    late = graph.behind((output,), stop=(prior,))
    if not any(latent in node.outputs for node in late) or latent == prior:
        raise UncuttableError("its decoder does not come after its flow")
    beside = _beside(graph, late, prior)
    flow = graph.behind((latent,), stop=(prior, *beside))
    decoder = graph.behind((output,), stop=(latent, *beside))
    if any(prior in node.inputs for node in decoder):
        raise UncuttableError("its decoder takes more than the flow's frames")
    flow_margins, scale = _margins(graph, flow, prior, latent)
    if scale != 1:
        raise UncuttableError("its flow changes the number of frames")
    decoder_margins, hop = _margins(graph, decoder, latent, output)
    speaker = (SPEAKER_INPUT,) if SPEAKER_INPUT in graph.inputs else ()
    return Parts(
        frozenset(graph.inputs),
        graph.part(graph.inputs, (prior, *beside)),
        graph.part((prior, *beside, *speaker), (latent,)),
        graph.part((latent, *beside, *speaker), (output,)),
        prior,
        beside,
        latent,
        output,
        flow_margins,
        decoder_margins,
        hop,
    )


def _prior(graph: Graph) -> str:
    """Finds the frames that are drawn from the prior: the last noise, scaled twice, is added to their mean."""
    drawn = [node for node in graph.nodes if node.op == "RandomNormalLike"]
    if not drawn:
        raise UncuttableError("it draws no noise")
    name = drawn[-1].outputs[0]
    for _ in range(4):
        users = [node for node in graph.nodes if name in node.inputs]
        if len(users) != 1 or users[0].op not in ("Mul", "Add"):
            break
        name = users[0].outputs[0]
        if users[0].op == "Add":
            return name
    raise UncuttableError("its noise is not added to anything")


def _latent(graph: Graph) -> str:
    """Finds what the decoder takes: the input of the convolution before the first one that makes frames longer."""
    longer = next((node for node in graph.nodes if node.op == "ConvTranspose"), None)
    if longer is None:
        raise UncuttableError("it has no decoder that makes frames into sound")
    node = graph.maker.get(longer.inputs[0])
    while node is not None and node.op != "Conv":
        makers = [graph.maker[name] for name in node.inputs if name in graph.maker]
        # Where the speaker is added, the frames come from the convolution with the wider kernel.
        makers.sort(key=lambda each: max(_kernel(graph, each), default=0) if each.op == "Conv" else 0)
        node = makers[-1] if makers else None
    if node is None:
        raise UncuttableError("its decoder does not begin with a convolution")
    return node.inputs[0]


def _beside(graph: Graph, late: Sequence[Node], prior: str) -> tuple[str, ...]:
    """Returns what flow and decoder take of the text side, other than the prior: the mask of the frames."""
    after = {output for node in graph.ahead(prior) for output in node.outputs} | {prior}
    of_text = {name for name in graph.inputs if name != SPEAKER_INPUT}
    for node in graph.nodes:
        if not of_text.isdisjoint(node.inputs):
            of_text.update(node.outputs)
    taken = (name for node in late if not after.isdisjoint(node.outputs) for name in node.inputs)
    return tuple(dict.fromkeys(name for name in taken if name in of_text and name not in after))


def _margins(graph: Graph, nodes: Sequence[Node], first: str, last: str) -> tuple[Margins, int]:
    """Returns how far `last` looks to either side, in frames of `first`, and how many of its values are one of them.

    The way is gone backwards. Of each tensor is known what is needed of it before and after the piece of `last` that
    belongs to one frame, in its own steps of time.
    """
    needed: dict[str, tuple[int, int]] = {last: (0, 0)}
    steps: dict[str, int] = {last: 1}
    for node in reversed(nodes):
        wanted = [needed[name] for name in node.outputs if name in needed]
        if not wanted or node.op in ("Shape", "Constant"):
            continue
        before, after = max(each[0] for each in wanted), max(each[1] for each in wanted)
        scale = max(steps[name] for name in node.outputs if name in steps)
        if node.op == "Conv":
            left, right = _reach(graph, node)
            before, after = before + left, after + right
        elif node.op == "ConvTranspose":
            left, right, stride = _spread(graph, node)
            before, after = (before + left) // stride, (stride - 1 + after + right) // stride
            scale *= stride
        elif node.op not in _EACH_FRAME_BY_ITSELF:
            raise UncuttableError(f"it uses {node.op} where frames are made")
        taken = node.inputs[:1] if node.op in ("Conv", "ConvTranspose") else node.inputs
        for name in taken:
            known = needed.get(name, (0, 0))
            needed[name] = (max(known[0], before), max(known[1], after))
            steps[name] = max(steps.get(name, 1), scale)
    if first not in needed:
        raise UncuttableError("its parts do not hang together")
    return Margins(*needed[first]), steps[first]


def _kernel(graph: Graph, node: Node) -> tuple[int, ...]:
    return node.numbers("kernel_shape", graph.shape(node.inputs[1])[2:])


def _reach(graph: Graph, node: Node) -> tuple[int, int]:
    """Returns how many values before and after one a convolution takes."""
    kernel, dilation, pads = _along_time(graph, node)
    if node.numbers("strides", (1,)) != (1,) or sum(pads) != (kernel - 1) * dilation:
        raise UncuttableError(f"the convolution {node.name} changes the number of frames")
    return pads


def _spread(graph: Graph, node: Node) -> tuple[int, int, int]:
    """Returns how far a transposed convolution reaches, in steps of its output, and how many of those a frame is."""
    kernel, dilation, pads = _along_time(graph, node)
    (stride,) = node.numbers("strides", (1,))
    extra = sum(node.numbers("output_padding", (0,)))
    if dilation != 1 or kernel - stride != sum(pads) - extra or "output_shape" in node.attributes:
        raise UncuttableError(f"the convolution {node.name} makes frames longer by a part of one")
    return kernel - 1 - pads[0], pads[0], stride


def _along_time(graph: Graph, node: Node) -> tuple[int, int, tuple[int, int]]:
    kernel = _kernel(graph, node)
    if len(kernel) != 1 or node.attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise UncuttableError(f"the convolution {node.name} is none along time alone")
    before, after = node.numbers("pads", (0, 0))
    return kernel[0], node.numbers("dilations", (1,))[0], (before, after)
