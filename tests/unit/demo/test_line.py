"""The demo's agent is composed as any other."""

from __future__ import annotations

from inspector.demo.line import Watched


def test_watched_telemetry_can_be_what_a_link_to_a_cluster_is_kept_by() -> None:
    one, other = Watched(), Watched()
    assert len({one, other}) == 2
