"""An agent that the kernel kills because its memory has an end, as `MemoryMax=` of the unit gives it one."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tests.acceptance.test_nothing_is_lost import Camera, line
from tests.agents import Agent
from tests.brokers import Mosquitto
from tests.memory_groups import memory_group

pytestmark = pytest.mark.acceptance

LARGE_PX = (4000, 5000)
"""Decoded it takes 57 MiB, far more than the room that is left."""


def large_frame(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (LARGE_PX[0] // 20, LARGE_PX[1] // 20, 3), np.uint8)
    whole = cv2.resize(pixels, LARGE_PX[::-1], interpolation=cv2.INTER_NEAREST)
    return cv2.imencode(".jpg", whole)[1].tobytes()


def test_agent_killed_by_its_memory_bound_recovers_without_losing_a_row(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    with memory_group(f"inspector-test-{os.getpid()}") as group:
        if isinstance(group, str):
            pytest.skip(group)
        running = agent(line(broker))
        running.runs_under = group.runs_under
        running.start()
        camera = Camera(broker)
        camera.shoot(20)
        running.has_rows(20)
        group.leave_no_room()
        shooting = threading.Thread(target=camera.shoot, args=(20, 0.01))
        shooting.start()
        large = Camera(broker)
        large._images = [large_frame(number) for number in range(4)]
        large.sent = 1000
        large.shoot(4)
        shooting.join()
        running.until(running.has_ended, 120, "the kernel kills the agent")
        assert running.end() == -signal.SIGKILL
        known = {row["result_id"] for row in running.rows()}
        running.runs_under = ()
        running.start()
        rows = running.has_rows(44, 120)
        assert known <= {row["result_id"] for row in rows}
        sent = {f"f{number}" for number in (*range(40), *range(1000, 1004))}
        assert Counter(row["frame_id"] for row in rows) == dict.fromkeys(sent, 1)
        camera.close()
        large.close()
        assert running.end() == 0
