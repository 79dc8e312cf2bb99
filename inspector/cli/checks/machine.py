"""This machine: the backbone's weights, the engine that runs it, the clock."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from inspector.cli.checks.finding import Finding, fault, ok, warning
from inspector.config.config import Config
from inspector.errors import WeightsMissing
from inspector.lifetime import environment_without_secrets, python_command
from inspector.vision.networks.torch_extra import INSTALL_TORCH, has_torch

ENGINE: Final = "engine"
CLOCK: Final = "clock"
_EARLIEST: Final = datetime(2025, 1, 1, tzinfo=UTC)
_LOAD_TIMEOUT_S: Final = 120
_TIMEDATECTL_TIMEOUT_S: Final = 5
_WITHOUT_TORCH: Final = (
    "not installed: passes run from the graphs that the registry keeps, and no new graph can be exported here "
    f"(`{INSTALL_TORCH}`)"
)
_QUIET: Final = {"ORT_DISABLE_TELEMETRY": "1"}
_ASK_ONNXRUNTIME: Final = """
import onnxruntime
print(onnxruntime.__version__, ", ".join(onnxruntime.get_available_providers()), sep="|")
"""
_ASK_OPENVINO: Final = """
import sys
sys.modules["openvino_telemetry"] = None
import openvino
print(openvino.__version__, ", ".join(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")), sep="|")
"""
_ASK_TORCH: Final = """
import torch
print(torch.__version__, torch.cuda.get_device_name(0) if torch.cuda.is_available() else "", sep="|")
"""


def check_engine(config: Config) -> Iterator[Finding]:
    """Weights, cores and engine. Neither weights nor engine are loaded into this process."""
    yield from _threads(config)
    yield from _weights_folder(config)
    yield _weights() if has_torch() else ok(ENGINE, "torch and timm", _WITHOUT_TORCH)
    name = config.engine.name
    has_device = Path("/dev/nvidiactl").exists() and has_torch()
    if name == "openvino":
        yield _openvino(config.engine.precision)
    elif name == "onnxruntime" or (name == "auto" and not has_device):
        yield _onnxruntime(name)
    else:
        yield from _torch(name)


def check_clock(config: Config) -> Iterator[Finding]:
    """Whether this machine's time can be right. Rows and deadlines use it."""
    now = datetime.now(UTC)
    if now < _EARLIEST:
        yield fault(CLOCK, "time", f"it says {now:%Y-%m-%d}, which can't be. Set it before anything is recorded.")
    else:
        yield ok(CLOCK, "time", f"{now:%Y-%m-%d %H:%M:%S} UTC, local zone {time.tzname[time.localtime().tm_isdst > 0]}")
    trusting = [camera.name for camera in config.camera if camera.clock == "trusted"]
    yield _synchronised(trusting)


def is_synchronised() -> bool | None:
    """Whether systemd says that the clock follows a time server; None if there is no systemd to ask."""
    command = shutil.which("timedatectl")
    if command is None:
        return None
    try:
        asked = subprocess.run(
            [command, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=_TIMEDATECTL_TIMEOUT_S,
            check=False,
            env=environment_without_secrets(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(asked.stdout.strip())


def _synchronised(trusting: list[str]) -> Finding:
    answer = is_synchronised()
    whose = f"cameras whose clock is trusted: {', '.join(trusting)}" if trusting else "no camera's clock is trusted"
    if answer:
        return ok(CLOCK, "time server", f"followed; {whose}")
    said = "not followed" if answer is False else "unknown here (systemd does not say)"
    if trusting:
        return warning(CLOCK, "time server", f"{said}, and {whose}. Let chrony or timesyncd set this clock.")
    return ok(CLOCK, "time server", f"{said}; {whose}")


def _threads(config: Config) -> Iterator[Finding]:
    threads, cores = config.engine.threads, len(os.sched_getaffinity(0))
    if threads > cores:
        words = (
            f"engine.threads is {threads}, and this process may use {cores} cores: frames would wait for each other."
        )
        yield warning(ENGINE, "threads", f"{words} Set it to 0.")


def _weights_folder(config: Config) -> Iterator[Finding]:
    folder = config.engine.weights_dir
    if folder is not None and not folder.is_dir():
        yield fault(ENGINE, "weights_dir", f"{folder} is no folder. Correct engine.weights_dir, or make the folder.")


def _weights() -> Finding:
    from inspector.vision.networks.backbone import DEFAULT_BACKBONE, Backbone, weights_digest, weights_path

    try:
        weights_path(Backbone())
        digest = weights_digest(Backbone())
    except WeightsMissing as error:
        return fault(ENGINE, "weights", str(error))
    return ok(ENGINE, "weights", f"{DEFAULT_BACKBONE}, sha-256 {digest[:12]}...")


def _onnxruntime(name: str) -> Finding:
    answer = _asked("onnxruntime", _ASK_ONNXRUNTIME)
    if answer.why_not is not None:
        return fault(ENGINE, name, f"{answer.why_not} Run `pip install onnxruntime`.")
    said = f"onnxruntime {answer.version}, {answer.rest}"
    if "CPUExecutionProvider" not in answer.rest:
        return fault(ENGINE, name, f"{said}: it can't run on this CPU. Install the plain onnxruntime package.")
    return ok(ENGINE, name, said)


def _openvino(precision: str) -> Finding:
    answer = _asked("openvino", _ASK_OPENVINO)
    if answer.why_not is not None:
        advice = "Run `pip install 'inspector[openvino]'`, or set engine.name to onnxruntime."
        return fault(ENGINE, "openvino", f"{answer.why_not} {advice}")
    if precision == "bfloat16" and "BF16" not in answer.rest:
        return fault(
            ENGINE, "openvino", "this processor does not compute in bfloat16. Set engine.precision to float32."
        )
    return ok(ENGINE, "openvino", f"openvino {answer.version}, products are enrolled in {precision}")


def _torch(name: str) -> Iterator[Finding]:
    answer = _asked("torch", _ASK_TORCH)
    version, device = answer.version, answer.rest
    if answer.why_not is not None:
        yield fault(ENGINE, name, f"{answer.why_not} Run `{INSTALL_TORCH}`, or set engine.name to onnxruntime.")
    elif device:
        yield ok(ENGINE, name, f"torch {version} on {device}")
    elif name == "torch-cuda":
        yield fault(ENGINE, name, f"torch {version} finds no usable GPU. Check the driver, or set engine.name to auto.")
    elif name == "auto":
        yield warning(ENGINE, name, f"there is a GPU, but torch {version} can't use it. Check the driver.")
        yield _onnxruntime(name)
    else:
        yield ok(ENGINE, name, f"torch {version} on the CPU")


@dataclass(frozen=True, slots=True)
class _Answer:
    """A package's report about itself. `why_not`: a sentence if the package can't be loaded, else None."""

    version: str = ""
    rest: str = ""
    why_not: str | None = None


def _asked(package: str, code: str) -> _Answer:
    """Load the package in a child process, so that its memory is freed and a crash does no harm."""
    if importlib.util.find_spec(package) is None:
        return _Answer(why_not=f"{package} is not installed.")
    command = python_command("-c", code)
    try:
        asked = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_LOAD_TIMEOUT_S,
            check=False,
            env=environment_without_secrets(**_QUIET),
        )
    except subprocess.TimeoutExpired:
        return _Answer(why_not=f"{package} did not answer within {_LOAD_TIMEOUT_S} s.")
    except OSError as error:
        return _Answer(why_not=f"{package} can't be asked ({error.strerror}).")
    version, _, rest = asked.stdout.strip().partition("|")
    if asked.returncode != 0 or not version:
        reason = (asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"])[-1]
        return _Answer(why_not=f"{package} can't be loaded ({reason}).")
    return _Answer(version, rest)
