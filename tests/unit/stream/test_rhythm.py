"""Cameras that are silent, or faster or slower than usual; a line that stops or a burst of frames is no fault."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from inspector.config.loading import parse
from inspector.domain import Delivery, GateMode, Position
from inspector.stream.admission import Admission, Arrival
from inspector.stream.pipeline.camera_watch import CameraWatch
from inspector.stream.rhythm import SECOND_NS, Change, Rhythm, Sign
from inspector.testing.edges import FakeTelemetry
from inspector.testing.samples import gate_action_of
from tests.unit.stream.conftest import START, admit
from tests.unit.stream.test_pipeline import GOOD, Plant, settings, until


class Camera:
    """Frames of one camera, in seconds."""

    def __init__(self, rate_hz: float | None = None, silent_s: float | None = None) -> None:
        self.rhythm = Rhythm(rate_hz, silent_s, 0)
        self.now_s = 0.0
        self.changes: list[Change] = []

    def show(self, count: int, period_s: float, *, is_live: bool = True) -> None:
        for _ in range(count):
            self.wait(period_s)
            self.changes += self.rhythm.note_frame(int(self.now_s * SECOND_NS), is_live=is_live)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        if (change := self.rhythm.look(int(self.now_s * SECOND_NS))) is not None:
            self.changes.append(change)

    @property
    def signs(self) -> list[Sign]:
        return [change.sign for change in self.changes]


@pytest.mark.parametrize("factor", [0.2, 5])
def test_rhythm_rate_far_from_the_learned_one_is_told_once_and_its_end_too(factor: float) -> None:
    camera = Camera()
    camera.show(200, 0.1)
    camera.show(700, 0.1 * factor)
    assert camera.signs == [Sign.RATE_OFF]
    assert camera.rhythm.state == "rate_off"
    camera.show(50, 0.1)
    assert camera.signs == [Sign.RATE_OFF, Sign.RATE_BACK]
    assert camera.rhythm.state == "usual"
    assert "usual are 10" in camera.changes[0].detail


def test_rhythm_rate_is_compared_with_the_configured_one() -> None:
    camera = Camera(rate_hz=10)
    camera.show(200, 0.25)
    assert camera.signs == [Sign.RATE_OFF]
    assert camera.changes[0].detail.startswith("4 frames come in a second; rate_hz is 10: look at")


def test_rhythm_new_rate_is_the_usual_one_after_a_while_if_none_is_configured() -> None:
    camera = Camera()
    camera.show(200, 0.1)
    camera.show(2000, 0.5)
    assert camera.signs == [Sign.RATE_OFF, Sign.RATE_BACK]
    assert "usual rate now" in camera.changes[1].detail
    configured = Camera(rate_hz=10)
    configured.show(2000, 0.5)
    assert configured.signs == [Sign.RATE_OFF]


@pytest.mark.parametrize("is_live", [True, False])
def test_rhythm_pauses_bursts_and_small_changes_are_no_fault(is_live: bool) -> None:
    camera = Camera()
    camera.show(200, 0.1)
    camera.wait(600)
    camera.show(60, 0.001, is_live=is_live)  # what waited, all at once
    camera.show(200, 0.18)
    camera.show(200, 0.06)
    assert camera.changes == []


def test_rhythm_parts_that_pass_the_gate_without_frames_make_the_camera_silent() -> None:
    camera = Camera()
    camera.show(10, 0.1)
    for _ in range(20):
        camera.wait(0.4)
        camera.rhythm.note_part()
    assert camera.signs == [Sign.SILENT]
    assert "while parts came to its gate" in camera.changes[0].detail
    camera.show(1, 0.1)
    assert camera.signs == [Sign.SILENT, Sign.SILENT_ENDED]
    assert camera.rhythm.state == "usual"


def test_rhythm_camera_of_a_line_that_stopped_is_not_silent() -> None:
    camera = Camera()
    camera.show(10, 0.1)
    for _ in range(3):
        camera.rhythm.note_part()
    for _ in range(100):
        camera.wait(60)
    assert camera.changes == []


def test_rhythm_configured_silence_is_told_unless_the_line_is_that_slow() -> None:
    quick, slow, never = Camera(silent_s=30), Camera(rate_hz=1 / 60, silent_s=30), Camera(silent_s=30)
    quick.show(200, 0.1)
    slow.show(200, 60)
    for camera in (quick, slow, never):
        for _ in range(5):
            camera.wait(20)
    assert [camera.signs for camera in (quick, slow, never)] == [[Sign.SILENT], [], [Sign.SILENT]]


async def test_run_reports_of_parts_that_the_camera_has_not_shown_make_it_silent() -> None:
    plant = Plant(settings(window_ms=20_000))
    async with plant.running() as pipeline:
        for trigger in range(1, 8):
            plant.push(GOOD + b"#%d" % trigger, trigger)
        await plant.has_rows(7)
        shared, rhythm = pipeline._shared, pipeline._shared.rhythms["cam"]
        counter = shared.admission.counter("gate")

        def change_after(triggers: Iterable[int]) -> Change | None:
            for trigger in triggers:
                pipeline._camera_watch.note_report(gate_action_of(trigger, gate="gate"))
            return rhythm.look(shared.clock.monotonic_ns() + 60 * SECOND_NS)

        assert change_after(range(1, 8)) is None, "the reports come after the frames of their parts"
        counter.update(replace(counter.state, mode=GateMode.CLEAN))
        assert change_after(range(8, 20)) is None, "the line is not inspected"
        counter.update(replace(counter.state, mode=GateMode.AUTO))
        assert change_after(range(20, 25)) is not None
        plant.push(GOOD + b"#26", 26)
        await until(lambda: "camera_silent_ended" in plant.telemetry.kinds())
        await until(lambda: plant.sink.states["cam/health"].get("rhythm") == "usual")
    assert plant.sink.states["cam/health"]["clock"] == "ok"


async def test_run_camera_beside_another_one_that_shows_the_parts_is_silent() -> None:
    """The frames of the other camera of the gate are parts too; simulated ones are none."""
    config = parse(
        {
            "camera": [{"name": name, "on_unjudged": "reject"} for name in ("left", "right")],
            "gate": [{"name": "pair", "cameras": ["left", "right"], "window_ms": 1000}],
        },
        None,
    )
    telemetry, admission = FakeTelemetry(), Admission(config)
    admission.assign({}, {})
    shared = Plant(config).pipeline()._shared
    shared.admission, shared.telemetry = admission, telemetry
    watch = CameraWatch(shared)
    for simulated, signs in ((True, []), (False, [Sign.SILENT])):
        for trigger in range(1, 8):
            headers = {"trigger-id": str(trigger), "simulated": str(simulated).lower()}
            now_ns = shared.clock.monotonic_ns()
            frame = Delivery(Position("s", 1, trigger), "left", b"x", headers, START, now_ns, not_before_ns=now_ns)
            arrival = admit(admission, frame)
            assert isinstance(arrival, Arrival)
            watch.note_frame(arrival.admitted)
        change = shared.rhythms["right"].look(shared.clock.monotonic_ns() + 60 * SECOND_NS)
        assert ([change.sign] if change else []) == signs
