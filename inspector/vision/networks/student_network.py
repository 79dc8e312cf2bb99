"""The student network, and its comparison with the teacher, in torch. Training and the torch engine use both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from inspector.vision.networks.snc import differences
from inspector.vision.networks.student_graph import FIRST, LAYERS, LEVELS, MAPS, SECOND, THIRD, StudentWeights


class StudentNetwork(torch.nn.Module):
    """The frozen stem [B, C4, h, w] -> low [B, C8, h/2, w/2] and high [B, C16, h/4, w/4]."""

    def __init__(self, stem: int, low: int, high: int) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(stem, FIRST, 3, padding=1)
        self.second = torch.nn.Conv2d(FIRST, SECOND, 3, padding=1)
        self.to_low = torch.nn.Conv2d(SECOND, low, 1)
        self.third = torch.nn.Conv2d(SECOND, THIRD, 3, padding=1)
        self.to_high = torch.nn.Conv2d(THIRD, high, 3, padding=1)

    def forward(self, stem: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        trunk = functional.avg_pool2d(functional.relu(self.first(stem)), 2)
        trunk = functional.relu(self.second(trunk))
        low = self.to_low(trunk)
        high = self.to_high(functional.relu(self.third(functional.avg_pool2d(trunk, 2))))
        return low, high


class Comparison(torch.nn.Module):
    """A trained student compared with its teacher. Takes patches, gives the same difference maps as the ONNX graph."""

    def __init__(self, weights: StudentWeights) -> None:
        super().__init__()
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.tensors.items()}
        self._is_coded = weights.is_coded
        self.network = StudentNetwork(*(tensors[f"{name}.mean"].numel() for name in MAPS))
        self.network.load_state_dict({name: value for name, value in tensors.items() if name.split(".")[0] in LAYERS})
        for name in MAPS:
            self.register_buffer(f"{name}_mean", tensors[f"{name}.mean"])
            self.register_buffer(f"{name}_scale", tensors[f"{name}.scale"])

    def forward(self, *patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Stem, low, high [B, P, C] -> low [B, g8, g8], high [B, g16, g16]."""
        maps = {}
        for name, each in zip(MAPS, patches, strict=True):
            scaled = (each.float() - self.get_buffer(f"{name}_mean")) * self.get_buffer(f"{name}_scale")
            maps[name] = as_map(scaled)
        answers = dict(zip(LEVELS, self.network(maps["stem"]), strict=True))
        low, high = (
            torch.stack(
                [term.mean(dim=1) for term in differences(maps[level], answers[level], is_coded=self._is_coded)]
            )
            for level in LEVELS
        )
        return low.mean(dim=0), high.mean(dim=0)


def as_map(patches: torch.Tensor) -> torch.Tensor:
    """[B, P, C] -> [B, C, g, g]."""
    side = round(patches.shape[1] ** 0.5)
    return patches.transpose(1, 2).reshape(patches.shape[0], patches.shape[2], side, side)


def compare(
    comparison: Comparison, patches: Sequence[torch.Tensor]
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Low and high difference map of each frame of a batch, on the host. Each frame is compared by itself."""
    found = []
    with torch.inference_mode():
        for row in range(len(patches[0])):
            low, high = comparison(*(each[row : row + 1] for each in patches))
            found.append((low[0].cpu().numpy(), high[0].cpu().numpy()))
    return found
