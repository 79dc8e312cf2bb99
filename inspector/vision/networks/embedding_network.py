"""The torch form of a pass. It is exported to ONNX, and the torch engines run it.

This is the only definition of what an `Embedding` computes; every engine runs this module or an export of it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional

from inspector.vision.networks.backbone import Backbone, load_network, normalisation
from inspector.vision.networks.graphs import Embedding, Graph


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
        for item in graph.embeddings:
            for stride in item.strides:
                if item.join == "checkered":
                    self.register_buffer(_picking_name(item, stride), picking(item, stride, graph.size_px))
                sampled = _sampled_as(item, stride)
                if (name := _sampling_name(sampled, stride)) is not None:
                    self.register_buffer(name, sampling(sampled, stride, graph.size_px))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        planes = pixels.permute(0, 3, 1, 2).to(self._gain.dtype)  # [B, 3, S, S]
        # As a 1 x 1 convolution: ONNX Runtime takes thirty times as long for the same sum written as an addition.
        planes = functional.conv2d(planes, self._gain, self._shift, groups=3)
        maps = dict(zip(self._strides, self._network(planes), strict=True))
        sampled: dict[tuple[int, str | None], torch.Tensor] = {}
        for item in sorted(self._graph.embeddings, key=lambda each: each.grid_stride):
            for stride in item.strides:
                place = (stride, _sampling_name(_sampled_as(item, stride), stride))
                # Finer grids come first: the mean of each 2 x 2 cells is what sampling to the next grid would give.
                finer = (stride, _sampling_name(replace(item, grid_stride=item.grid_stride // 2), stride))
                if place in sampled:
                    continue
                if stride < item.grid_stride and item.join != "checkered" and finer in sampled:
                    sampled[place] = functional.avg_pool2d(sampled[finer], 2)
                else:
                    sampled[place] = self._sampled(maps[stride], place[1])
        rows = {place: layer.flatten(2).transpose(1, 2).contiguous() for place, layer in sampled.items()}
        return tuple(
            torch.cat([self._rows(rows, item, stride) for stride in item.strides], dim=2)
            for item in self._graph.embeddings
        )  # [B, P, C] each

    def _rows(self, rows: dict[tuple[int, str | None], torch.Tensor], item: Embedding, stride: int) -> torch.Tensor:
        """The channels of one stride [B, P, C] at the patches of the embedding."""
        found = rows[stride, _sampling_name(_sampled_as(item, stride), stride)]
        if item.join == "checkered":
            found = found.index_select(1, self.get_buffer(_picking_name(item, stride)))
        return found.to(torch.float32)

    def _sampled(self, layer: torch.Tensor, name: str | None) -> torch.Tensor:
        """[B, C, S/stride, S/stride] -> [B, C, side, side]."""
        if name is None:
            return layer
        one_axis = self.get_buffer(name)
        return torch.matmul(torch.matmul(one_axis, layer), one_axis.T)


def _sampling_name(item: Embedding, stride: int) -> str | None:
    """Name of the buffer that brings a map of this stride to the embedding's grid; None where none is needed."""
    if stride == item.grid_stride and item.pool == 1:
        return None
    return f"_from_{stride}_to_{item.grid_stride}_{item.pool}_{item.join}"


def _sampled_as(item: Embedding, stride: int) -> Embedding:
    """The embedding by which a map of this stride is sampled. For a checkered one its cells are picked afterwards."""
    return replace(item, grid_stride=stride) if item.join == "checkered" else item


def _picking_name(item: Embedding, stride: int) -> str:
    return f"_picked_from_{stride}_for_{item.grid_stride}"


def picking(item: Embedding, stride: int, size_px: int) -> torch.Tensor:
    """Which cells of a map of `stride`, counted row by row, stand for the patches of a checkered embedding. int64 [P].

    Of finer cells, the one right below the middle of its place is picked.
    """
    side, grid = size_px // stride, size_px // item.grid_stride
    fields = checkered(grid)
    rows, columns = fields // grid, fields % grid
    if stride <= item.grid_stride:
        step = item.grid_stride // stride
        return (rows * step + step // 2) * side + columns * step + step // 2
    step = stride // item.grid_stride
    return rows // step * side + columns // step


def checkered(grid: int) -> torch.Tensor:
    """The indices of every second cell of a grid, row by row: in row r the columns r % 2, r % 2 + 2, ..."""
    cells = torch.arange(grid * grid)
    return cells[(cells // grid + cells % grid) % 2 == 0]


def sampling(item: Embedding, stride: int, size_px: int) -> torch.Tensor:
    """The matrix S, float32 [grid, side], that resamples one axis of a map M of `stride`: [side, side] -> S M S^T.

    S is the local average, followed by the join of finer or coarser cells. Each of these steps treats
    rows and columns alike and independently. So two small matrix products replace pooling, padding and interpolation,
    which would take several slow passes over the map.
    """
    cells = torch.eye(size_px // stride, dtype=torch.float64)[:, None]  # the unit vector of each cell, [side, 1, side]
    if item.pool == 3:
        cells = local_average(cells)
    if stride < item.grid_stride:
        cells = functional.avg_pool1d(cells, item.grid_stride // stride)
    elif stride > item.grid_stride:
        mode = "linear" if item.join == "bilinear" else "nearest"
        cells = functional.interpolate(cells, size=size_px // item.grid_stride, mode=mode)
    return cells[:, 0].T.to(torch.float32).contiguous()


def local_average(cells: torch.Tensor) -> torch.Tensor:
    """[..., side] -> mean over each cell and its neighbours. At an edge it is the mean of two cells, not of padding."""
    side = cells.shape[-1]
    total = functional.pad(cells, (1, 1)).unfold(-1, 3, 1).sum(-1)
    existing = functional.pad(torch.ones(side, dtype=cells.dtype), (1, 1)).unfold(-1, 3, 1).sum(-1)
    return total / existing
