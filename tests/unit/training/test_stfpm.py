"""SNC around a pair that is not ours: a plain teacher-student pyramid."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from inspector.training.heads.stfpm import Lessons, PyramidPair, teach

SIDE = 24
SHORT = Lessons(steps=80, batch=4, learning_rate=0.02)


class TwoLevels(torch.nn.Module):
    """[B, 3, S, S] -> maps at S and at S / 2."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.fine = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU())
            self.coarse = torch.nn.Conv2d(8, 6, 3, stride=2, padding=1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.fine(images)
        return fine, self.coarse(fine)


def good_images(count: int = 6) -> torch.Tensor:
    noise = torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return 0.1 * noise + torch.tensor([1.0, 0.2, -0.5]).view(1, 3, 1, 1)


@pytest.mark.parametrize("is_coded", [True, False])
def test_teach_finds_what_the_student_never_saw(is_coded: bool) -> None:
    pair = PyramidPair(TwoLevels(0), TwoLevels(1), is_coded=is_coded)
    losses = teach(pair, good_images(), SHORT)
    assert losses[-1] < 0.3 * losses[0]
    odd = good_images(1)
    odd[0, :, 9:13, 9:13] = torch.tensor([-2.0, 2.0, 2.0]).view(3, 1, 1)
    found = pair.anomaly_map(odd)[0]
    assert found.shape == (SIDE, SIDE)
    row, column = divmod(int(found.argmax()), SIDE)
    assert 7 <= row <= 14
    assert 7 <= column <= 14


def test_teach_leaves_the_teacher_as_it_was_and_repeats_itself() -> None:
    before = TwoLevels(0).state_dict()
    pairs = [PyramidPair(TwoLevels(0), TwoLevels(1)) for _ in range(2)]
    plan = Lessons(steps=5, batch=2)
    assert teach(pairs[0], good_images(), plan) == teach(pairs[1], good_images(), plan)
    for name, value in pairs[0].teacher.state_dict().items():
        assert torch.equal(value, before[name])


def test_anomaly_map_is_the_product_of_the_levels_at_the_images_size() -> None:
    pair = PyramidPair(TwoLevels(0), TwoLevels(1))
    images = good_images(2)
    fine, coarse = pair.levels(images)
    large = functional.interpolate(coarse[:, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(pair.anomaly_map(images), fine * large)


def test_a_student_that_says_what_its_teacher_says_shows_nothing() -> None:
    pair = PyramidPair(TwoLevels(0), TwoLevels(0))
    assert torch.equal(pair.anomaly_map(good_images(1)), torch.zeros(1, SIDE, SIDE))
    assert float(pair.loss(good_images(1)).detach()) == 0.0
