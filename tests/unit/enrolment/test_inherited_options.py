"""What more images take over from the version that they are added to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inspector.enrolment.inherited_options import differing, inherited
from inspector.training.dataset.framing import Framing
from inspector.training.enrol import EnrolmentOptions


def manifest(**changed: Any) -> dict[str, Any]:
    preparation = {"tiles": [1, 1], "roi": None, "mask": None, "size_px": 256, "exposure": "as_is"}
    return {
        "head": "protoad",
        "profile": "standard",
        "clustering": ["first-neighbour"],
        "graph": {"backbone": "wide_resnet50_2"},
        "weights_file": "/models/wide.safetensors",
        "preparation": preparation,
        "evidence": {"choices": []},
        "calibration": {"alpha": 0.01},
        **changed,
    }


def test_inherited_takes_head_clustering_and_backbone_where_nothing_is_named() -> None:
    found = inherited(EnrolmentOptions(), manifest(), frozenset())
    assert (found.head, found.profile, found.clustering) == ("protoad", "standard", "first-neighbour")
    assert (found.backbone.name, found.backbone.weights_file) == ("wide_resnet50_2", Path("/models/wide.safetensors"))
    assert found.exposure is None
    assert found.framing == Framing(size_px=256)
    assert differing(found) == ["head protoad", "backbone wide_resnet50_2"]


def test_inherited_leaves_what_goes_with_a_head_to_another_head() -> None:
    options = EnrolmentOptions(head="prototype")
    found = inherited(options, manifest(), frozenset({"head"}))
    assert (found.head, found.clustering, found.framing.size_px) == ("prototype", None, None)


def test_inherited_exposure_is_chosen_again_unless_a_person_said_it() -> None:
    chosen = {"choices": [{"what": "exposure", "chosen": "levelled"}]}
    stored = manifest()["preparation"] | {"exposure": "levelled"}
    for evidence, exposure in ((chosen, None), ({"choices": []}, "levelled")):
        found = inherited(
            EnrolmentOptions(), manifest(head="prototype", preparation=stored, evidence=evidence), frozenset()
        )
        assert found.exposure == exposure


def test_inherited_overkill_is_the_live_versions_unless_named() -> None:
    stored = manifest(calibration={"alpha": 0.05})
    found = inherited(EnrolmentOptions(), stored, frozenset())
    assert found.alpha == 0.05
    assert "overkill 0.05" in differing(found)
    assert inherited(EnrolmentOptions(alpha=0.02), stored, frozenset({"overkill"})).alpha == 0.02
