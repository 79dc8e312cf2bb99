"""Any timm model with a weights file: tiny random ones of each build, so that nothing is assumed of their layers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from typer.testing import CliRunner

from inspector.cli import app
from inspector.errors import UsageError, WeightsMissing
from inspector.training.heads.adapting import ensure_size
from inspector.training.heads.factory import recipe_for
from inspector.vision.networks.backbone import Backbone, find_weights, load_network, strides_of, weights_digest
from inspector.vision.networks.embedding_network import EmbeddingNetwork
from inspector.vision.networks.graphs import Embedding, Graph
from tests.unit.drawings import draw, encode

SIZE_PX = 64
STRIDES = {
    "test_resnet": (2, 4, 8, 16, 32),
    "test_convnext": (4, 8, 16, 32),
    "test_vit": (16,),  # with a class token
    "test_vit2": (16,),  # with a register and no class token
}


def saved(name: str, folder: Path, suffix: str = ".pth") -> Backbone:
    """A random model of that name with its weights in a file."""
    path = folder / f"{name}{suffix}"
    torch.manual_seed(0)
    state = timm.create_model(name, pretrained=False).state_dict()
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path)
    return Backbone(name, path)


def whole_model(backbone: Backbone, size_px: int) -> torch.nn.Module:
    """The model as timm itself loads that file."""
    assert backbone.weights_file is not None
    at_size = {"img_size": size_px} if "vit" in backbone.name else {}
    return timm.create_model(
        backbone.name,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(backbone.weights_file)},
        **at_size,
    ).eval()


@pytest.mark.parametrize("name", STRIDES)
def test_load_network_gives_the_maps_that_timm_gives(name: str, tmp_path: Path) -> None:
    backbone = saved(name, tmp_path, ".safetensors" if name == "test_vit" else ".pth")
    assert strides_of(backbone) == STRIDES[name]
    wanted = tuple(stride for stride in STRIDES[name] if stride in (4, 8, 16))
    network, channels = load_network(backbone, wanted, SIZE_PX)
    pixels = torch.randn(2, 3, SIZE_PX, SIZE_PX)
    with torch.inference_mode():
        found = network(pixels)
        model = whole_model(backbone, SIZE_PX)
        theirs = model.forward_intermediates(pixels, intermediates_only=True, output_fmt="NCHW")
    for stride, count, ours in zip(wanted, channels, found, strict=True):
        assert ours.shape == (2, count, SIZE_PX // stride, SIZE_PX // stride)
        last = [each for each in theirs if each.shape[1:] == ours.shape[1:]][-1]
        torch.testing.assert_close(ours, last)


@pytest.mark.parametrize("name", STRIDES)
@pytest.mark.parametrize("head", ["prototype", "protoad"])
def test_adapted_recipe_runs_on_whatever_strides_there_are(name: str, head: str, tmp_path: Path) -> None:
    backbone = saved(name, tmp_path)
    recipe = recipe_for(head, "standard").adapted(strides_of(backbone), name)
    graph = Graph(name, weights_digest(backbone), SIZE_PX, recipe.embeddings)
    network = EmbeddingNetwork(graph, backbone).eval()
    pixels = torch.from_numpy(np.stack([draw("disc", seed, size=(SIZE_PX, SIZE_PX)) for seed in range(2)]))
    with torch.inference_mode():
        together, alone = network(pixels), network(pixels[1:])
    for number, (both, one) in enumerate(zip(together, alone, strict=True)):
        cells = graph.grid(number) ** 2
        is_checkered = graph.embeddings[number].join == "checkered"
        assert both.shape[:2] == (2, (cells + 1) // 2 if is_checkered else cells)
        torch.testing.assert_close(both[1:], one, atol=1e-4, rtol=1e-4)


def test_adapted_recipe_of_the_default_backbone_is_the_recipe() -> None:
    for head, profile in (("prototype", "fine"), ("protoad", "standard"), ("student", "fine")):
        recipe = recipe_for(head, profile)
        assert recipe.adapted(strides_of(Backbone()), "lite0") == recipe


def test_adapted_recipe_of_one_stride_has_no_bank_twice() -> None:
    recipe = recipe_for("prototype", "fine").adapted((14,), "vit")
    assert recipe.embeddings == (Embedding((14,), 14), Embedding((14,), 14, pool=1, join="checkered"))
    assert [(member.clustering, member.whiten) for member in recipe.members] == [
        ("farthest-first", False),
        ("spherical-kmeans", False),
        ("farthest-first", False),  # its places and the frame as a whole, which pick nothing
        ("farthest-first", False),
        ("kmeans", False),
        ("kmeans", True),
    ]
    assert [member.in_decision for member in recipe.members] == [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]
    assert recipe.preparation.size_px == 252
    ensure_size(recipe.embeddings, recipe.preparation.size_px, "vit")


def test_student_on_a_backbone_of_one_stride_says_why_not() -> None:
    with pytest.raises(UsageError, match=r"needs features at strides 4, 8, 16; vit has 14\. Choose another head"):
        recipe_for("student", "fine").adapted((14,), "vit")


def test_unknown_model_is_named() -> None:
    with pytest.raises(UsageError, match="There is no timm model 'resnet_of_dreams'"):
        strides_of(Backbone("resnet_of_dreams"))


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    other = saved("test_resnet", tmp_path)
    for name in ("test_convnext", "test_vit"):
        with pytest.raises(WeightsMissing, match=f"does not fit {name}: .* is missing or of another shape"):
            load_network(Backbone(name, other.weights_file), (16,), SIZE_PX)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 torn"])
def test_weights_that_are_none_are_refused(content: bytes, tmp_path: Path) -> None:
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"weights{suffix}"
        path.write_bytes(content)
        with pytest.raises(WeightsMissing, match="can't be read"):
            load_network(Backbone("test_resnet", path), (16,), SIZE_PX)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsMissing, match="holds no state dict"):
        load_network(Backbone("test_resnet", tmp_path / "list.pth"), (16,), SIZE_PX)


def test_find_weights_prefers_the_folder_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "vit.pth").write_bytes(b"x")
    assert find_weights("/elsewhere/vit.pth", tmp_path) == tmp_path / "vit.pth"
    assert find_weights("/elsewhere/other.pth", tmp_path) == Path("/elsewhere/other.pth")
    assert find_weights("/elsewhere/vit.pth", None) == Path("/elsewhere/vit.pth")
    assert find_weights(None, tmp_path) is None


@pytest.mark.timeout(500)  # one export, or two
def test_any_backbone_enrols_and_inspects_through_the_command_line(tmp_path: Path, engine_cache: Path) -> None:
    backbone = saved("test_vit2", tmp_path)
    root = tmp_path / "data"
    for part, seeds, bad in (
        ("train/good", range(6), False),
        ("test/good", (20, 21), False),
        ("test/spot", (30,), True),
    ):
        (root / "disc" / part).mkdir(parents=True)
        for seed in seeds:
            (root / "disc" / part / f"{seed}.png").write_bytes(encode(draw("disc", seed, defect=bad)))
    state = tmp_path / "state"
    state.mkdir()
    (state / "engines").symlink_to(engine_cache)
    config = tmp_path / "inspector.toml"
    config.write_text(f'[agent]\nstate_dir = "{state}"\n[engine]\nname = "onnxruntime"\nthreads = 2\n')
    chosen = ["--backbone", backbone.name, "--weights", str(backbone.weights_file)]

    def inspector(*arguments: str) -> dict:
        done = CliRunner().invoke(app, [*arguments, "--config", str(config), "--json"])
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    enrolled = inspector("enroll", "disc", str(root / "disc/train/good"), "--profile", "fast", "--full-speed", *chosen)
    assert (enrolled["live"], enrolled["used"]) == (True, 6)
    shown = inspector("products", "show", "disc")["manifest"]
    assert shown["graph"]["backbone"] == "test_vit2"
    assert shown["weights_file"] == str(backbone.weights_file)
    live = inspector("evaluate", str(root), "--registry", "--mode", "routed")
    fitted = inspector("evaluate", str(root), "--profile", "fast", *chosen)
    for figures in (live, fitted):
        assert figures["backbone"] == "test_vit2"
        assert figures["products"]["disc"]["n_good"] == 2
    assert live["products"]["disc"]["image_auroc"] == fitted["products"]["disc"]["image_auroc"]

    done = CliRunner().invoke(
        app, ["enroll", "disc", str(root / "disc/train/good"), "--full-speed", "--backbone", "test_vit2"]
    )
    assert isinstance(done.exception, UsageError)
    assert "name their file with --weights" in str(done.exception)
