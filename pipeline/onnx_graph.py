"""Reads an ONNX file as a graph of nodes, and writes parts of it as files of their own.

Only what it takes to cut a graph is read: names, kinds and whole numbers. Nodes and weights are copied as they are,
byte for byte, so a file of 60 MB is cut in 0.2 s, and the `onnx` package, of 30 MB with what it needs, is not needed at
run time.

The numbers of the fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the encoding is that of
https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Kinds of fields."""

_GRAPH: Final = 7  # of ModelProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12  # of GraphProto
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _OP_TYPE, _ATTRIBUTE = 1, 2, 3, 4, 5  # of NodeProto
_ATTRIBUTE_NAME, _ATTRIBUTE_INT, _ATTRIBUTE_TEXT, _ATTRIBUTE_GRAPH, _ATTRIBUTE_INTS = 1, 3, 4, 6, 8  # of AttributeProto
_ATTRIBUTE_GRAPHS: Final = 11
_DIMS, _TENSOR_NAME = 1, 8  # of TensorProto
_VALUE_NAME: Final = 1  # of ValueInfoProto
_FLOAT: Final = 1  # TensorProto.DataType


class NotAGraphError(Exception):
    """The bytes are no ONNX model."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operation. `inputs` hold what the bodies of loops and branches take from around them, too."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, tuple[int, ...] | bytes] = field(repr=False)
    """Those that are whole numbers or texts; a single number is a tuple of one."""
    raw: memoryview = field(repr=False)

    def numbers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Returns an attribute of whole numbers."""
        value = self.attributes.get(name, default)
        return value if isinstance(value, tuple) else default


class Graph:
    """A model: its nodes in the file's order, in which each comes after those whose outputs it takes."""

    def __init__(self, model: bytes) -> None:
        """Reads a model.

        Raises:
            NotAGraphError: it is none.
        """
        try:
            self._read(memoryview(model))
        except (IndexError, ValueError, TypeError) as error:
            raise NotAGraphError(f"it cannot be read as ONNX ({type(error).__name__})") from error

    def _read(self, model: memoryview) -> None:
        self._around = [raw for number, _, raw in _fields(model) if number != _GRAPH]
        graph = b"".join(bytes(_taken(value)) for number, value, _ in _fields(model) if number == _GRAPH)
        nodes, weights, self._inputs, self._outputs = [], {}, {}, {}
        for number, value, raw in _fields(memoryview(graph)):
            if number == _NODE:
                nodes.append(_node(_taken(value), raw))
            elif number == _INITIALIZER:
                weights[_text(_taken(value), _TENSOR_NAME)] = raw
            elif number == _INPUT:
                self._inputs[_text(_taken(value), _VALUE_NAME)] = raw
            elif number == _OUTPUT:
                self._outputs[_text(_taken(value), _VALUE_NAME)] = raw
        self.nodes: Sequence[Node] = nodes
        self._weights = weights
        self.maker = {output: node for node in nodes for output in node.outputs if output}

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the model is given, weights not counted."""
        return tuple(name for name in self._inputs if name not in self._weights)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self._outputs)

    def shape(self, weight: str) -> tuple[int, ...]:
        """Returns the shape of a weight; nothing for what is none."""
        raw = self._weights.get(weight)
        if raw is None:
            return ()
        (whole,) = (_taken(value) for _, value, _ in _fields(raw))
        return tuple(number for at, value, _ in _fields(whole) if at == _DIMS for number in _integers(value))

    def behind(self, names: Collection[str], stop: Collection[str] = ()) -> list[Node]:
        """Returns the nodes that `names` are made by, in order, without those that make `stop`."""
        wanted, found = set(names) - set(stop), []
        for node in reversed(self.nodes):
            if not wanted.isdisjoint(node.outputs):
                found.append(node)
                wanted.update(each for each in node.inputs if each not in stop)
        return found[::-1]

    def ahead(self, name: str) -> list[Node]:
        """Returns the nodes that use `name`, directly or not, in order."""
        reached, found = {name}, []
        for node in self.nodes:
            if not reached.isdisjoint(node.inputs):
                found.append(node)
                reached.update(node.outputs)
        return found

    def part(self, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """Returns a model that makes `outputs` out of `inputs`; those of `inputs` that it does not need are left out.

        Tensors that are no inputs or outputs of the whole are declared as float32 of any shape.
        """
        nodes = self.behind(outputs, stop=inputs)
        used = {name for node in nodes for name in node.inputs} | set(outputs)
        graph = [node.raw for node in nodes]
        graph.append(memoryview(_field(2, b"part")))
        graph += [raw for name, raw in self._weights.items() if name in used]
        graph += [self._inputs.get(name) or _declared(_INPUT, name) for name in inputs if name in used]
        graph += [self._outputs.get(name) or _declared(_OUTPUT, name) for name in outputs]
        return b"".join((*self._around, _field(_GRAPH, b"".join(graph))))


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview, memoryview]]:
    """Yields each field of a message: its number, its value, and the bytes of both."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        kind = tag & 7
        value: int | memoryview
        if kind == _VARINT:
            value, at = _varint(message, at)
        else:
            if kind == _BYTES:
                size, at = _varint(message, at)
            elif kind in (_FIXED32, _FIXED64):
                size = 4 if kind == _FIXED32 else 8
            else:
                raise ValueError(f"a field of kind {kind}")
            if at + size > len(message):
                raise ValueError("a field that goes on after the end")
            value, at = message[at : at + size], at + size
        yield tag >> 3, value, message[start:at]


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
        if shift > 63:
            raise ValueError("a number without end")


