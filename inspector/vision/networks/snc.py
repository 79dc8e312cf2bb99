"""Spatial neighbouring coding (SNC): each element of a feature map, coded together with its neighbours.

[A] SNC (Li, Hu; IEEE TIM 2025, 10.1109/TIM.2024.3522399) encodes the contextual information of the
neighbourhood of each element in feature space and plugs into diverse teacher-student detectors.
[R] The formula is our reconstruction, because only the abstract is public. SNC has no parameters and no state. The same
function codes teacher and student, so it works for any pair of maps of one shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

TAU = 0.1
SIGMA = 1.0
_WINDOW = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
_CENTRE = 4
NEIGHBOURS = _WINDOW[:_CENTRE] + _WINDOW[_CENTRE + 1 :]
"""Offsets (row, column) of the eight neighbours, row by row: the order of the channels of `structure`."""
SHORTEST = 1e-6
"""Vectors shorter than this count as without direction: their cosines become 0 instead of noise."""


@dataclass(frozen=True, slots=True)
class Code:
    """SNC(F) in its three parts, float32.

    `features`: the map itself, [B, C, h, w]; `context`: c_p = sum of a_pq F_q over the neighbours q,
    [B, C, h, w]; `structure`: r_p, the cosines to the eight neighbours, [B, 8, h, w], in [-1, 1].
    """

    features: torch.Tensor
    context: torch.Tensor
    structure: torch.Tensor

    def joined(self) -> torch.Tensor:
        """Features, context and structure as one map, [B, 2C + 8, h, w]."""
        return torch.cat([self.features, self.context, self.structure], dim=1)


def encode(features: torch.Tensor, tau: float = TAU, sigma: float = SIGMA) -> Code:
    """The code of `features` [B, C, h, w], h and w at least 2, in float32; differentiable.

    a_pq = softmax over the eight neighbours q of p of cos(F_p, F_q) / tau - |q - p|^2 / (2 sigma^2). The map is
    extended by reflection at its border. Permuting the channels permutes features and context and does not change the
    structure.
    """
    own = features.float()
    windows = _windows(own)  # [B, C, 9, h, w]
    length = own.norm(dim=1, keepdim=True).clamp_min(SHORTEST)  # [B, 1, h, w]
    cosines = (own.unsqueeze(2) * windows).sum(dim=1) / (length * _windows(length)[:, 0])  # [B, 9, h, w]
    # The element itself is not a neighbour: its distance is infinite, so that its weight is 0.
    distances = cosines.new_tensor([float(dy * dy + dx * dx) or math.inf for dy, dx in _WINDOW]).view(1, 9, 1, 1)
    weights = (cosines / tau - distances / (2.0 * sigma**2)).softmax(dim=1)
    context = (weights.unsqueeze(1) * windows).sum(dim=2)
    return Code(own, context, torch.cat([cosines[:, :_CENTRE], cosines[:, _CENTRE + 1 :]], dim=1))


def differences(teacher: torch.Tensor, student: torch.Tensor, *, is_coded: bool = True) -> tuple[torch.Tensor, ...]:
    """Squared differences of two maps [B, C, h, w], one tensor per term, in the order of `Code`.

    With SNC there are three terms. With `is_coded` False there is one, the features: plain feature matching (STFPM).
    """
    if not is_coded:
        return ((teacher.float() - student.float()).square(),)
    theirs, ours = encode(teacher), encode(student)
    return (
        (theirs.features - ours.features).square(),
        (theirs.context - ours.context).square(),
        (theirs.structure - ours.structure).square(),
    )


def difference_map(teacher: torch.Tensor, student: torch.Tensor, *, is_coded: bool = True) -> torch.Tensor:
    """How far the student is from the teacher at each position, float32 [B, h, w], 0 for equal maps.

    [R] Each term is the mean over its own channels, and the result is the mean of the terms. A plain mean over all
    channels would let a hundred features outweigh eight cosines.
    """
    terms = [each.mean(dim=1) for each in differences(teacher, student, is_coded=is_coded)]
    return torch.stack(terms).mean(dim=0)


def _windows(maps: torch.Tensor) -> torch.Tensor:
    """The 3 x 3 elements around each position, [B, C, 9, h, w], row by row."""
    batch, channels, height, width = maps.shape
    padded = functional.pad(maps, (1, 1, 1, 1), mode="reflect")
    return functional.unfold(padded, 3).view(batch, channels, 9, height, width)
