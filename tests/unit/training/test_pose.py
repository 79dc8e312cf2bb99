"""How much a part turns and moves in its good images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.training.evidence.pose import Pose, pose_of

SIDE = 128


def part(angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> NDArray[np.uint8]:
    """An L-shaped part on a plain ground, turned about the middle by `angle` degrees and moved by `shift` pixels."""
    image = np.full((SIDE, SIDE, 3), 60, np.uint8)
    cv2.rectangle(image, (52, 38), (66, 90), (200, 190, 180), -1)
    cv2.rectangle(image, (52, 76), (92, 90), (200, 190, 180), -1)
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), angle, 1.0)
    turn[:, 2] += shift
    moved = cv2.warpAffine(image, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    noise = np.random.default_rng(seed).integers(-4, 5, moved.shape)
    return np.clip(moved.astype(np.int16) + noise, 0, 255).astype(np.uint8)


def test_pose_of_a_part_in_a_fixture_lies_still() -> None:
    pose = pose_of([part(seed=seed) for seed in range(12)])
    assert pose is not None
    assert (pose.turn_deg, pose.move_share) == (0.0, 0.0)
    assert pose.advice is None
    assert "lies still" in pose.statement


@pytest.mark.parametrize("most", [40, 90, 170])
def test_pose_of_a_turning_part_names_the_turn_and_a_fixture(most: int) -> None:
    angles = np.linspace(-most, most, 15)
    pose = pose_of([part(float(angle), seed=number) for number, angle in enumerate(angles)])
    assert pose is not None
    assert pose.turns
    assert pose.turn_deg is not None
    assert most * 0.6 <= pose.turn_deg <= 180  # counted from the most typical image, not from the middle
    assert pose.advice is not None
    assert "turns by up to" in pose.advice
    assert "fixture" in pose.advice
    assert pose.likeness_in_place < pose.likeness


def test_pose_of_a_moving_part_names_the_move_and_a_region() -> None:
    rng = np.random.default_rng(3)
    pose = pose_of([part(0.0, tuple(rng.uniform(-20, 20, 2)), seed) for seed in range(20)])
    assert pose is not None
    assert not pose.turns
    assert pose.moves
    assert pose.advice is not None
    assert "moves by up to" in pose.advice
    assert "--roi" in pose.advice


def test_pose_of_a_round_part_does_not_turn() -> None:
    def disc(angle: float) -> NDArray[np.uint8]:
        image = np.full((SIDE, SIDE, 3), 60, np.uint8)
        cv2.circle(image, (SIDE // 2, SIDE // 2), 30, (200, 190, 180), -1, lineType=cv2.LINE_AA)
        turn = cv2.getRotationMatrix2D(((SIDE - 1) / 2, (SIDE - 1) / 2), angle, 1.0)
        return np.asarray(cv2.warpAffine(image, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE), np.uint8)

    pose = pose_of([disc(angle) for angle in range(0, 360, 30)])
    assert pose is not None
    assert pose.turn_deg == 0.0


def test_pose_of_noise_is_not_told() -> None:
    rng = np.random.default_rng(5)
    pose = pose_of([rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(8)])
    assert pose is not None
    assert (pose.turn_deg, pose.move_share) == (None, None)
    assert "no common picture" in pose.statement
    assert pose.advice is None


def test_pose_of_one_image_is_none() -> None:
    assert pose_of([part()]) is None


def test_pose_goes_into_the_manifest_with_its_sentence() -> None:
    stored = Pose(90.0, 0.05, 0.8, 0.4, 20).to_manifest()
    assert stored["turn_deg"] == 90.0
    assert stored["statement"] == "it turns by up to 90 degrees in nine of ten good images"


def test_pose_of_images_of_two_sizes_is_no_turn_and_names_the_size_that_it_is_told_from() -> None:
    """Every second image is squeezed, as by a camera of another format: its picture is not that of a turned part."""
    canvases, sizes = [], []
    for number in range(24):
        canvas = part(seed=number)
        if number % 2:
            small = cv2.resize(canvas, (SIDE, SIDE * 2 // 3), interpolation=cv2.INTER_AREA)
            edge = SIDE - len(small)
            canvas = cv2.copyMakeBorder(small, edge // 2, edge - edge // 2, 0, 0, cv2.BORDER_REFLECT)
            canvas = np.asarray(np.rot90(canvas), np.uint8)
        canvases.append(canvas)
        sizes.append((233, 350) if number % 2 and number < 23 else (700, 600))
    canvases[23] = part(seed=23)
    both = pose_of(canvases)
    assert both is not None
    assert both.turns
    pose = pose_of(canvases, sizes)
    assert pose is not None
    assert (pose.turn_deg, pose.move_share, pose.n, pose.of_px) == (0.0, 0.0, 13, (600, 700))
    assert "told from the 13 images of 600x700 px" in pose.statement
    assert pose_of(canvases, [(700, 600 + number) for number in range(24)]) is None
    assert pose_of(canvases, [(700, 600)] * 24) == both
