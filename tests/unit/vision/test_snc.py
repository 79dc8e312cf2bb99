"""Spatial neighbouring coding against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from inspector.vision.networks.snc import NEIGHBOURS, SIGMA, TAU, difference_map, differences, encode


def random_map(seed: int, channels: int = 5, side: int = 6) -> torch.Tensor:
    return torch.randn((2, channels, side, side), generator=torch.Generator().manual_seed(seed))


def test_encode_constant_map_gives_itself_and_cosines_of_one() -> None:
    features = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1).expand(1, 2, 4, 5)
    code = encode(features)
    torch.testing.assert_close(code.context, features)
    torch.testing.assert_close(code.structure, torch.ones(1, 8, 4, 5))
    assert code.joined().shape == (1, 2 * 2 + 8, 4, 5)


def test_encode_single_spike_gives_the_weights_of_the_formula() -> None:
    features = torch.zeros(1, 2, 5, 5)
    features[:, 0] = 1.0
    features[0, :, 2, 2] = torch.tensor([0.0, 2.0])  # at right angles to all others
    code = encode(features)
    torch.testing.assert_close(code.structure[0, :, 2, 2], torch.zeros(8))
    torch.testing.assert_close(code.context[0, :, 2, 2], torch.tensor([1.0, 0.0]))
    # Its left neighbour sees seven equal directions and the spike, at distance 1 to the right.
    straight, slant = -1.0 / (2 * SIGMA**2), -2.0 / (2 * SIGMA**2)
    alike = math.exp(1 / TAU)
    spike = math.exp(straight)
    others = alike * (3 * math.exp(straight) + 4 * math.exp(slant))
    share = spike / (spike + others)
    torch.testing.assert_close(code.context[0, :, 2, 1], torch.tensor([1 - share, 2 * share]))
    right = NEIGHBOURS.index((0, 1))
    expected = torch.ones(8)
    expected[right] = 0.0
    torch.testing.assert_close(code.structure[0, :, 2, 1], expected)
    assert torch.equal(code.features, features)


def test_encode_corner_reflects_its_neighbours() -> None:
    features = random_map(0)
    structure = encode(features).structure
    corner = dict(zip(NEIGHBOURS, structure[0, :, 0, 0], strict=True))
    for dy, dx in NEIGHBOURS:
        cosine = functional.cosine_similarity(features[0, :, 0, 0], features[0, :, abs(dy), abs(dx)], dim=0)
        torch.testing.assert_close(corner[dy, dx], cosine)


def test_encode_permuted_channels_leave_the_structure_and_permute_the_rest() -> None:
    features, order = random_map(1), torch.tensor([3, 0, 4, 1, 2])
    plain, permuted = encode(features), encode(features[:, order])
    torch.testing.assert_close(permuted.structure, plain.structure)
    torch.testing.assert_close(permuted.context, plain.context[:, order])


def test_encode_zero_vectors_have_cosine_zero_and_finite_gradients() -> None:
    features = torch.zeros(1, 3, 4, 4, requires_grad=True)
    code = encode(features)
    assert torch.equal(code.structure, torch.zeros(1, 8, 4, 4))
    code.joined().square().sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("is_coded", [True, False])
def test_difference_map_equal_inputs_give_exactly_zero(is_coded: bool) -> None:
    features = random_map(2)
    assert torch.equal(difference_map(features, features.clone(), is_coded=is_coded), torch.zeros(2, 6, 6))


def test_difference_map_is_the_mean_of_three_equal_terms() -> None:
    teacher, student = random_map(3), random_map(4)
    ours, theirs = encode(student), encode(teacher)
    parts = [(theirs.features, ours.features), (theirs.context, ours.context), (theirs.structure, ours.structure)]
    expected = sum((one - other).square().mean(dim=1) for one, other in parts) / 3
    torch.testing.assert_close(difference_map(teacher, student), expected)
    assert [term.shape[1] for term in differences(teacher, student)] == [5, 5, 8]
    plain = (teacher - student).square().mean(dim=1)
    torch.testing.assert_close(difference_map(teacher, student, is_coded=False), plain)
