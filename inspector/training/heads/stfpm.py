"""A plain teacher-student pair, with SNC or without: student-teacher feature pyramid matching in small.

[A] STFPM (Wang, Han, Ding, Huang; BMVC 2021, arXiv 2103.04257): the student has the teacher's architecture, unit-length
features of several levels are matched, the map is the product of the levels' maps. [A] SNC (Li, Hu; IEEE TIM 2025)
plugs into such pairs; [R] how: each level's maps go through `snc.differences` instead of being subtracted, and the
optimiser is Adam. Any two networks that give the same maps will do: nothing here knows the backbone or the artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from inspector.vision.networks.snc import difference_map

Pyramid = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""Images [B, 3, H, W] -> one map [B, C, h, w] per level."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """How a student is trained: `steps` of `batch` images each, drawn by `seed`."""

    steps: int = 500
    batch: int = 8
    learning_rate: float = 5e-4
    seed: int = 0


class PyramidPair(torch.nn.Module):
    """A frozen teacher and its student. `is_coded`: whether they are compared through SNC or by features alone.

    Both are called with the same images and give maps of the same shapes. Both are switched to evaluation mode, so that
    the other images of a batch do not change the maps of an image.
    """

    def __init__(self, teacher: torch.nn.Module, student: torch.nn.Module, *, is_coded: bool = True) -> None:
        super().__init__()
        self.teacher = teacher.eval().requires_grad_(False)
        self.student = student.eval()
        self.is_coded = is_coded

    def levels(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The difference map of each level, [B, h, w]; 0 where student and teacher agree."""
        with torch.no_grad():
            theirs = self.teacher(images)
        found = []
        for teacher, student in zip(theirs, self.student(images), strict=True):
            pair = functional.normalize(teacher, dim=1), functional.normalize(student, dim=1)
            found.append(difference_map(*pair, is_coded=self.is_coded))
        return found

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """The sum over levels of the mean difference."""
        return torch.stack([level.mean() for level in self.levels(images)]).sum()

    @torch.no_grad()
    def anomaly_map(self, images: torch.Tensor) -> torch.Tensor:
        """The product of the levels, each brought to the images' size, [B, H, W]."""
        side = (images.shape[2], images.shape[3])
        large = [
            functional.interpolate(level[:, None], size=side, mode="bilinear", align_corners=False)[:, 0]
            for level in self.levels(images)
        ]
        return torch.stack(large).prod(dim=0)


def teach(pair: PyramidPair, images: torch.Tensor, lessons: Lessons | None = None) -> list[float]:
    """Train the student on good images [N, 3, H, W]. Returns the loss of each step; the seed determines the result."""
    plan = lessons or Lessons()
    drawn = torch.Generator().manual_seed(plan.seed)
    optimiser = torch.optim.Adam(pair.student.parameters(), lr=plan.learning_rate)
    losses = []
    for _ in range(plan.steps):
        rows = torch.randperm(len(images), generator=drawn)[: plan.batch]
        optimiser.zero_grad(set_to_none=True)
        loss = pair.loss(images[rows])
        loss.backward()  # type: ignore[no-untyped-call]  # torch left it untyped
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses
