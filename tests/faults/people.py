"""Agents as an ordinary user, since root ignores permissions and reserves; and small disks to fill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents import Agent
from tests.faults.scene import Scene

NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
NO_POWERS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""For trees that `nobody` can't read: root by name, without any of root's capabilities."""


def small_disk(scene: Scene, folder: Path, mib: int) -> Path:
    """A tmpfs of that size at `folder`; unmounted when the scene is left."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0777", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")
    scene.at_end(lambda: subprocess.run(["umount", "--lazy", str(folder)], check=False))
    return folder


def as_ordinary_user(agent: Agent, *folders: Path) -> None:
    """The agent will run without root's powers, and own its folder and these."""
    if os.geteuid() != 0:
        return  # we are one
    reads = [*NOBODY, sys.executable, "-c", "import inspector, connectors"]
    if subprocess.run(reads, capture_output=True, check=False).returncode:
        agent.runs_under = NO_POWERS
        return
    agent.runs_under = NOBODY
    for top in (agent.folder, *folders):
        for path in (top, *top.rglob("*")):
            shutil.chown(path, "nobody", "nogroup")
