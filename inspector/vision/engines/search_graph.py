"""The ONNX graphs of a search for nearest prototypes. Banks are inputs, so that all products share one session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.vision.engines.protocols import Answer, Bank

SHORTEST = 1e-12
"""Shorter vectors stay as they are where vectors are brought to length one."""


@dataclass(frozen=True, slots=True)
class BankKind:
    """The steps that a bank's patches take before they are compared."""

    is_pooled: bool
    is_unit_length: bool
    is_centred: bool
    is_projected: bool
    is_placed: bool = False

    @property
    def name(self) -> str:
        """The steps by name, for example `centred_projected`."""
        steps = {
            "pooled": self.is_pooled,
            "centred": self.is_centred,
            "projected": self.is_projected,
            "placed": self.is_placed,
            "unit": self.is_unit_length,
        }
        return "_".join(name for name, is_taken in steps.items() if is_taken) or "plain"

    @classmethod
    def of(cls, bank: Bank) -> BankKind:
        is_projected = bank.projection is not None
        return cls(bank.is_pooled, bank.unit_length, bool(bank.mean.any()), is_projected, bank.is_placed)


def bank_feeds(bank: Bank, number: int = 0) -> dict[str, NDArray[Any]]:
    """The inputs of a graph of distances that a bank fills. `number`: its place among the graph's banks.

    A graph of indices has the same, but for those `is_of_covers`.
    """
    feeds: dict[str, NDArray[Any]]
    if bank.scales is not None:
        feeds = {
            "scales": np.ascontiguousarray(bank.scales, np.float32),  # [P, D]
            "prototypes": np.ascontiguousarray(bank.prototypes, np.float32),  # [P, D]
        }
    else:
        feeds = {
            "prototypes": np.ascontiguousarray(bank.prototypes.T, np.float32),  # [D, K]
            "squares": np.square(bank.prototypes, dtype=np.float32).sum(axis=1),  # [K]
        }
        feeds["apart"] = np.array([0, bank.covers, -1], np.int64)
    if bank.projection is not None:
        feeds["projection"] = np.ascontiguousarray(bank.projection, np.float32)
    if BankKind.of(bank).is_centred:
        feeds["mean"] = np.ascontiguousarray(bank.mean, np.float32)
    return {f"{name}_{number}": value for name, value in feeds.items()}


def is_of_covers(name: str) -> bool:
    """Whether an input only keeps covers apart, which is nothing to a graph of indices."""
    return name.startswith("apart")


def search_graph(kinds: Sequence[BankKind], answer: Answer) -> bytes:
    """The ONNX graph that gives, for each bank, the distance to the nearest prototype or that prototype's index.

    Inputs of bank i: `patches_i` [N, C] and those of `bank_feeds`. Output i: `distance_i` [covers, N] or `index_i` [N].
    Distance and index have a graph each, because finding the index as well would take half as long again. A bank of
    places has no index.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    parts = [_BankPart(number, kind) for number, kind in enumerate(kinds)]
    for part in parts:
        part.index() if answer == "index" else part.distance()
    constants = [
        numpy_helper.from_array(np.array([0], np.int64), "first"),
        numpy_helper.from_array(np.array([-1], np.int64), "last"),
        numpy_helper.from_array(np.array(SHORTEST, np.float32), "shortest"),
    ]

    def declared(name: str, shape: tuple[str | int, ...]) -> Any:
        is_whole = name.startswith(("apart", "index"))
        return helper.make_tensor_value_info(name, TensorProto.INT64 if is_whole else TensorProto.FLOAT, list(shape))

    used = {name for part in parts for node in part.nodes for name in node.input}
    graph = helper.make_graph(
        [node for part in parts for node in part.nodes],
        "nearest_prototype",
        [declared(*item) for part in parts for item in part.inputs],
        [declared(*part.output) for part in parts],
        [constant for constant in constants if constant.name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


class _BankPart:
    """The nodes of one bank: |y - b|^2 = |y|^2 + (|b|^2 - 2 y.b), and the bracket is one matrix product."""

    def __init__(self, number: int, kind: BankKind) -> None:
        self.nodes: list[Any] = []
        self.inputs: list[tuple[str, tuple[str | int, ...]]] = []
        self.output: tuple[str, tuple[str | int, ...]] = ("", ())
        self._number = number
        self._is_placed = kind.is_placed
        self._y = self._compared(kind)
        if kind.is_placed:
            return
        prototypes = self._input("prototypes", "D", "K")
        squares = self._input("squares", "K")
        self._bracket = self._node("Gemm", self._y, prototypes, squares, alpha=-2.0)

    def distance(self) -> None:
        """The last nodes of a graph of distances."""
        if self._is_placed:
            apart = self._node("Sub", self._y, self._input("prototypes", "N", "D"))
            by_place = self._node("Sqrt", self._node("ReduceSumSquare", apart, "last", keepdims=1))
            self.output = (self._node("Transpose", by_place, name="distance"), (self._name("covers"), self._name("N")))
            return
        apart = self._input("apart", 3)
        by_cover = self._node("Reshape", self._bracket, apart)  # [N, covers, K / covers]
        least = self._node("ReduceMin", by_cover, "last", keepdims=0)  # [N, covers]
        length2 = self._node("ReduceSumSquare", self._y, "last", keepdims=1)
        # Rounding may give a value below zero, which Relu makes zero.
        by_patch = self._node("Sqrt", self._node("Relu", self._node("Add", least, length2)))
        self.output = (self._node("Transpose", by_patch, name="distance"), (self._name("covers"), self._name("N")))

    def index(self) -> None:
        """The last node of a graph of indices."""
        self.output = (
            self._node("ArgMin", self._bracket, name="index", axis=1, keepdims=0),
            (self._name("N"),),
        )

    def _compared(self, kind: BankKind) -> str:
        """The vectors that are compared with the prototypes, [N, D]."""
        y = self._input("patches", "P", "C") if kind.is_pooled else self._input("patches", "N", "C")
        if kind.is_pooled:
            y = self._pooled(y)
        if kind.is_centred:
            y = self._node("Sub", y, self._input("mean", "C2" if kind.is_pooled else "C"))
        if kind.is_projected:
            y = self._node("MatMul", y, self._input("projection", "C2" if kind.is_pooled else "C", "D"))
        if kind.is_placed:
            y = self._node("Mul", y, self._input("scales", "N", "D"))
        if kind.is_unit_length:
            length = self._node("Sqrt", self._node("ReduceSumSquare", y, "last", keepdims=1))
            y = self._node("Div", y, self._node("Max", length, "shortest"))
        return y

    def _pooled(self, patches: str) -> str:
        """`pooling.pooled` of one frame: [P, C] -> [1, 2 C]."""
        mean = self._node("ReduceMean", patches, "first", keepdims=1)
        apart = self._node("Sub", patches, mean)
        variance = self._node("ReduceMean", self._node("Mul", apart, apart), "first", keepdims=1)
        return self._node("Concat", mean, self._node("Sqrt", variance), axis=1)

    def _input(self, name: str, *shape: str | int) -> str:
        self.inputs.append(
            (self._name(name), tuple(each if isinstance(each, int) else self._name(each) for each in shape))
        )
        return self._name(name)

    def _node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        output = self._name(name or f"{operator}_{len(self.nodes)}_of")
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def _name(self, name: str) -> str:
        return f"{name}_{self._number}"
