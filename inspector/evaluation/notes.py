"""Notes for people who read the figures: images left out, odd masks, training images among the test images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspector.domain import printable
from inspector.evaluation.contenders import Result
from inspector.evaluation.layouts import LabelledProduct
from inspector.evaluation.masks import MaskFindings
from inspector.evaluation.prints import TrainingPrints

Unreadable = Sequence[tuple[Path, str]]
"""Images that can't be read, with the reason."""

MOST_NAMED = 5
MOST_NAMED_FOR_MACHINES = 1000


@dataclass(frozen=True, slots=True)
class Note:
    """A note for people. `text` says what is to be known about the images in `names`."""

    product: str
    text: str
    names: tuple[str, ...] = ()

    def sentence(self, most: int = MOST_NAMED) -> str:
        """The note as a sentence with a limited number of names."""
        rest = f" and {len(self.names) - most} more" if len(self.names) > most else ""
        named = f": {', '.join(self.names[:most])}{rest}" if self.names else ""
        return f"{self.product}: {self.text}{named}"


@dataclass(frozen=True, slots=True)
class Noted:
    """What is known of one product when all its images are judged. `root`: names are given below it."""

    root: Path
    labelled: LabelledProduct
    results: Sequence[Result]
    unreadable: Unreadable
    masks: MaskFindings

    def notes(self, trained: TrainingPrints) -> list[Note]:
        """All notes, the most important first."""
        return [*self._of_twins(trained), *self._of_reading(trained), *self._of_masks()]

    def name(self, path: Path) -> str:
        """A path below the root, printable."""
        return printable(str(path.relative_to(self.root) if path.is_relative_to(self.root) else path))

    def _note(self, text: str, names: Sequence[str]) -> Note:
        return Note(self.labelled.name, text, tuple(names))

    def _of_twins(self, trained: TrainingPrints) -> Iterator[Note]:
        twins = [(result.image.path, trained.twin_of(result.prints)) for result in self.results]
        leaked = [f"{self.name(path)} (is {self.name(twin)})" for path, twin in twins if twin is not None]
        if leaked:
            yield self._note(
                f"{len(leaked)} of {len(self.results)} test images are training images too, so that the figures "
                "flatter; take them out of one side",
                leaked,
            )
        same: dict[str, list[Result]] = {}
        for result in self.results:
            same.setdefault(result.prints[1], []).append(result)
        again = [group for group in same.values() if len(group) > 1]
        both = [group for group in again if len({result.image.defect is None for result in group}) > 1]
        if both:
            text = f"{len(both)} test images are labelled good and defective at once; one of the labels is wrong"
            yield self._note(text, self._joined(both))
        alike = [group for group in again if group not in both]
        if alike:
            text = f"{sum(len(group) - 1 for group in alike)} test images come more than once and count each time"
            yield self._note(text, self._joined(alike))

    def _named(self, images: Unreadable) -> list[str]:
        return [f"{self.name(path)} ({why})" for path, why in images]

    def _joined(self, groups: Sequence[Sequence[Result]]) -> list[str]:
        return [" = ".join(self.name(result.image.path) for result in group) for group in groups]

    def _of_reading(self, trained: TrainingPrints) -> Iterator[Note]:
        if self.unreadable:
            yield self._note(
                f"{len(self.unreadable)} test images can't be read and are left out", self._named(self.unreadable)
            )
        own = set(self.labelled.train)
        lost = [(path, why) for path, why in trained.unreadable if path in own]
        if lost:
            yield self._note(f"{len(lost)} training images can't be read and are left out", self._named(lost))
        others = [f"{self.name(Path(thing.name))} ({thing.reason})" for thing in self.labelled.not_taken]
        if others:
            yield self._note(f"{len(others)} things among the images are not taken", others)

    def _of_masks(self) -> Iterator[Note]:
        found, emptied = self.masks, "pixel AUROC and AUPRO need all of them and are empty"
        if found.missing and found.has_any:
            text = f"{len(found.missing)} of {found.n_defective} defective images have no mask; {emptied}"
            yield self._note(text, [self.name(path) for path in found.missing])
        if found.unfit:
            yield self._note(f"{len(found.unfit)} masks do not fit their images; {emptied}", self._named(found.unfit))
        for masks, text in (
            (
                found.gray,
                "are not only black and white, as a JPEG's are; what is darker than half of white counts as normal",
            ),
            (found.large, "mark more than half of their image; if they are inverted, the pixel figures are too"),
            (found.empty, "of defective images mark nothing; their pixels count as normal"),
            (found.resized, "have another size than their image and were scaled to it"),
        ):
            if masks:
                yield self._note(f"{len(masks)} masks {text}", [self.name(path) for path in masks])
