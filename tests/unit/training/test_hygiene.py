"""What is found among good images before anything is learnt from them."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from inspector.errors import EnrolmentError
from inspector.stream.decode import DecodeLimits
from inspector.training.dataset.folders import ImageSource
from inspector.training.dataset.framing import Framing
from inspector.training.dataset.gathering import Gathered, Gatherer, gather
from inspector.training.dataset.spill import Spill
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol, neighbour_of
from inspector.training.evidence.hygiene import (
    Hygiene,
    blanks_among,
    descriptors_of,
    featureless_among,
    groups_among,
    inspect,
    near_identical,
    nearest_usual,
    products_among,
    strangers_among,
    suspects_among,
    unlike_the_rest,
)
from inspector.training.heads.factory import recipe_for
from inspector.vision.engines.protocols import unit_length
from inspector.vision.images.preparation import Preparation, prepare
from inspector.vision.networks.graphs import Graph
from inspector.vision.routing.anchors import pooled
from inspector.vision.routing.routing_pass import RoutingPass
from tests.unit.drawings import FakeEngine, draw, encode, good_images

FAST = EnrolmentOptions(profile="fast")


def patches_of(product: str, seeds: range, engine: FakeEngine) -> list[np.ndarray]:
    """Unit routing patches, float32 [P, C] each."""
    routing_pass = RoutingPass.on(engine)
    return [routing_pass.patches(draw(product, seed)) for seed in seeds]


def textured(seed: int) -> np.ndarray:
    """A picture of its own, uint8 [128, 128, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (128, 128), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_near_identical_names_the_first_of_each_picture() -> None:
    pictures = [textured(seed) for seed in range(12)]
    again = cv2.imdecode(cv2.imencode(".jpg", pictures[3], [cv2.IMWRITE_JPEG_QUALITY, 97])[1], cv2.IMREAD_COLOR)
    found, usual = near_identical([*pictures, again, np.clip(again.astype(int) + 1, 0, 255).astype(np.uint8)])
    assert found == [(12, 3), (13, 3)]
    assert usual > 10


def test_near_identical_takes_no_part_of_a_uniform_product_for_a_copy() -> None:
    """Parts that hardly differ are not copies of each other: what separates them usually is the measure."""
    rng = np.random.default_rng(0)
    flat = [np.clip(rng.normal(90, 2, (128, 128, 3)), 0, 255).astype(np.uint8) for _ in range(10)]
    found, usual = near_identical(flat)
    assert found == []
    assert usual < 4


@pytest.mark.parametrize("count", [0, 1])
def test_near_identical_of_one_image_is_nothing(count: int) -> None:
    assert near_identical([textured(0)] * count) == ([], 0.0)


def test_blanks_are_frames_that_show_nothing_among_frames_that_show_something() -> None:
    pictures = [textured(seed) for seed in range(9)]
    black, grey = (np.full((128, 128, 3), level, np.uint8) for level in (0, 128))
    noisy = np.clip(np.random.default_rng(1).normal(200, 2, (128, 128, 3)), 0, 255).astype(np.uint8)
    assert blanks_among([*pictures, black, grey, noisy]) == [9, 10, 11]
    smooth = [np.clip(each.astype(int) // 40 + 100, 0, 255).astype(np.uint8) for each in pictures]
    assert blanks_among(smooth) == []


def test_unlike_the_rest_are_few_that_no_other_resembles(fake_engine: FakeEngine) -> None:
    discs = patches_of("disc", range(20), fake_engine)
    others = patches_of("mesh", range(3), fake_engine)
    assert unlike_the_rest(descriptors_of(discs)) == []
    assert unlike_the_rest(descriptors_of([*discs, *others])) == [20, 21, 22]
    assert groups_among(descriptors_of([*discs, *others])) == []
    assert unlike_the_rest(descriptors_of([*discs, *patches_of("mesh", range(15), fake_engine)])) == []
    assert (
        unlike_the_rest(descriptors_of([]))
        == groups_among(descriptors_of([]))
        == products_among(descriptors_of([]))
        == []
    )


def test_groups_and_products_are_told_by_how_far_they_lie_apart() -> None:
    looks = {degrees: (20, 12 + degrees // 50) for degrees in (20, 40, 60)}
    for degrees, sizes in looks.items():  # mean cosine distances of 0.06, 0.23 and 0.5
        set_ = cloud(0, sizes[0], 1), cloud(degrees, sizes[1], 2)
        both = np.concatenate(set_)
        groups, products = groups_among(both), products_among(both)
        assert [len(group) for group in groups] == ([] if degrees == 20 else list(sizes))
        assert [len(group) for group in products] == (list(sizes) if degrees == 60 else [sum(sizes)])


def test_products_among_are_large_groups_alone() -> None:
    assert len(products_among(np.concatenate([cloud(0, 60, 1), cloud(90, 5, 2)]))) == 1  # less than a tenth
    assert len(products_among(np.concatenate([cloud(0, 20, 1), cloud(90, 4, 2)]))) == 1
    assert len(products_among(np.concatenate([cloud(0, 20, 1), cloud(90, 5, 2)]))) == 2


def cloud(degrees: float, count: int, seed: int) -> np.ndarray:
    """Unit vectors about a direction in a plane, float32 [count, 40]."""
    centre = np.zeros(40)
    centre[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return unit_length((centre + np.random.default_rng(seed).normal(0, 0.01, (count, 40))).astype(np.float32))


@pytest.mark.parametrize("few", [12, 6])
def test_inspect_two_products_in_one_set_objects_and_says_what_lies_in_which_group(
    fake_engine: FakeEngine, few: int
) -> None:
    found = inspected([*good_images("disc", 24 - few), *renamed(good_images("mesh", few), "m")], fake_engine)
    (said,) = found.objections
    assert f"look like 2 products, in groups of {24 - few} and {few}" in said
    assert "m0.png, m1.png, m2.png, ..." in said
    assert said in found.warnings
    assert [each["images"] for each in found.to_manifest()["groups"]] == [24 - few, few]
    alone = inspected(good_images("disc", 24), fake_engine)
    assert (alone.warnings, alone.objections, alone.apart) == ((), (), (24,))


def test_enrol_two_products_in_one_set_is_held_back_and_has_no_pose(fake_engine: FakeEngine) -> None:
    found = enrol("both", [*good_images("disc", 6), *renamed(good_images("mesh", 6), "m")], FAST, fake_engine)
    (said,) = [each for each in found.evidence.objections if "look like 2 products" in each]
    assert said in found.report.warnings
    assert said in found.manifest["evidence"]["objections"]
    assert found.evidence.pose is None


def test_inspect_tells_how_many_images_have_which_size(fake_engine: FakeEngine) -> None:
    def sized(name: str, seed: int, height: int) -> ImageSource:
        return ImageSource(name, payload=encode(draw("disc", seed, size=(height, 96))))

    one_odd = [*good_images("disc", 24), sized("crop.png", 3, 80)]
    assert "the images differ in size: 24 of 96x96 px, 1 of 96x80 px; crops, or another camera?" in (
        inspected(one_odd, fake_engine).warnings
    )
    halves = [*good_images("disc", 13), *(sized(f"b{seed}.png", seed, 64) for seed in range(12))]
    found = inspected(halves, fake_engine)
    assert any("13 of 96x96 px, 12 of 96x64 px" in each for each in found.warnings)
    assert found.to_manifest()["sizes"] == [[96, 96, 13], [96, 64, 12]]


def test_inspect_of_parts_that_are_cut_out_remarks_on_their_sizes_and_finds_no_fault(fake_engine: FakeEngine) -> None:
    varied = [ImageSource(f"{i}.png", payload=encode(draw("disc", i, size=(90 + i, 96)))) for i in range(25)]
    found = inspected(varied, fake_engine)
    (said,) = found.remarks
    assert said.startswith("the images have 25 sizes, as parts that are cut out of their frames: 1 of 96x90 px, 1 of ")
    assert said.endswith(" px, 22 of 22 more sizes")
    assert not any("px" in each for each in found.warnings)


def inspected(images: list[ImageSource], engine: FakeEngine) -> Hygiene:
    preparation = Preparation()
    gatherer = Gatherer([preparation], DecodeLimits(), RoutingPass.on(engine))
    return inspect(gather(images, gatherer, lambda *_: None), [], preparation)


def renamed(images: list[ImageSource], prefix: str) -> list[ImageSource]:
    return [replace(image, name=f"{prefix}{number}.png") for number, image in enumerate(images)]


def test_enrol_leaves_out_a_frame_that_shows_nothing(fake_engine: FakeEngine) -> None:
    black = ImageSource("black.png", payload=encode(np.zeros((96, 96, 3), np.uint8)))
    found = enrol("disc", [*good_images("disc", 20), black], FAST, fake_engine)
    assert found.report.left_out == (("black.png", "it shows nothing, as a frame without a part does"),)
    assert found.report.n_used == 20


def test_strangers_are_named_with_their_product(enrolled: dict[str, Enrolment], fake_engine: FakeEngine) -> None:
    patches = patches_of("disc", range(30), fake_engine)
    patches[7:7] = patches_of("mesh", range(2), fake_engine)
    others = [neighbour_of(enrolled[name].artifact).anchors for name in ("mesh", "plate")]
    assert strangers_among(patches, others) == ([(7, "mesh"), (8, "mesh")], None)
    assert strangers_among(patches, []) == ([], None)


def test_strangers_in_a_crowd_are_a_look_alike(enrolled: dict[str, Enrolment], fake_engine: FakeEngine) -> None:
    patches = [*patches_of("disc", range(12), fake_engine), *patches_of("mesh", range(8), fake_engine)]
    found, alike = strangers_among(patches, [neighbour_of(enrolled["mesh"].artifact).anchors])
    assert found == []
    assert alike == ("mesh", pytest.approx(0.4))


def test_suspects_are_the_odd_ones_with_their_place_and_neighbour(fake_engine: FakeEngine) -> None:
    recipe = recipe_for("prototype", "fast")
    graph = Graph("any", "", 256, recipe.embeddings)
    pictures = [draw("plate", seed) for seed in range(40)]
    cv2.circle(pictures[11], (70, 24), 8, (255, 255, 0), -1)
    inputs = [prepare(each, recipe.preparation) for each in pictures]
    routes = [RoutingPass.on(fake_engine).patches(each) for each in pictures]
    (found,) = suspects_among(inputs, routes, graph, fake_engine, fake_engine.embedder(graph), lambda *_: None)
    assert found.image == 11
    assert found.neighbour != 11
    assert found.spreads > 6
    assert found.at == pytest.approx((70 / 96, 24 / 96), abs=0.12)


def test_nearest_usual_is_never_an_odd_one(fake_engine: FakeEngine) -> None:
    routes = patches_of("disc", range(6), fake_engine)
    near = nearest_usual([0, 1], routes)
    descriptors = np.stack([pooled(each) for each in routes])
    for image, found in zip((0, 1), near, strict=True):
        assert found == 2 + int((descriptors[2:] @ descriptors[image]).argmax())
    assert nearest_usual([], routes) == []


def test_enrol_leaves_out_strangers_and_not_what_its_own_earlier_version_knows(
    enrolled: dict[str, Enrolment], fake_engine: FakeEngine
) -> None:
    images = good_images("disc", 8)
    images[5:5] = [ImageSource("stray.png", payload=encode(draw("mesh", 1)))]
    live = [neighbour_of(enrolled[name].artifact) for name in ("disc", "mesh")]
    done = enrol("disc", images, FAST, fake_engine, live=live)
    assert done.report.left_out == (("stray.png", "mesh claims it, which is enrolled already"),)
    assert done.report.n_used == 8
    assert "stray.png" not in {each["name"] for each in done.manifest["images"]}
    assert done.manifest["evidence"]["hygiene"]["other_product"] == [{"image": "stray.png", "product": "mesh"}]
    assert any("8 images are few" in warning for warning in done.report.warnings)


def test_enrol_strict_stops_and_names_everything(fake_engine: FakeEngine) -> None:
    images = [*good_images("disc", 25), ImageSource("torn.png", payload=b"no image")]
    images[9] = ImageSource("odd.png", payload=encode(draw("disc", 500, defect=True)))
    strict = EnrolmentOptions(profile="fast", is_strict=True)
    with pytest.raises(EnrolmentError, match=r"left out torn\.png; look at odd\.png"):
        enrol("disc", images, strict, fake_engine)


def test_inspect_names_frames_too_small_to_see_in(fake_engine: FakeEngine) -> None:
    small = [ImageSource(f"{i}.png", payload=encode(draw("disc", i, size=(40, 50)))) for i in range(25)]
    assert any("images of 40 px on a side" in each for each in inspected(small, fake_engine).warnings)


def test_enrol_of_a_region_too_small_to_see_in_is_not_made_live(fake_engine: FakeEngine) -> None:
    for roi, is_objected in (((0.1, 0.1, 0.2, 0.5), True), ((0.1, 0.1, 0.5, 0.5), False)):
        options = replace(FAST, framing=Framing(roi=roi))
        found = enrol("disc", good_images("disc", 8), options, fake_engine)
        assert any("is as much as 19 px" in each for each in found.evidence.objections) == is_objected


def test_inspect_nearly_black_images_ask_for_their_bit_depth_not_for_other_parts() -> None:
    """Twelve bits in sixteen, read as sixteen, hardly differ in eight: that is not one part shot many times."""
    rng = np.random.default_rng(0)
    dark = Gathered(Spill(), Spill(), Spill())
    for number in range(3):
        dark.names.append(f"{number}.png")
        dark.sizes.append((128, 128))
        dark.route_patches.append(np.full((4, 40), 40**-0.5, np.float16))
        dark.routing.append(rng.integers(0, 15, (128, 128, 3)).astype(np.uint8))
    (few, black) = inspect(dark, [], Preparation()).warnings
    assert "few" in few
    assert "nearly black (no brighter than 14 of 255 levels)" in black
    assert "bit_depth" in black


def test_featureless_are_even_frames_whatever_their_gray_but_no_plain_surface() -> None:
    rng = np.random.default_rng(4)
    even = [np.full((128, 128, 3), level, np.uint8) for level in (0, 90, 255)]
    noisy = [np.clip(rng.normal(128, 4, (128, 128, 3)), 0, 255).astype(np.uint8)]
    coarse = cv2.resize(rng.integers(100, 130, (16, 16, 3), np.uint8), (128, 128), interpolation=cv2.INTER_CUBIC)
    assert featureless_among([*even, *noisy, coarse, textured(1)]) == [0, 1, 2, 3]


def test_enrol_a_set_of_which_most_show_nothing_is_held_back(fake_engine: FakeEngine) -> None:
    rng = np.random.default_rng(4)
    blank = [
        ImageSource(f"{n}.png", payload=encode(np.clip(rng.normal(128, 3, (96, 96, 3)), 0, 255).astype(np.uint8)))
        for n in range(14)
    ]
    found = enrol("disc", [*good_images("disc", 8), *blank], FAST, fake_engine)
    assert "14 of 22 images show nothing" in found.evidence.objections[0]
    good = enrol("disc", good_images("disc", 22), FAST, fake_engine)
    assert not [each for each in good.report.warnings if "show nothing" in each]


def test_enrol_names_each_image_that_shows_nothing_once(fake_engine: FakeEngine) -> None:
    even = [np.full((96, 96, 3), 120, np.uint8) for _ in range(3)]
    for number, picture in enumerate(even):
        picture[0, 0] = 121 + number  # no two have equal bytes
    gray = [ImageSource(f"{number}.png", payload=encode(picture)) for number, picture in enumerate(even)]
    named = [name for name, _ in enrol("disc", [*good_images("disc", 8), *gray], FAST, fake_engine).report.left_out]
    assert sorted(named) == ["0.png", "1.png", "2.png"]
