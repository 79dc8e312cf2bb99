"""What an agent loads at its start: a library that its configuration does not need would only take time."""

from __future__ import annotations

import subprocess
import sys

NEEDED_BY_SOME = ("aiokafka", "asyncpg", "openvino", "prometheus_client", "timm", "torch")


def test_agent_loads_no_library_that_only_some_configurations_need() -> None:
    asked = (
        "import sys, inspector.agent.build, inspector.agent.serve; "
        f"print(sorted(set({NEEDED_BY_SOME!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
