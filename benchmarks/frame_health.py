"""Which faults of a frame each product's enrolment claims to name, and how many are named; false alarms; cost.

    python -m benchmarks.frame_health ROOT [--products bottle,pill] [--profile fast] [--cache FOLDER]

Every product under ROOT is enrolled from its training images. Each fault is made from each good test image at the
camera's resolution, and the agent's own router looks at the frame: with the product alone live, with all products live
and this one announced, and with all live and none announced. The test images themselves are routed too, good and
defective: a good one with a fault is a false alarm. Takes some minutes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.config.sections import EngineSection
from inspector.domain import (
    Admitted,
    Delivery,
    Failure,
    Frame,
    FrameFault,
    FrameKey,
    LiveSet,
    PlainImage,
    Position,
    ProductVersion,
    TimeSource,
)
from inspector.evaluation.layouts import LabelledProduct, read_layout
from inspector.ports import Router
from inspector.stream.decode import DecodeLimits, decode, keep_opencv_on_the_callers_thread
from inspector.training.dataset.folders import ImageSource
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.training.health.faults import make_faulty
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.factory import create_engine
from inspector.vision.health.checks import CHECKED, HealthChecks
from inspector.vision.routing.profile import routing_copy
from inspector.vision.serving.lineup import VisionLoader

Count = dict[FrameFault, int]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
COST_ROUNDS = 300


@dataclass(frozen=True, slots=True)
class Row:
    """One product. `alone`, `announced`, `unannounced`: by fault, faulty frames named rightly of `n_good`."""

    name: str
    health: HealthChecks
    n_good: int
    n_defective: int
    alone: Count
    announced: Count
    unannounced: Count
    false_alarms: tuple[str, ...]
    defective_named: tuple[str, ...]
    cost_us: float


def main() -> None:
    """Print a row per product as it is measured, and the sums."""
    options = _options()
    keep_opencv_on_the_callers_thread()
    labelled = read_layout(options.root, options.products)
    with tempfile.TemporaryDirectory() as folder:
        cache = options.cache or Path(folder)
        made = {each.name: _enrolled(each, cache, options.profile) for each in labelled}
        together = _router(made, cache)
        print("\n| product | images | " + " | ".join(f"{fault}" for fault in CHECKED) + " | false alarms | us |")
        print("|---|---|" + "---|" * len(CHECKED) + "---|---|")
        rows = []
        for each in labelled:
            rows.append(_measured(each, made, together, cache))
            print(_line(rows[-1]), flush=True)
    print(_sums(rows))


def _enrolled(labelled: LabelledProduct, cache: Path, profile: str) -> Enrolment:
    sources = [ImageSource(path.name, path=path) for path in labelled.train]
    engine = create_engine("onnxruntime", cache, threads=1)
    done = enrol(labelled.name, sources, EnrolmentOptions(profile=profile, exposure="as_is"), engine)
    print(f"{labelled.name} is enrolled", flush=True)
    return done


def _router(made: dict[str, Enrolment], cache: Path) -> Router:
    """The agent's router with these versions live."""
    versions = tuple(_version(name, enrolment) for name, enrolment in made.items())
    artifacts = {enrolment.digest: enrolment.artifact for enrolment in made.values()}
    section = EngineSection(name="onnxruntime", threads=1, batch_max=1)
    lineup, events = VisionLoader(section, cache).load(LiveSet("r1", versions), artifacts.get, None)
    if events:
        raise SystemExit("; ".join(event.detail for event in events))
    return lineup.router


def _version(name: str, enrolment: Enrolment) -> ProductVersion:
    manifest = enrolment.manifest
    return ProductVersion(
        product=name,
        version=1,
        head=manifest["head"],
        profile=manifest["profile"],
        digest=enrolment.digest,
        size_bytes=len(enrolment.artifact),
        created_at=NOW,
        created_by="benchmark",
        manifest=manifest,
        threshold=manifest["threshold"],
        is_live=True,
    )


