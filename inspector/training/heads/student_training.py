"""Trains a student on cached maps of the frozen teacher; the only torch code of the student head.

[A] Consistency of features at a low and a high level at once (FCL), seen through SNC. [R] Network, loss
and schedule are ours: three equal terms a level, hard-mined, Adam. Memory is bounded: teacher's maps are
kept as float16 within `CACHE_BYTES`, about 0.33 MB an image of the default backbone at 256 px (2,000
images: 0.65 GiB); of more images an even sample is kept. Interrupted training goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from inspector.files import is_regular, make_folder, remove, write_whole
from inspector.training.heads.student_plan import TrainingPlan
from inspector.training.heads.teacher_maps import TeacherMaps
from inspector.vision.networks.snc import differences
from inspector.vision.networks.student_graph import LEVELS, MAPS, StudentWeights
from inspector.vision.networks.student_network import StudentNetwork, as_map

MINED_QUANTILE = 0.99
MINING_RAMP = 0.2
DECAY_SHARE = 0.05
DECAY = 0.1
CHECKED_IMAGES = 32
"""Largest number of held-out images that judge the training: more would cost more than the steps between two checks."""
SMALLEST_GAIN = 0.002

StepProgress = Callable[[int, int], None]


def hard_mined(term: torch.Tensor, blend: float) -> torch.Tensor:
    """A weighted mean: the elements above the 0.99 quantile have the weight `blend`, all elements the rest."""
    flat = term.reshape(-1)
    count = max(1, round((1.0 - MINED_QUANTILE) * flat.numel()))
    return blend * flat.topk(count, sorted=False).values.mean() + (1.0 - blend) * flat.mean()


def level_loss(teacher: torch.Tensor, student: torch.Tensor, blend: float, *, is_coded: bool) -> torch.Tensor:
    """One level's loss: its terms mined one by one, then their mean."""
    terms = differences(teacher, student, is_coded=is_coded)
    return torch.stack([hard_mined(term, blend) for term in terms]).mean()


@dataclass(frozen=True, slots=True)
class Variant:
    """The terms of the loss: those of the whole method, or only some of them for the ablation."""

    levels: tuple[str, ...] = LEVELS
    is_coded: bool = True


@dataclass(slots=True)
class _State:
    """How far training is. `decay_at`: the step from which the learning rate is a tenth; `end` follows it."""

    step: int
    decay_at: int
    end: int
    best: float = float("inf")
    since_best: int = 0


