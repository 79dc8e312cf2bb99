"""A head that lives here alone goes all the way: enrolled, chosen, packed, loaded, scoring in a running lineup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inspector.config.sections import EngineSection
from inspector.domain import LiveSet, Routed, Scored
from inspector.errors import ArtifactError, UsageError
from inspector.training.dataset.splitting import held_out
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.training.evidence import detectability
from inspector.training.heads import factory as recipes
from inspector.training.heads.adapting import ensure_strides
from inspector.training.heads.base import Fitted, FittingInputs, HeadRecipe, TrialParts, TrialScores
from inspector.training.heads.fitted import calibrated
from inspector.training.heads.student_plan import TrainingPlan
from inspector.vision.artifacts.format import pack, read_manifest, unpack
from inspector.vision.engines.protocols import Engine, Patches, on_host
from inspector.vision.heads import factory as models
from inspector.vision.heads.base import EmbeddingUse, Judgement
from inspector.vision.heads.stored import finite, floats
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Embedding, Graph
from inspector.vision.serving import lineup as lineup_module
from inspector.vision.serving.lineup import VisionLoader
from tests.unit.drawings import FakeEngine, draw, frame_of, good_images, version_of

EMBEDDING = Embedding((8,), 8)


@dataclass(frozen=True)
class MeanModel:
    """How far each patch is from the mean patch of good images."""

    mean: NDArray[np.float32]
    unit: float

    @property
    def kind(self) -> str:
        return "mean"

    @property
    def embeddings(self) -> tuple[EmbeddingUse, ...]:
        return (EmbeddingUse(0, self.mean.size),)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {"mean": self.mean}

    def to_manifest(self) -> dict[str, Any]:
        return {"unit": self.unit}

    def open(self, engine: Engine) -> MeanHead:
        return MeanHead(self)


@dataclass(frozen=True)
class MeanHead:
    model: MeanModel

    def judge(self, embedded: Sequence[Patches]) -> list[Judgement]:
        patches = on_host(embedded[0])
        side = round(patches.shape[1] ** 0.5)
        far = np.linalg.norm(patches - self.model.mean, axis=2).reshape(-1, side, side) / self.model.unit
        return [Judgement(float(grid.max()), grid.astype(np.float32)) for grid in far]


def read_mean_model(
    stored: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], _graph: Graph, _preparation: Preparation
) -> MeanModel:
    return MeanModel(floats(tensors["mean"]), finite(stored["unit"]))


@dataclass(frozen=True)
class MeanRecipe:
    preparation: Preparation = field(default_factory=lambda: Preparation(size_px=64))
    head: str = "toy"
    profile: str = "standard"
    embeddings: tuple[Embedding, ...] = (EMBEDDING,)
    is_exposure_chosen: bool = True

    def adapted(self, strides: Sequence[int], backbone: str, /) -> MeanRecipe:
        ensure_strides(self.head, self.embeddings, strides, backbone)
        return self

    def with_preparation(self, preparation: Preparation) -> MeanRecipe:
        return replace(self, preparation=preparation)

    @property
    def exposure_judge(self) -> HeadRecipe:
        return self

    def calibrating(self, count: int) -> list[int]:
        return np.flatnonzero(held_out(count)).tolist()

    def fit(self, inputs: FittingInputs, alpha: float) -> Fitted:
        held = self.calibrating(len(inputs.canvases))
        model = self._learnt(inputs, [i for i in range(len(inputs.canvases)) if i not in held])
        judged = [(i, model.open(inputs.engine).judge(self._embedded(inputs, i))[0]) for i in held]
        inputs.phase_ended("fit")
        return calibrated(model, judged, "every fifth image", alpha)

    def judge_trial(self, inputs: FittingInputs, parts: TrialParts) -> TrialScores:
        head = self._learnt(inputs, parts.learnt).open(inputs.engine)
        judged = [head.judge(self._embedded(inputs, i))[0] for i in [*parts.clean, *parts.planted]]
        scores = np.array([judgement.score for judgement in judged])
        return TrialScores(scores, scores[None], len(parts.clean))

    def to_manifest(self, _plan: TrainingPlan) -> dict[str, Any]:
        return {"learnt": "a mean"}

    def _learnt(self, inputs: FittingInputs, images: Sequence[int]) -> MeanModel:
        patches = np.concatenate([on_host(self._embedded(inputs, i)[0])[0] for i in images])
        return MeanModel(patches.mean(axis=0), float(patches.std()))

    @staticmethod
    def _embedded(inputs: FittingInputs, image: int) -> list[Patches]:
        return inputs.passes.embedder(np.asarray(inputs.canvases[image])[None])


@pytest.fixture
def toy() -> Iterator[None]:
    """Registered while a test runs."""
    entry = recipes.HeadEntry(lambda _profile, _clustering: MeanRecipe(), ("standard",))
    with models.registered("mean", read_mean_model), recipes.registered("toy", entry):
        yield


def test_toy_head_is_enrolled_loaded_and_gives_the_verdict_of_a_running_lineup(
    toy: None,
    enrolled: dict[str, Enrolment],
    fake_engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(lineup_module, "create_engine", lambda *_: fake_engine)
    monkeypatch.setattr(detectability, "PER_CELL", 2)
    options = EnrolmentOptions("toy", measures_detectability=True)
    done = enrol("disc", good_images("disc", 70), options, fake_engine)
    assert (done.manifest["head"], done.manifest["model"]["kind"]) == ("toy", "mean")
    assert done.manifest["learnt"] == "a mean"
    assert [choice["what"] for choice in done.manifest["evidence"]["choices"]] == ["exposure"]
    assert done.manifest["evidence"]["choices"][0]["evidence"].keys() == {"as_is", "levelled"}
    assert done.manifest["evidence"]["detectability"] is not None
    assert pack(unpack(done.artifact))[0] == done.artifact

    versions = {"disc": done, "plate": enrolled["plate"]}
    live = LiveSet("r1", tuple(version_of(each, name) for name, each in versions.items()))
    artifacts = {each.digest: each.artifact for each in versions.values()}
    lineup, events = VisionLoader(EngineSection(), tmp_path).load(live, artifacts.get, None)
    assert events == []
    lineup.check_canary()
    for product, has_defect in (("disc", False), ("disc", True), ("plate", False)):
        routed = lineup.router.route(frame_of(draw(product, 900, defect=has_defect), product))
        assert isinstance(routed, Routed)
        assert routed.facts.product == product
        (scored,) = lineup.scorer.score([routed])
        assert isinstance(scored, Scored)
        assert (scored.level > 1.0) == has_defect


def test_toy_head_is_gone_when_its_registration_ends(fake_engine: FakeEngine) -> None:
    entry = recipes.HeadEntry(lambda _profile, _clustering: MeanRecipe(), ("standard",))
    with models.registered("mean", read_mean_model), recipes.registered("toy", entry):
        content = enrol("disc", good_images("disc", 6), EnrolmentOptions("toy"), fake_engine).artifact
    assert read_manifest(content)["model"]["kind"] == "mean"
    with pytest.raises(ArtifactError, match="unknown kind, 'mean'"):
        unpack(content)
    with pytest.raises(UsageError, match="There is no head 'toy'; choose one of auto, prototype, protoad, student"):
        recipes.recipe_for("toy", "standard")


def test_registration_of_a_taken_name_is_refused() -> None:
    with pytest.raises(ValueError, match="prototype"):
        models.register("prototype", read_mean_model)
    for head in ("student", "auto"):
        with (
            pytest.raises(ValueError, match=head),
            recipes.registered(head, recipes.HeadEntry(lambda *_: MeanRecipe())),
        ):
            pass
