"""What a scrape shows: read back with the client library's own parser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inspector.agent.metrics.exposition import PIECE_SAMPLES, Exposition
from inspector.agent.metrics.families import FAMILIES, STANDARD
from inspector.agent.metrics.sources import View
from inspector.agent.telemetry import MOST_PRODUCTS, OTHER, LogTelemetry, configure_logging
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.domain import Cause, FrameFault, GateMode, HeldFor, Outcome, ProductVersion, Severity
from inspector.stream.gate_fault import Fault
from inspector.stream.pipeline.snapshot import CameraSnapshot, GateSnapshot, Snapshot
from inspector.testing.clock import START
from inspector.testing.samples import event_of, missed_verdict_of_part, verdict_of_part

CONFIG = parse(
    {
        "agent": {"name": "agent1"},
        "camera": [{"name": "cam1", "on_unjudged": "reject"}],
        "gate": [{"name": "g1", "cameras": ["cam1"], "window_ms": 100}],
    },
    None,
)
CAMERA = CameraSnapshot("cam1", True, "usual", None, False, 0.02)
GATE = GateSnapshot("g1", Fault.NONE, True, GateMode.AUTO, None, "none", 0.1)
SNAPSHOT = Snapshot(Fault.NONE, True, True, 1, (), (), (CAMERA,), (GATE,))
VIEW = View(SNAPSHOT, {"gates": True, "records": False}, 7, 3)


@pytest.fixture
def telemetry() -> LogTelemetry:
    configure_logging("critical")
    return LogTelemetry()


class Scraped:
    """One text, parsed."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.families = {each.name: each for each in text_string_to_metric_families(b"".join(pieces).decode())}
        self.samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, *sorted(labels.items())))

    def one_of(self, name: str, label: str) -> list[str]:
        """The values of this label whose series is 1."""
        return [dict(pairs)[label] for (own, *pairs), value in self.samples.items() if own == name and value == 1]


def scrape(telemetry: LogTelemetry, view: View | None = None, config: Config = CONFIG) -> Scraped:
    exposition = Exposition(config, "0.1.0", telemetry)
    if view is not None:
        exposition.show(view)
    return Scraped(exposition.pieces())


def view_with(**changes: Any) -> View:
    return replace(VIEW, snapshot=replace(SNAPSHOT, **changes))


def test_exposition_has_every_family_of_the_table_and_the_standard_ones(telemetry: LogTelemetry) -> None:
    found = set(scrape(telemetry, VIEW).families)
    assert found == {name.removesuffix("_total") for name in (*(family.name for family in FAMILIES), *STANDARD)}


def test_verdicts_are_counted_by_camera_outcome_and_cause_and_watched_ones_begin_with_0(
    telemetry: LogTelemetry,
) -> None:
    name = "inspector_verdicts_total"
    before = scrape(telemetry)
    assert before.value(name, camera="cam1", outcome="unjudged", cause="late") == 0
    for number in range(3):
        telemetry.verdict(verdict_of_part(number))
    telemetry.verdict(verdict_of_part(4, outcome=Outcome.UNJUDGED, cause=Cause.UNDECODABLE, total_ms=None))
    telemetry.verdict(missed_verdict_of_part(5))
    after = scrape(telemetry)
    assert after.value(name, camera="cam1", outcome="pass", cause="ok") == 3
    assert after.value(name, camera="cam1", outcome="unjudged", cause="undecodable") == 1
    assert after.value(name, camera="cam1", outcome="uninspected", cause="not_received") == 1


def test_latency_falls_into_the_buckets_of_5_to_500_ms(telemetry: LogTelemetry) -> None:
    for number, took_ms in enumerate((4.0, 5.0, 5.1, 499.0, 500.0, 700.0)):
        telemetry.verdict(verdict_of_part(number, total_ms=took_ms))
    bucket = {
        bound: scrape(telemetry).value("inspector_frame_latency_seconds_bucket", camera="cam1", le=bound)
        for bound in ("0.005", "0.01", "0.5", "+Inf")
    }
    assert bucket == {"0.005": 2, "0.01": 3, "0.5": 5, "+Inf": 6}
    assert scrape(telemetry).value("inspector_frame_latency_seconds_sum", camera="cam1") == pytest.approx(1.7131)
    assert scrape(telemetry).value("inspector_frame_latency_seconds_count", camera="cam1") == 6


