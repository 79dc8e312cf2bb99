"""Faults that tests cause in a running agent by environment variables: a kill at a stage, a decoder that dies.

Without these variables this module has no effect.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from inspector.agent.camera_limits import decode_for
from inspector.config import loading as configuration
from inspector.config.line_sections import CameraSection
from inspector.domain import Image
from inspector.stream.pipeline.ticket import Decode


def checkpoint() -> Callable[[str], None]:
    """The function to call at each stage. It does nothing unless a test names the stage and frame at which to kill."""
    point = configuration.fault_point()
    if point is None:
        return lambda _: None
    stage, nth = point
    passed = 0

    def pass_by(reached: str) -> None:
        nonlocal passed
        if reached == stage:
            passed += 1
            if passed == nth:
                os.kill(os.getpid(), signal.SIGKILL)

    return pass_by


def decoder() -> Decode:
    """`decode_for`, unless a test names frames at which the decoder is to crash or hang."""
    named = configuration.fault_frames()
    if named is None:
        return decode_for
    how, text = named

    def decode_or_not(payload: bytes, camera: CameraSection) -> Image:
        if text in payload:
            if how == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            threading.Event().wait()
        return decode_for(payload, camera)

    return decode_or_not
