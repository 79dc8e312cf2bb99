"""Finds the frames of frozen cameras. The first frames of a repetition are judged; the fifth and later ones are not.

A picture that another camera has sent of the same part is found at once (`views`). A simulated camera is exempt: it may
send the same file many times.
"""

from __future__ import annotations

from inspector.domain import Admitted, Failure, FrameFault, Severity
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.pipeline.views import Views
from inspector.stream.repetition import Repetition, RepetitionWatch


class FrozenCameras:
    """Looks at the bytes of every new frame, and at the pixels of every decoded one."""

    def __init__(self, shared: Shared, views: Views) -> None:
        self._shared = shared
        self._views = views
        self._bytes = RepetitionWatch()
        self._pixels = RepetitionWatch()

    def note_bytes(self, admitted: Admitted) -> Failure | None:
        """Note a new frame. Returns the failure of one that the camera repeats, or that is no view of its part."""
        if admitted.simulated:
            return None
        repeated = self._note(self._bytes, admitted, admitted.key.sha256)
        return self._views.note(admitted) or repeated

    def note_pixels(self, admitted: Admitted, pixels_print: str) -> Failure | None:
        """Note a decoded frame. Returns the failure of a frame whose pixels the camera repeats in other bytes."""
        return None if admitted.simulated else self._note(self._pixels, admitted, pixels_print)

    def _note(self, watch: RepetitionWatch, admitted: Admitted, picture: str) -> Failure | None:
        camera = admitted.delivery.camera
        turn = watch.note(camera, picture)
        if turn is not None:
            self._tell(turn, admitted)
        current = watch.current(camera)
        if current is None:
            return None
        return Failure.of_frame(FrameFault.FROZEN, f"the last {current.count} frames are {_named(current)}")

    def _tell(self, turn: Repetition, admitted: Admitted) -> None:
        camera = admitted.delivery.camera
        if turn.is_over:
            detail = f"{turn.count} frames in a row were {_named(turn)}, so their parts were not seen; now another came"
            self._shared.event("camera_repeats_ended", Severity.INFO, camera, detail)
            return
        trigger = admitted.key.trigger_id
        at_trigger = "" if trigger is None else f", the last under trigger {trigger}"
        detail = (
            f"the last {turn.count} frames are {_named(turn)}{at_trigger}: the camera, or what feeds it, is frozen; "
            "until another picture comes its parts are not judged"
        )
        self._shared.event("camera_repeats", Severity.ALARM, camera, detail)


def _named(repetition: Repetition) -> str:
    if repetition.pictures == 1:
        return f"one picture ({repetition.sha256[:16]})"
    return f"{repetition.pictures} pictures in turn (the last {repetition.sha256[:16]})"