def test_stages_of_a_frame_come_from_its_verdict_and_others_from_what_they_took(telemetry: LogTelemetry) -> None:
    telemetry.verdict(verdict_of_part(1, decode_ms=2.0, route_ms=3.0, embed_ms=8.0, score_ms=None))
    telemetry.observe_ms("publish", 1.5)
    found = scrape(telemetry)
    counts = {
        stage: found.value("inspector_stage_seconds_count", stage=stage) for stage in ("decode", "score", "publish")
    }
    assert counts == {"decode": 1, "score": None, "publish": 1}
    assert found.value("inspector_stage_seconds_sum", stage="embed") == pytest.approx(0.008)


def test_levels_leave_out_simulated_frames_and_reference_parts(telemetry: LogTelemetry) -> None:
    telemetry.verdict(verdict_of_part(1, level=0.95))
    telemetry.verdict(verdict_of_part(2, level=1.0))
    telemetry.verdict(verdict_of_part(3, level=7.0, simulated=True))
    telemetry.verdict(verdict_of_part(4, level=7.0, mode=GateMode.GOLDEN))
    telemetry.verdict(verdict_of_part(5, level=float("inf")))
    found = scrape(telemetry)
    assert found.value("inspector_level_ratio_count", product="bolt") == 2
    assert found.value("inspector_level_ratio_bucket", product="bolt", le="1.0") == 2
    assert found.value("inspector_simulated_verdicts_total", camera="cam1") == 1


def test_products_beyond_the_bound_share_one_series(telemetry: LogTelemetry) -> None:
    for number in range(MOST_PRODUCTS + 50):
        telemetry.verdict(verdict_of_part(number, product=f"p{number}"))
        telemetry.count("shadow_results", product=f"p{number}", outcome="pass")
    found = scrape(telemetry)
    own = [key for key in found.samples if key[0] == "inspector_level_ratio_count"]
    assert len(own) == MOST_PRODUCTS + 1
    assert found.value("inspector_level_ratio_count", product=OTHER) == 50
    assert found.value("inspector_shadow_results_total", product=OTHER, outcome="pass") == 50


def test_camera_and_gate_show_the_one_state_that_they_are_in(telemetry: LogTelemetry) -> None:
    camera = replace(CAMERA, rhythm="silent", frame_fault=FrameFault.FROZEN, is_connected=False, age_bound_s=None)
    gate = replace(
        GATE, fault=Fault.HELD, held_for=HeldFor.GOLDEN_FAILED.value, mode=GateMode.BYPASS, challenge="under_way"
    )
    found = scrape(telemetry, view_with(cameras=(camera,), gates=(gate,)))
    assert found.one_of("inspector_camera_rhythm", "state") == ["silent"]
    assert found.one_of("inspector_camera_frame_fault", "fault") == ["frozen"]
    assert found.value("inspector_camera_connected", camera="cam1") == 0
    assert found.value("inspector_camera_age_bound_seconds", camera="cam1") is None
    assert found.value("inspector_gate_ready", gate="g1") == 0
    assert found.one_of("inspector_gate_fault", "fault") == ["held"]
    assert found.one_of("inspector_gate_held", "reason") == ["golden_failed"]
    assert found.one_of("inspector_gate_mode", "mode") == ["bypass"]
    assert found.one_of("inspector_gate_challenge", "state") == ["under_way"]


def test_gate_is_ready_while_the_agent_takes_frames_only(telemetry: LogTelemetry) -> None:
    assert scrape(telemetry, VIEW).value("inspector_gate_ready", gate="g1") == 1
    assert scrape(telemetry, VIEW).one_of("inspector_gate_held", "reason") == []
    ending = scrape(telemetry, view_with(is_taking_frames=False))
    assert ending.value("inspector_gate_ready", gate="g1") == 0
    assert ending.value("inspector_agent_taking_frames") == 0


def test_agent_that_has_not_come_so_far_says_that_it_takes_no_frames(telemetry: LogTelemetry) -> None:
    found = scrape(telemetry)
    assert found.value("inspector_agent_taking_frames") == 0
    assert found.value("inspector_database_up") == 0
    assert found.value("inspector_dropped_total", what="pictures") == 0
    assert found.value("inspector_gate_ready", gate="g1") is None, "nothing is known of it"


def test_event_loop_that_stands_is_seen(telemetry: LogTelemetry) -> None:
    now_ns = [0]
    exposition = Exposition(CONFIG, "0.1.0", telemetry, lambda: now_ns[0])
    now_ns[0] = 40_000_000_000
    assert Scraped(exposition.pieces()).value("inspector_agent_silent_seconds") == 40
    exposition.beat()
    assert Scraped(exposition.pieces()).value("inspector_agent_silent_seconds") == 0