class StudentTrainer:
    """One training, from its first step or from its checkpoint to its end.

    `maps`: of the teacher; `training` and `checking`: disjoint indices of its images. Raises ValueError
    where one of them is empty.
    """

    def __init__(
        self,
        maps: TeacherMaps,
        training: Sequence[int],
        checking: Sequence[int],
        plan: TrainingPlan,
        variant: Variant | None = None,
        device: str = "cpu",
    ) -> None:
        if not training or not checking:
            raise ValueError("a student needs images to learn from and others to be checked on")
        self._maps, self._plan, self._variant = maps, plan, variant or Variant()
        self._training, self._checking = list(training), list(checking)[:CHECKED_IMAGES]
        self._device = torch.device(device)
        self._scales = maps.standardisation(self._training)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.seed)
            network = StudentNetwork(*maps.channels)
        self._network: torch.nn.Module = network.to(self._device)
        if self._device.type == "cuda":
            self._network = self._network.to(memory_format=torch.channels_last)
        self._optimiser = torch.optim.Adam(
            self._network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        tail = max(1, round(DECAY_SHARE * plan.steps))
        self._tail = tail
        self._state = _State(0, max(0, plan.steps - tail), plan.steps)
        self._best = self._copy()

    def run(self, progress: StepProgress | None = None) -> StudentWeights:
        """Train to the end and give the weights that did best on the images kept apart for checking.

        The checkpoint, where one is wanted, is written at every check and removed at the end.
        """
        self._restore()
        with _one_thread():
            while self._state.step < self._state.end:
                self._step()
                self._state.step += 1
                if self._state.step % self._plan.check_every == 0 or self._state.step == self._state.end:
                    self._check()
                    self._save()
                if progress is not None:
                    progress(self._state.step, self._state.end)
        if self._checkpoint is not None:
            remove(self._checkpoint)
        return self._weights()

    def _step(self) -> None:
        plan, state = self._plan, self._state
        # Drawn from the step's number: training that was interrupted sees what it would have seen.
        drawn = np.random.default_rng((plan.seed, state.step))
        count = min(plan.batch, len(self._training))
        rows = [self._training[i] for i in drawn.choice(len(self._training), count, replace=False)]
        rate = plan.learning_rate * (DECAY if state.step >= state.decay_at else 1.0)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._loss(rows, min(1.0, state.step / max(1.0, MINING_RAMP * plan.steps)))
        loss.backward()  # type: ignore[no-untyped-call]  # torch left it untyped
        self._optimiser.step()

    def _loss(self, rows: Sequence[int], blend: float) -> torch.Tensor:
        batch = {name: self._batch(name, rows) for name in MAPS}
        with self._autocast():
            answers = dict(zip(LEVELS, self._network(batch["stem"]), strict=True))
        losses = [
            level_loss(batch[level], answers[level], blend, is_coded=self._variant.is_coded)
            for level in self._variant.levels
        ]
        return torch.stack(losses).sum()

    def _batch(self, name: str, rows: Sequence[int]) -> torch.Tensor:
        """Standardised maps [B, C, g, g] of these images, on the device."""
        found = torch.from_numpy(np.stack([self._maps.of(name, row) for row in rows]))
        if self._device.type == "cuda":
            found = found.pin_memory().to(self._device, non_blocking=True)
        mean, scale = (torch.from_numpy(each).to(self._device) for each in self._scales[name])
        batch = as_map((found.float() - mean) * scale)
        memory = torch.channels_last if self._device.type == "cuda" else torch.contiguous_format
        return batch.contiguous(memory_format=memory)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bfloat16 for the convolutions on a GPU; the code and the loss are always float32."""
        if self._device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _check(self) -> None:
        """Loss on held-out good images; after `patience` checks without gain the last, slow steps begin."""
        state = self._state
        with torch.inference_mode():
            losses = [float(self._loss(rows, 1.0)) * len(rows) for rows in _chunks(self._checking, self._plan.batch)]
        loss = sum(losses) / len(self._checking)
        has_gained = loss < state.best * (1.0 - SMALLEST_GAIN)
        if loss < state.best:
            state.best, self._best = loss, self._copy()
        state.since_best = 0 if has_gained else state.since_best + 1
        is_ramping = state.step < 2 * MINING_RAMP * self._plan.steps
        if state.since_best >= self._plan.patience and state.step < state.decay_at and not is_ramping:
            state.decay_at, state.end = state.step, state.step + self._tail

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self._network.state_dict().items()}

    def _weights(self) -> StudentWeights:
        tensors = {name: np.ascontiguousarray(value.numpy(), np.float32) for name, value in self._best.items()}
        for name, (mean, scale) in self._scales.items():
            tensors[f"{name}.mean"], tensors[f"{name}.scale"] = mean, scale
        return StudentWeights(tensors, self._variant.is_coded)

    # Checkpoints -------------------------------------------------------------------------------------

    @property
    def _checkpoint(self) -> Path | None:
        return None if self._plan.folder is None else self._plan.folder / f"student-{self._identity()}.safetensors"

    def _identity(self) -> str:
        """16 hex digits over everything that determines the training."""
        plan = self._plan
        numbers = (plan.steps, plan.batch, plan.learning_rate, plan.weight_decay, plan.seed, plan.check_every)
        what = (*numbers, plan.patience, self._training, self._checking, self._variant.levels, self._variant.is_coded)
        return hashlib.sha256(repr((what, self._maps.digest)).encode()).hexdigest()[:16]

    def _save(self) -> None:
        """Write the checkpoint whole or not at all."""
        target = self._checkpoint
        if target is None:
            return
        tensors = {f"network.{name}": value for name, value in self._copy().items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        for number, moments in self._optimiser.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"adam.{number}.{name}"] = value.detach().cpu().reshape(value.shape)
        state = self._state
        note = {"state": [state.step, state.decay_at, state.end, state.best, state.since_best]}
        content = save({name: value.contiguous() for name, value in tensors.items()}, {"note": json.dumps(note)})
        make_folder(target.parent, is_shared=True)
        write_whole(target, content)

    def _restore(self) -> None:
        """Go on from the checkpoint. A damaged checkpoint is ignored."""
        source = self._checkpoint
        if source is None or not is_regular(source):
            return
        try:
            with safe_open(source, framework="pt") as file:
                note = json.loads(file.metadata()["note"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping
        except SafetensorError:
            return
        step, decay_at, end, best, since_best = note["state"]
        self._state = _State(int(step), int(decay_at), int(end), float(best), int(since_best))
        self._network.load_state_dict(_under("network", tensors))
        self._best = _under("best", tensors)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _under("adam", tensors).items():
            number, part = name.split(".")
            moments.setdefault(int(number), {})[part] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": moments})


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Train on one thread, so that sums are the same on every machine. On busy cores a second thread only spins.

    A step takes 0.14 s of one core, against 0.44 s of two cores that other processes use too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def _chunks(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def usable_device() -> str:
    """`cuda` where torch can use a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"
