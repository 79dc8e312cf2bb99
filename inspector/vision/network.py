"""The torch form of a pass: what is exported to ONNX, and what the torch engines run.

The only statement of what an `Embedding` computes; every engine runs this module or an export of it.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from inspector.vision.backbone import Backbone, load_network, normalisation
from inspector.vision.graphs import Embedding, Graph


class EmbeddingNetwork(torch.nn.Module):
    """uint8 [B, S, S, 3] RGB -> one float32 [B, P, C] per embedding, P = grid * grid, row by row."""

    _gain: torch.Tensor
    _shift: torch.Tensor

    def __init__(self, graph: Graph, backbone: Backbone) -> None:
        super().__init__()
        self._graph = graph
        self._strides = tuple(sorted({stride for item in graph.embeddings for stride in item.strides}))
        self._network, _ = load_network(backbone, self._strides, graph.size_px)
        mean, std = normalisation(backbone)
        self.register_buffer("_gain", 1.0 / (255.0 * torch.tensor(std)).view(3, 1, 1, 1))
        self.register_buffer("_shift", -torch.tensor(mean) / torch.tensor(std))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        planes = pixels.permute(0, 3, 1, 2).to(self._gain.dtype)  # [B, 3, S, S]
        # A convolution of one pixel: ONNX Runtime takes thirty times as long for the same sum as an addition.
        planes = functional.conv2d(planes, self._gain, self._shift, groups=3)
        maps = dict(zip(self._strides, self._network(planes), strict=True))
        pooled = {
            (stride, item.pool): local_average(maps[stride]) if item.pool == 3 else maps[stride]
            for item in self._graph.embeddings
            for stride in item.strides
        }
        return tuple(self._embed(item, pooled) for item in self._graph.embeddings)

    def _embed(self, item: Embedding, pooled: dict[tuple[int, int], torch.Tensor]) -> torch.Tensor:
        side = self._graph.size_px // item.grid_stride
        layers = []
        for stride in item.strides:
            layer = pooled[stride, item.pool]  # [B, C, S/stride, S/stride]
            if stride < item.grid_stride:
                layer = functional.avg_pool2d(layer, item.grid_stride // stride)
            elif stride > item.grid_stride:
                layer = _enlarge(layer, side, item.join)
            layers.append(layer)
        joined = torch.cat(layers, dim=1)  # [B, C, side, side]
        return joined.flatten(2).transpose(1, 2).contiguous().to(torch.float32)  # [B, P, C]


def local_average(layer: torch.Tensor) -> torch.Tensor:
    """Mean over each cell and its neighbours that exist: at the border six or four, never zeros beside them.

    Sums of shifted maps: ONNX Runtime's average pooling of few channels costs as much as the backbone.
    """
    rows = _sum_of_three(layer, 2)
    total = _sum_of_three(rows, 3)
    ones = torch.ones_like(layer[:1, :1])
    return total / _sum_of_three(_sum_of_three(ones, 2), 3)


def _sum_of_three(layer: torch.Tensor, axis: int) -> torch.Tensor:
    """Each cell plus the one before and the one after it along `axis`, 0 beyond the edge."""
    edge = torch.zeros_like(layer.narrow(axis, 0, 1))
    size = layer.shape[axis]
    before = torch.cat([edge, layer.narrow(axis, 0, size - 1)], dim=axis)
    after = torch.cat([layer.narrow(axis, 1, size - 1), edge], dim=axis)
    return layer + before + after


def _enlarge(layer: torch.Tensor, side: int, join: str) -> torch.Tensor:
    if join == "nearest":
        return functional.interpolate(layer, size=(side, side), mode="nearest")
    return functional.interpolate(layer, size=(side, side), mode="bilinear", align_corners=False)
