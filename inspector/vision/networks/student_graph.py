"""A student's weights, and the one ONNX graph for all students, which takes the weights as inputs.

The graph computes the same as `snc` and `student_network.StudentNetwork`, for engines without torch; tests compare the
two. One session serves all products, however many are enrolled. This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import ArtifactError
from inspector.vision.networks.graphs import Embedding

STEM = Embedding((4,), 4, pool=1)
LOW = Embedding((8,), 8, pool=1)
HIGH = Embedding((16,), 16, pool=1)
STUDENT_EMBEDDINGS = (STEM, LOW, HIGH)
"""The embeddings that a student needs of a pass: the frozen stem, its input, and the two levels that it imitates."""

LEVELS = ("low", "high")
MAPS = ("stem", *LEVELS)
_SCALE = ("mean", "scale")
LAYERS = ("first", "second", "to_low", "third", "to_high")
FIRST, SECOND, THIRD = 64, 96, 192
"""Output channels of the layers `first`, `second` and `third`."""

_TAU = 0.1
_SIGMA = 1.0
_SHORTEST = 1e-6
_OFFSETS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))
_TO_THE_END = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class StudentWeights:
    """A trained student. `tensors`, all float32, by name:

    `stem.mean`, `stem.scale`, and the same of `low` and `high`, [C]: how the teacher's maps are standardised;
    `first`, `second`, `third`, `to_high` [O, I, 3, 3] and `to_low` [O, I, 1, 1] as `.weight`, and `.bias` [O].
    `is_coded`: whether student and teacher are compared through SNC.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    is_coded: bool = True


