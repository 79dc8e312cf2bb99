"""Options for an enrolment that adds images: as in the live version, except those that the person names."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from inspector.training.dataset.framing import Framing
from inspector.training.enrol import EnrolmentOptions
from inspector.training.heads.factory import recipe_for
from inspector.vision.networks.backbone import Backbone

NAMEABLE = (
    "head",
    "profile",
    "tiles",
    "roi",
    "mask",
    "input_px",
    "exposure",
    "backbone",
    "weights",
    "clustering",
    "overkill",
)
"""Options that a person may name, as the parameters of `inspector enroll` are called."""


def inherited(options: EnrolmentOptions, manifest: Mapping[str, Any], named: Set[str]) -> EnrolmentOptions:
    """`options`, with everything that is not in `named` (of `NAMEABLE`) taken from the version with this manifest.

    A choice that the good images made for that version is made again. The input size and the clustering are taken over
    only if head and profile stay the same.
    """
    stored, framing = manifest["preparation"], options.framing
    head = options.head if "head" in named else manifest["head"]
    profile = options.profile if "profile" in named else manifest["profile"]
    is_same_head = (head, profile) == (manifest["head"], manifest["profile"])
    result = replace(options, head=head, profile=profile)
    if "tiles" not in named:
        framing = replace(framing, tiles=(int(stored["tiles"][0]), int(stored["tiles"][1])))
    if "roi" not in named and stored["roi"] is not None:
        x, y, width, height = (float(share) for share in stored["roi"])
        framing = replace(framing, roi=(x, y, width, height), is_roi_px=False)
    if "mask" not in named and stored["mask"] is not None:
        framing = replace(framing, mask=base64.b64decode(stored["mask"]))
    if "input_px" not in named and is_same_head:
        framing = replace(framing, size_px=int(stored["size_px"]))
    if "exposure" not in named and is_same_head and _was_exposure_named(manifest):
        result = replace(result, exposure=stored["exposure"])
    if "overkill" not in named:
        result = replace(result, alpha=float(manifest["calibration"]["alpha"]))
    if not named & {"backbone", "weights"}:
        file = manifest.get("weights_file")
        result = replace(result, backbone=Backbone(manifest["graph"]["backbone"], Path(file) if file else None))
    if "clustering" not in named and is_same_head and head == "protoad":
        result = replace(result, clustering=manifest["clustering"][0])
    return replace(result, framing=framing)


def differing(options: EnrolmentOptions) -> list[str]:
    """The options that differ from their defaults, each in words for a person."""
    usual, framing = EnrolmentOptions(), options.framing
    compared = {
        "head": (options.head, usual.head),
        "profile": (options.profile, usual.profile),
        "backbone": (options.backbone.name, usual.backbone.name),
        "tiles": ("x".join(map(str, framing.tiles)), "x".join(map(str, Framing().tiles))),
        "region of interest": (framing.roi and ", ".join(f"{share:.3g}" for share in framing.roi), None),
        "exposure": (options.exposure, None),
        "overkill": (f"{options.alpha:.3g}", f"{usual.alpha:.3g}"),
    }
    size_px = framing.size_px
    if size_px is not None and size_px != recipe_for(options.head, options.profile).preparation.size_px:
        compared["input size"] = (f"{size_px} px", None)
    words = [f"{name} {value}" for name, (value, default) in compared.items() if value != default]
    return [*words, *(["a mask"] if framing.mask is not None else [])]


def _was_exposure_named(manifest: Mapping[str, Any]) -> bool:
    """Whether a person named the exposure. An exposure that the images chose is listed among the choices."""
    choices = manifest["evidence"]["choices"]
    return manifest["head"] != "protoad" and all(choice["what"] != "exposure" for choice in choices)
