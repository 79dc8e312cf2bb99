"""Writes docs/metrics.md from the families in `inspector.agent.metrics` and the alerts in deploy/prometheus.

A test fails until it has been run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from inspector.agent.metrics.agent_families import LINKS
from inspector.agent.metrics.families import PARTS, STANDARD
from inspector.agent.metrics.family import Family
from inspector.agent.metrics.readers import DROPS, PICTURES
from inspector.agent.telemetry import LATENCY_BOUNDS_S, LEVEL_BOUNDS, MOST_PRODUCTS, STAGE_BOUNDS_S

TARGET: Final = Path(__file__).with_name("metrics.md")
RULES: Final = Path(__file__).parents[1] / "deploy" / "prometheus" / "inspector.rules.yml"

BOUNDS: Final = {
    "inspector_frame_latency_seconds": LATENCY_BOUNDS_S,
    "inspector_stage_seconds": STAGE_BOUNDS_S,
    "inspector_level_ratio": LEVEL_BOUNDS,
}

HEAD: Final = f"""\
# Metrics, alerts and a dashboard

Written from the code by `python docs/write_metrics.py`; don't edit it by hand.

The agent shows its figures in the format of Prometheus, if you let it:

```toml
[metrics]
listen = "127.0.0.1:9464"
```

`curl http://127.0.0.1:9464/metrics` then shows them. It listens nowhere unless `metrics.listen` is set. An address in
use ends the start with a sentence that says so, and `inspector doctor` tells beforehand.

* **Nothing can be changed there**, and there is neither a password nor encryption. Whoever reaches the address reads
  the names of products, cameras and gates, and how the line runs. An address that other machines reach is refused
  unless `metrics.open_to_network = true`; `inspector doctor` then warns. Leave it on the loopback and let a reverse
  proxy with TLS and a password, or a Prometheus on the same machine, stand before it.
* **It can't hold up the line.** A thread with an event loop of its own answers, with bounds for connections, request,
  time and text: the text is made at most once a second, in small pieces between which the agent goes on.
  `python -m benchmarks.metrics_cost` measures what it costs a frame: at 20 frames a second and a scrape each 5 s 0.997
  of the processor time without metrics (median of eight pairs of windows, 0.944 to 1.103; two cores, 2026-11-29,
  cfa1728).
* **The number of series is bounded.** Labels are names from the configuration and the registry, and fixed words; no id
  of a frame, part or lot is ever one. The first {MOST_PRODUCTS} products have series of their own; further ones share
  the name `other`.
* Counters begin with 0 at each start of the agent; gauges about cameras, gates and products are at most 2 s old, and
  those of queues, journal and process at most 5 s.

## Prometheus and Grafana

[deploy/prometheus/prometheus.yml](../deploy/prometheus/prometheus.yml) is a whole configuration for a Prometheus on the
agent's machine, with the alerts of
[deploy/prometheus/inspector.rules.yml](../deploy/prometheus/inspector.rules.yml). The alerts about the process expect
the job's name `inspector`. An alert reaches people by an Alertmanager, which is not part of this project.

[deploy/grafana/inspector.json](../deploy/grafana/inspector.json) is a dashboard: in Grafana choose Dashboards, New,
Import, and pick the Prometheus. Its variables choose agents and products.

An OpenTelemetry collector reads the same address with its Prometheus receiver; there is no second instrumentation.
"""

ALERTS: Final = """\
## Alerts

`page`: a person is needed now. `warning`: today. `info`: to know. Thresholds in the rules are values to start with.

| alert | severity | what to do |
|---|---|---|
"""


def text() -> str:
    """The whole document."""
    parts = [HEAD, "## Figures\n"]
    for part in PARTS:
        rows = "".join(f"{row}\n" for row in map(_row, part.families))
        parts.append(f"### {part.title}\n\n| figure | kind | labels | meaning |\n|---|---|---|---|\n{rows}")
    standard = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in STANDARD.items())
    parts += [
        "These have the names that all programs use; they are there where the machine has a `/proc`:\n",
        f"| figure | meaning |\n|---|---|\n{standard}",
        "## Words in labels\n",
        "`what` of `inspector_dropped_total`:\n",
        "".join(_words({**{what: words for what, (_, words) in DROPS.items()}, PICTURES: _SKIPPED})),
        "`link` of `inspector_link_up`:\n",
        "".join(_words(LINKS)),
        "`cause` and `outcome` are those of [results.md](results.md), `fault` of a gate those of\n"
        "[gate.md](gate.md#heartbeat).\n",
        ALERTS + "".join(_alert(rule) for rule in _rules()),
    ]
    return "\n".join(parts)


_SKIPPED: Final = "pictures that the rule keeps, because the disk was too slow"


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.kind} | {labels} | {family.meaning}{_buckets(family.name)} |"


def _buckets(name: str) -> str:
    if name not in BOUNDS:
        return ""
    if name.endswith("_seconds"):
        return f" Buckets up to {', '.join(f'{bound * 1e3:g}' for bound in BOUNDS[name])} ms."
    return f" Buckets up to {', '.join(f'{bound:g}' for bound in BOUNDS[name])}."


def _words(words: dict[str, str]) -> Iterator[str]:
    yield "| word | meaning |\n|---|---|\n"
    for word, meaning in words.items():
        yield f"| `{word}` | {meaning} |\n"


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _alert(rule: dict[str, Any]) -> str:
    said = rule["annotations"]
    return f"| `{rule['alert']}` | {rule['labels']['severity']} | {said['action']} |\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