def tensor_names() -> tuple[str, ...]:
    """Every name in `StudentWeights.tensors`, in the order of the graph's inputs."""
    scales = tuple(f"{name}.{part}" for name in MAPS for part in _SCALE)
    return scales + tuple(f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias"))


def check_shapes(weights: StudentWeights) -> None:
    """Raises ArtifactError where a tensor is missing or does not fit its neighbours."""
    tensors = weights.tensors
    missing = [name for name in tensor_names() if name not in tensors]
    if missing:
        raise ArtifactError(f"The artifact's student lacks {missing[0]}.")
    stem, low, high = (tensors[f"{name}.mean"].size for name in MAPS)
    wanted = {"first": (FIRST, stem, 3, 3), "second": (SECOND, FIRST, 3, 3), "to_low": (low, SECOND, 1, 1)}
    wanted |= {"third": (THIRD, SECOND, 3, 3), "to_high": (high, THIRD, 3, 3)}
    shapes: dict[str, tuple[int, ...]] = {f"{layer}.weight": shape for layer, shape in wanted.items()}
    shapes |= {f"{layer}.bias": shape[:1] for layer, shape in wanted.items()}
    shapes |= {f"{name}.{part}": (size,) for name, size in zip(MAPS, (stem, low, high), strict=True) for part in _SCALE}
    for name, shape in shapes.items():
        if tensors[name].shape != shape:
            raise ArtifactError(f"The artifact's student has {name} of {tensors[name].shape}, not of {shape}.")


def as_squares(patches: Sequence[NDArray[np.float32]], row: int) -> dict[str, NDArray[np.float32]]:
    """Stem, low and high of one frame of a batch, as the graph takes them: views [1, g, g, C] by name."""
    squares = {}
    for name, each in zip(MAPS, patches, strict=True):
        side = round(each.shape[1] ** 0.5)
        squares[name] = each[row].reshape(1, side, side, each.shape[2])
    return squares


def student_graph(*, is_coded: bool) -> bytes:
    """The graph as ONNX bytes. Outputs: the difference maps `low_map` [g8, g8] and `high_map` [g16, g16].

    Inputs: the teacher's maps `stem`, `low`, `high`, float32 [1, g, g, C] as the pass gives them, and the weights that
    `tensor_names()` lists.
    """
    from onnx import TensorProto, checker, helper

    ranks = {"weight": 4, "bias": 1, "mean": 1, "scale": 1}
    nodes = _Nodes()
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, None, None]) for name in MAPS]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * ranks[name.rsplit(".", 1)[1]])
        for name in tensor_names()
    ]
    maps = {name: nodes.standardised(name) for name in MAPS}
    trunk = nodes.pooled(nodes.convolved(maps["stem"], "first", is_linear=False))
    trunk = nodes.convolved(trunk, "second", is_linear=False)
    answers = {"low": nodes.convolved(trunk, "to_low")}
    answers["high"] = nodes.convolved(nodes.convolved(nodes.pooled(trunk), "third", is_linear=False), "to_high")
    outputs = []
    for level in LEVELS:
        found = nodes.difference(maps[level], answers[level], is_coded=is_coded)
        nodes.add("Squeeze", [found, nodes.constant(np.array([0], np.int64))], output=f"{level}_map")
        outputs.append(helper.make_tensor_value_info(f"{level}_map", TensorProto.FLOAT, [None, None]))
    graph = helper.make_graph(nodes.nodes, "student", inputs, outputs, nodes.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


class _Nodes:
    """Collects the nodes of one graph. Each method adds nodes and returns the name of their output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: Sequence[str], *, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def standardised(self, name: str) -> str:
        """[1, g, g, C] -> [1, C, g, g]."""
        centred = self.add("Sub", [name, f"{name}.mean"])
        return self.add("Transpose", [self.add("Mul", [centred, f"{name}.scale"])], perm=[0, 3, 1, 2])

    def convolved(self, source: str, layer: str, *, is_linear: bool = True) -> str:
        # SAME_UPPER instead of explicit pads, because only the weights say how large the kernel is.
        found = self.add("Conv", [source, f"{layer}.weight", f"{layer}.bias"], auto_pad="SAME_UPPER")
        return found if is_linear else self.add("Relu", [found])

    def pooled(self, source: str) -> str:
        return self.add("AveragePool", [source], kernel_shape=[2, 2], strides=[2, 2])

    def difference(self, teacher: str, student: str, *, is_coded: bool) -> str:
        """`snc.difference_map` of two maps [1, C, g, g]: [1, g, g]."""
        terms = [(teacher, student)]
        if is_coded:
            terms += zip(self._coded(teacher), self._coded(student), strict=True)
        axis = self.constant(np.array([1], np.int64))
        means = []
        for theirs, ours in terms:
            apart = self.add("Sub", [theirs, ours])
            means.append(self.add("ReduceMean", [self.add("Mul", [apart, apart]), axis], keepdims=0))
        return self.add("Mean", means)

    def _coded(self, own: str) -> tuple[str, str]:
        """Context and structure of a map, as `snc.encode` computes them."""
        axis = self.constant(np.array([1], np.int64))
        around = self.add("Pad", [own, self.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))], mode="reflect")
        lengths = self.add("Sqrt", [self.add("ReduceSum", [self.add("Mul", [around, around]), axis])])
        lengths = self.add("Max", [lengths, self.constant(np.float32(_SHORTEST).reshape(1))])
        length = self._shifted(lengths, (0, 0))
        neighbours = [self._shifted(around, offset) for offset in _OFFSETS]
        cosines = [
            self.add(
                "Div",
                [
                    self.add("ReduceSum", [self.add("Mul", [own, neighbour]), axis]),
                    self.add("Mul", [length, self._shifted(lengths, offset)]),
                ],
            )
            for neighbour, offset in zip(neighbours, _OFFSETS, strict=True)
        ]
        structure = self.add("Concat", cosines, axis=1)
        nearness = np.array([-(dy * dy + dx * dx) / (2.0 * _SIGMA**2) for dy, dx in _OFFSETS], np.float32)
        logits = self.add("Div", [structure, self.constant(np.float32(_TAU).reshape(1))])
        logits = self.add("Add", [logits, self.constant(nearness.reshape(1, 8, 1, 1))])
        weights = self.add("Softmax", [logits], axis=1)
        parts = [
            self.add("Mul", [self._slice(weights, (number,), (number + 1,), (1,)), neighbour])
            for number, neighbour in enumerate(neighbours)
        ]
        return self.add("Sum", parts), structure

    def _shifted(self, padded: str, offset: tuple[int, int]) -> str:
        """The padded map's window at `offset` from its middle."""
        ends = [step - 1 if step < 1 else _TO_THE_END for step in offset]
        return self._slice(padded, [1 + step for step in offset], ends, (2, 3))

    def _slice(self, source: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int]) -> str:
        bounds = [self.constant(np.array(values, np.int64)) for values in (starts, ends, axes)]
        return self.add("Slice", [source, *bounds])
