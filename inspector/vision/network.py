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
        self._network, _ = load_network(backbone, self._strides)
        mean, std = normalisation(backbone)
        self.register_buffer("_gain", 1.0 / (255.0 * torch.tensor(std)).view(1, 3, 1, 1))
        self.register_buffer("_shift", -torch.tensor(mean).view(1, 3, 1, 1) / torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        gain, shift = self._gain, self._shift
        planes = pixels.permute(0, 3, 1, 2).to(gain.dtype) * gain + shift  # [B, 3, S, S]
        maps = dict(zip(self._strides, self._network(planes), strict=True))
        return tuple(self._embed(item, maps) for item in self._graph.embeddings)

    def _embed(self, item: Embedding, maps: dict[int, torch.Tensor]) -> torch.Tensor:
        side = self._graph.size_px // item.grid_stride
        layers = []
        for stride in item.strides:
            layer = maps[stride]  # [B, C, S/stride, S/stride]
            if item.pool > 1:
                # The border averages fewer cells rather than zeros, which would look like an anomaly.
                layer = functional.avg_pool2d(layer, item.pool, 1, item.pool // 2, count_include_pad=False)
            if stride < item.grid_stride:
                layer = functional.avg_pool2d(layer, item.grid_stride // stride)
            elif stride > item.grid_stride:
                layer = _enlarge(layer, side, item.join)
            layers.append(layer)
        joined = torch.cat(layers, dim=1)  # [B, C, side, side]
        return joined.flatten(2).transpose(1, 2).contiguous().to(torch.float32)  # [B, P, C]


def _enlarge(layer: torch.Tensor, side: int, join: str) -> torch.Tensor:
    if join == "nearest":
        return functional.interpolate(layer, size=(side, side), mode="nearest")
    return functional.interpolate(layer, size=(side, side), mode="bilinear", align_corners=False)