def _taken(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number where there should be none")
    return value


def _integers(value: int | memoryview) -> Iterator[int]:
    """Yields the numbers of a repeated field, which may be packed or not."""
    if isinstance(value, int):
        yield _signed(value)
        return
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        yield _signed(number)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _text(message: memoryview, wanted: int) -> str:
    return "".join(str(_taken(value), "utf-8") for number, value, _ in _fields(message) if number == wanted)


def _node(message: memoryview, raw: memoryview) -> Node:
    inputs, outputs, attributes = [], [], {}
    bodies: list[str] = []
    op = name = ""
    for number, value, _ in _fields(message):
        if number == _NODE_INPUT:
            inputs.append(str(_taken(value), "utf-8"))
        elif number == _NODE_OUTPUT:
            outputs.append(str(_taken(value), "utf-8"))
        elif number == _NODE_NAME:
            name = str(_taken(value), "utf-8")
        elif number == _OP_TYPE:
            op = str(_taken(value), "utf-8")
        elif number == _ATTRIBUTE:
            key, content = _attribute(_taken(value), bodies)
            attributes[key] = content
    return Node(op, name, (*inputs, *bodies), tuple(outputs), attributes, raw)


def _attribute(message: memoryview, bodies: list[str]) -> tuple[str, tuple[int, ...] | bytes]:
    """Reads an attribute; what is taken by the nodes of a graph in it is added to `bodies`."""
    name, text = "", b""
    numbers: list[int] = []
    for number, value, _ in _fields(message):
        if number == _ATTRIBUTE_NAME:
            name = str(_taken(value), "utf-8")
        elif number in (_ATTRIBUTE_INT, _ATTRIBUTE_INTS):
            numbers += _integers(value)
        elif number == _ATTRIBUTE_TEXT:
            text = bytes(_taken(value))
        elif number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
            for part, content, raw in _fields(_taken(value)):
                if part == _NODE:
                    bodies += _node(_taken(content), raw).inputs
                elif part == _OUTPUT:  # a body may hand on a value from around it
                    bodies.append(_text(_taken(content), _VALUE_NAME))
    return name, text or tuple(numbers)


def _declared(number: int, name: str) -> memoryview:
    """Returns a ValueInfoProto: a float32 tensor of any shape."""
    tensor = _field(1, bytes((_VARINT | 1 << 3, _FLOAT)))
    return memoryview(_field(number, _field(_VALUE_NAME, name.encode()) + _field(2, tensor)))


def _field(number: int, content: bytes) -> bytes:
    size, head = len(content), bytearray([number << 3 | _BYTES])
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + content
