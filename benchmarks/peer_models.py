"""anomalib's torch models on our backbone and our prepared squares. Needs the extra `[peer]`.

Only their public torch parts are used: no data module, no trainer, and weights from where ours come from.
Settings are the papers' and the library's own where the backbone allows them, and stand here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.backbone import Backbone, load_network, normalisation

PATCHCORE_LAYERS = ("blocks.2", "blocks.4")
"""Strides 8 and 16 of an EfficientNet-Lite, as the paper's layer2 and layer3 of a ResNet."""
PATCHCORE_STRIDES = (8, 16)
CORESET_SHARE = 0.01

PADIM_LAYERS = ("blocks.1", "blocks.2", "blocks.4")
"""Strides 4, 8 and 16, as the paper's layer1 to layer3."""
PADIM_STRIDES = (4, 8, 16)
PADIM_FEATURES = 100
"""Channels kept at random: the library's default for its smallest backbone; this one has 176."""

PEERS = ("PatchCore", "PaDiM")
BATCH = 8
SEED = 0


@dataclass(frozen=True)
class PeerModel:
    """A fitted model. `size_bytes`: of what was learnt, without the backbone, as our artifacts are without theirs."""

    model: Any
    size_bytes: int

    def judge(self, square: NDArray[np.uint8]) -> tuple[float, NDArray[np.float32]]:
        """uint8 [S, S, 3] -> the image score, and the map float32 [S, S]."""
        with torch.inference_mode():
            found = self.model(peer_tensor([square]))
        return float(found.pred_score.reshape(-1)[0]), found.anomaly_map.reshape(square.shape[:2]).numpy()


def fit_peer(name: str, squares: Sequence[NDArray[np.uint8]]) -> PeerModel:
    """`squares`: prepared good images, uint8 [S, S, 3]. The same squares, the same model."""
    torch.manual_seed(SEED)
    model = _patchcore() if name == "PatchCore" else _padim()
    model.train()
    with torch.no_grad():
        for start in range(0, len(squares), BATCH):
            model(peer_tensor(squares[start : start + BATCH]))
        if name == "PatchCore":
            model.subsample_embedding(CORESET_SHARE)
            learnt = [model.memory_bank]
        else:
            model.fit()
            learnt = [model.gaussian.mean, model.gaussian.inv_covariance, model.idx]
    return PeerModel(model.eval(), sum(tensor.numel() * tensor.element_size() for tensor in learnt))


def _patchcore() -> Any:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(layers=list(PATCHCORE_LAYERS), backbone=Backbone().name, pre_trained=False)
    return _with_our_weights(model, PATCHCORE_STRIDES)


def _padim() -> Any:
    from anomalib.models.image.padim.torch_model import PadimModel

    model = PadimModel(
        backbone=Backbone().name, layers=list(PADIM_LAYERS), pre_trained=False, n_features=PADIM_FEATURES
    )
    return _with_our_weights(model, PADIM_STRIDES)


def _with_our_weights(model: Any, strides: tuple[int, ...]) -> Any:
    """Every tensor of the peer's backbone is one of ours, or it is an error."""
    network, channels = load_network(Backbone(), strides, Preparation().size_px)
    extractor = model.feature_extractor
    extractor.feature_extractor.load_state_dict(network.state_dict(), strict=True)
    if tuple(extractor.out_dims) != channels:
        raise RuntimeError(f"the peer takes layers of {extractor.out_dims} channels where ours have {channels}")
    return model


def peer_tensor(squares: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """uint8 [B] of [S, S, 3] -> the float32 [B, 3, S, S] that the models take."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in normalisation(Backbone()))
    planes = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255.0  # [B, 3, S, S]
    return (planes - mean) / std