def _measured(labelled: LabelledProduct, made: dict[str, Enrolment], together: Router, cache: Path) -> Row:
    name = labelled.name
    health = unpack(made[name].artifact).health
    if health is None:
        raise SystemExit(f"{name} has no health checks")
    alone = _router({name: made[name]}, cache)
    good = [_pixels(image.path) for image in labelled.test if image.defect is None]
    defective = [image.path for image in labelled.test if image.defect is not None]
    counts: tuple[Count, Count, Count] = (_count(), _count(), _count())
    for fault, faulty in _faulty(good):
        for count, router, expected in zip(counts, (alone, together, together), (name, name, None), strict=True):
            count[fault] += _fault_of(router, faulty, expected) is fault
    return Row(
        name,
        health,
        len(good),
        len(defective),
        *counts,
        _named(together, name, good),
        _named(together, name, (_pixels(path) for path in defective)),
        _cost_us(health, good[0]),
    )


def _count() -> Count:
    return dict.fromkeys(CHECKED, 0)


def _faulty(frames: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[FrameFault, NDArray[np.uint8]]]:
    rng = np.random.default_rng(2026)
    for frame in frames:
        for fault in CHECKED:
            yield fault, make_faulty(fault, frame, rng)


def _named(
    router: Router, name: str, frames: Sequence[NDArray[np.uint8]] | Iterator[NDArray[np.uint8]]
) -> tuple[str, ...]:
    faults = (_fault_of(router, frame, name) for frame in frames)
    return tuple(fault.value for fault in faults if fault is not None)


def _fault_of(router: Router, pixels: NDArray[np.uint8], expected: str | None) -> FrameFault | None:
    found = router.route(Frame(_admitted(), PlainImage(pixels), expected))
    return found.frame_fault if isinstance(found, Failure) else None


def _admitted() -> Admitted:
    delivery = Delivery(Position("benchmark", 1, 1), "benchmark", b"", {}, NOW, 0)
    key = FrameKey("benchmark", "", 1, "1", None, None, "0" * 64)
    return Admitted(delivery, key, captured_at=NOW, time_source=TimeSource.RECEIVED)


def _cost_us(health: HealthChecks, frame: NDArray[np.uint8]) -> float:
    """Microseconds of one thread for all checks of a sound frame, median."""
    copy = routing_copy(frame)
    taken = []
    for _ in range(COST_ROUNDS):
        began = time.perf_counter()
        health.find(copy)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6


def _line(row: Row) -> str:
    cells = [_cell(row, fault) for fault in CHECKED]
    alarms = f"{len(row.false_alarms)} of {row.n_good}"
    if row.defective_named:
        alarms += (
            f"; defective {len(row.defective_named)} of {row.n_defective} ({', '.join(sorted({*row.defective_named}))})"
        )
    return f"| {row.name} | {row.health.n} | {' | '.join(cells)} | {alarms} | {row.cost_us:.0f} |"


def _cell(row: Row, fault: FrameFault) -> str:
    if fault not in row.health.checks:
        return "-"
    return f"{row.alone[fault]}, {row.announced[fault]}, {row.unannounced[fault]} of {row.n_good}"


def _sums(rows: Sequence[Row]) -> str:
    good, defective = sum(row.n_good for row in rows), sum(row.n_defective for row in rows)
    claims = [(row, fault) for row in rows for fault in row.health.checks]
    short = [f"{fault} of {row.name}" for row, fault in claims if row.alone[fault] < 0.95 * row.n_good]
    return (
        f"\n{len(claims)} checks claimed; named in fewer than 95 % of frames with the product alone: "
        f"{', '.join(short) or 'none'}. False alarms: {sum(len(row.false_alarms) for row in rows)} of {good} good test "
        f"images, {sum(len(row.defective_named) for row in rows)} of {defective} defective ones."
    )


def _pixels(path: Path) -> NDArray[np.uint8]:
    return decode(path.read_bytes(), DecodeLimits())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="Folder of products in a known layout.")
    parser.add_argument("--products", type=lambda text: tuple(text.split(",")), help="Only these, separated by commas.")
    parser.add_argument("--profile", default="fast", help="Profile of the heads, which play no part here.")
    parser.add_argument("--cache", type=Path, help="Folder of exported engines; a temporary one unless named.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
