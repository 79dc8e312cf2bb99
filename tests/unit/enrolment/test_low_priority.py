"""Work in a low-priority process: what it is allowed, what comes back, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from inspector.enrolment.low_priority import (
    AUTOGROUP,
    LEAST_NICE,
    THREAD_VARIABLES,
    WAITING,
    Progress,
    run_at_low_priority,
)
from inspector.errors import EnrolmentError, UsageError

ROOT = Path(__file__).parents[3]


def looks_around(progress: Progress) -> dict[str, Any]:
    progress("looking", 1, 2)
    progress("looking", 2, 2)
    return {
        "policy": os.sched_getscheduler(0) if sys.platform == "linux" else None,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "session": os.getsid(0),
        "threads": {name: os.environ.get(name) for name in THREAD_VARIABLES},
        "autogroup": AUTOGROUP.read_text() if AUTOGROUP.exists() else None,
    }


def refuses(_progress: Progress) -> None:
    raise UsageError("There is no such head.")


def dies(_progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


HELPER = """import sys, time
from inspector.lifetime import end_with_parent
end_with_parent(int(sys.argv[1]))
print("ready", flush=True)
time.sleep(600)
"""


def waits(named: Path, progress: Progress) -> None:
    helper = subprocess.Popen([sys.executable, "-c", HELPER, str(os.getpid())], stdout=subprocess.PIPE, cwd=ROOT)
    assert helper.stdout is not None
    helper.stdout.readline()
    named.write_text(f"{os.getpid()} {helper.pid}")
    progress("waiting", 0, 1)
    time.sleep(600)


def is_running(pid: int) -> bool:
    """Not gone, and not merely waiting for whoever inherited it to notice."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def quiet(_phase: str, _done: int, _total: int) -> None:
    return None


async def test_work_at_low_priority_comes_last_and_the_caller_does_not() -> None:
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    heard: list[tuple[str, int, int]] = []
    found = await run_at_low_priority(looks_around, lambda *told: heard.append(told))
    assert heard == [("looking", 1, 2), ("looking", 2, 2)]
    assert found["nice"] == LEAST_NICE
    assert found["policy"] in (None, os.SCHED_IDLE)
    assert found["session"] != os.getsid(0)
    assert set(found["threads"].values()) == {"1"}
    if found["autogroup"] is not None:
        assert found["autogroup"].split()[-1] == str(LEAST_NICE)
    assert os.getpriority(os.PRIO_PROCESS, 0) < LEAST_NICE
    assert {name: os.environ.get(name) for name in THREAD_VARIABLES} == before


def tells_its_variables(_progress: Progress) -> dict[str, str]:
    return dict(os.environ)


async def test_work_at_low_priority_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INSPECTOR_SECRET_MQTT", "INSPECTOR_SECRET_STORE_PASSWORD", "CREDENTIALS_DIRECTORY", "PGPASSWORD"):
        monkeypatch.setenv(name, "the secret")
    monkeypatch.setenv("INSPECTOR_CONFIG", "a.toml")
    found = await run_at_low_priority(tells_its_variables, quiet)
    assert "the secret" not in found.values()
    assert found["INSPECTOR_CONFIG"] == "a.toml"


def stands_still(until: Path, progress: Progress) -> None:
    progress("looking", 1, 2)
    while not until.exists():
        time.sleep(0.01)
    progress("looking", 2, 2)


async def test_work_at_low_priority_that_stands_still_is_told_as_waiting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("inspector.enrolment.low_priority.SILENT_S", 0.01)
    heard: list[tuple[str, int]] = []

    def hear(phase: str, done: int, _total: int) -> None:
        heard.append((phase, done))
        if phase == WAITING and ("looking", 1) in heard:
            (tmp_path / "go on").touch()  # the work waits until it was told as standing still

    await run_at_low_priority(partial(stands_still, tmp_path / "go on"), hear)
    told = [each for number, each in enumerate(heard) if each not in heard[:number]]
    assert [each for each in told if each[0] != WAITING] == [("looking", 1), ("looking", 2)]
    assert (WAITING, 0) in heard[heard.index(("looking", 1)) : heard.index(("looking", 2))]


async def test_error_of_work_at_low_priority_is_the_callers() -> None:
    with pytest.raises(UsageError, match="no such head"):
        await run_at_low_priority(refuses, quiet)


async def test_low_priority_process_that_was_killed_is_an_error_that_says_so() -> None:
    with pytest.raises(EnrolmentError, match="ended by signal 9"):
        await run_at_low_priority(dies, quiet)


async def test_low_priority_cancelled_leaves_no_process_behind(tmp_path: Path) -> None:
    named, started = tmp_path / "pid", asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(
        run_at_low_priority(partial(waits, named), lambda *_told: loop.call_soon_threadsafe(started.set) and None)
    )
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    worker, helper = (int(each) for each in named.read_text().split())
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    async with asyncio.timeout(60):  # it dies when it comes to run, and it comes last
        while is_running(helper):
            await asyncio.sleep(0.05)


PARENT = """import asyncio, sys
from functools import partial
from pathlib import Path
from inspector.enrolment.low_priority import run_at_low_priority
from tests.unit.enrolment.test_low_priority import quiet, waits
asyncio.run(run_at_low_priority(partial(waits, Path(sys.argv[1])), quiet))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with a parent that was killed")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_low_priority_work_ends_with_a_parent_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    named = tmp_path / "pid"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(named), cwd=ROOT)
    try:
        async with asyncio.timeout(120):
            while not named.exists() or not (written := named.read_text()):
                await asyncio.sleep(0.05)
        parent.send_signal(number)
        assert await parent.wait() == -number
        worker, helper = (int(each) for each in written.split())
        async with asyncio.timeout(120):  # they die when they come to run, and they come last
            while is_running(worker) or is_running(helper):
                await asyncio.sleep(0.05)
    finally:
        if parent.returncode is None:
            parent.kill()
            await parent.wait()