def test_drops_of_every_kind_are_one_family_and_begin_with_0(telemetry: LogTelemetry) -> None:
    telemetry.count("gate_actions_bad", gate="g1")
    telemetry.count("gate_actions_bad", gate="g2")
    telemetry.count("records_dropped", 5)
    found = scrape(telemetry, VIEW)
    assert found.value("inspector_dropped_total", what="acks_bad") == 2
    assert found.value("inspector_dropped_total", what="records") == 5
    assert found.value("inspector_dropped_total", what="pictures") == 3
    assert found.value("inspector_dropped_total", what="commands") == 0
    assert found.value("inspector_records_unsent") == 7
    assert found.value("inspector_link_up", link="records") == 0


def test_gauges_of_the_state_topic_have_their_units(telemetry: LogTelemetry) -> None:
    telemetry.gauge("gc_pause_ms", 12.5)
    telemetry.gauge("kafka_lag_frames", 7, partition="frames/0")
    telemetry.gauge("kafka_lag_frames", 9, camera="cam1")
    found = scrape(telemetry)
    assert found.value("inspector_gc_pause_seconds") == pytest.approx(0.0125)
    assert found.value("inspector_kafka_lag_frames", partition="frames/0") == 7
    assert found.value("inspector_camera_lag_frames", camera="cam1") == 9
    telemetry.gauge("kafka_lag_frames", None, partition="frames/0")
    assert scrape(telemetry).value("inspector_kafka_lag_frames", partition="frames/0") is None


def test_parts_at_odds_are_named_as_in_the_account(telemetry: LogTelemetry) -> None:
    telemetry.count("ack_without_frame", 3, gate="g1")
    found = scrape(telemetry)
    assert found.value("inspector_parts_at_odds_total", gate="g1", found="passed_without_frame") == 3
    assert found.value("inspector_parts_at_odds_total", gate="g1", found="passed_unjudged") == 0


def test_events_are_counted_by_kind_and_the_last_has_its_time(telemetry: LogTelemetry) -> None:
    event = event_of("camera_silent", severity=Severity.ALARM)
    telemetry.event(event)
    telemetry.event(event)
    found = scrape(telemetry)
    assert found.value("inspector_events_total", kind="camera_silent", severity="alarm") == 2
    last_s = found.value("inspector_event_last_timestamp_seconds", kind="camera_silent")
    assert last_s == event.at.timestamp()


def test_live_versions_and_shadows_are_named(telemetry: LogTelemetry) -> None:
    live = ProductVersion("bolt", 1, "prototype", "fast", "d", 1, START, "ada", {}, 3.0, is_live=True)
    shadow = replace(live, version=2, is_live=False, is_shadow=True)
    found = scrape(telemetry, view_with(live=(live,), shadows=(shadow,)))
    assert found.value("inspector_product_live", product="bolt", version="1") == 1
    assert found.value("inspector_product_shadow", product="bolt", version="2") == 1
    assert found.value("inspector_products_live") == 1


def test_drift_is_shown_while_it_is_there(telemetry: LogTelemetry) -> None:
    name, labels = "inspector_product_drift", {"product": "bolt", "camera": "cam1", "direction": "up"}
    assert scrape(telemetry, replace(VIEW, drifts=(("bolt", "cam1", "up"),))).value(name, **labels) == 1
    assert scrape(telemetry, VIEW).value(name, **labels) is None


def test_text_of_many_cameras_comes_in_small_pieces_that_make_one_text(telemetry: LogTelemetry) -> None:
    cameras = [{"name": f"cam{number}", "on_unjudged": "reject"} for number in range(300)]
    for number in range(300):
        telemetry.verdict(verdict_of_part(number, camera=f"cam{number}"))
    exposition = Exposition(parse({"camera": cameras}, None), "0.1.0", telemetry)
    pieces = list(exposition.pieces())
    assert max(sum(not line.startswith(b"#") for line in piece.splitlines()) for piece in pieces) < 2 * PIECE_SAMPLES
    found = Scraped(pieces)
    assert found.value("inspector_frame_latency_seconds_count", camera="cam299") == 1
    text = b"".join(pieces)
    assert text.count(b"# HELP inspector_frame_latency_seconds ") == 1


def test_names_with_quotes_and_line_ends_do_not_break_the_text(telemetry: LogTelemetry) -> None:
    telemetry.gauge("kafka_lag_frames", 1, partition='a"b\\c\nd/0')
    assert scrape(telemetry).value("inspector_kafka_lag_frames", partition='a"b\\c\nd/0') == 1
