"""Keeps a part from passing whose views are not of one part. The later view is unjudged, and its gate has an alarm.

A simulated frame says nothing about its camera.
"""

from __future__ import annotations

from inspector.domain import Admitted, Cause, Failure, FrameFault, Severity
from inspector.stream.pipeline.alarms import Alarms
from inspector.stream.pipeline.ticket import Shared
from inspector.stream.view_agreement import Disagreement, View, ViewAgreement


class Views:
    """Looks at the part id and the bytes of every new frame of a gate with several cameras."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._agreement = ViewAgreement()
        self._alarms = Alarms(shared)

    async def run(self) -> None:
        """Tell what waits for its event, until cancelled."""
        await self._alarms.run()

    def note(self, admitted: Admitted) -> Failure | None:
        """Note a new frame. Returns the failure of a frame that contradicts another view of its part."""
        camera, key = admitted.delivery.camera, admitted.key
        gate = self._shared.gate_of(camera)
        if gate is None or admitted.simulated or key.trigger_id is None or len(gate.cameras) == 1:
            return None
        part = gate.part_of(admitted)
        if part is None:
            return None
        found = self._agreement.note(gate.name, part, View(camera, key.sha256, key.part_id))
        if found is None:
            return None
        disagreement, other = found
        case = f"trigger {key.trigger_id} of epoch {key.epoch}"
        if disagreement is Disagreement.SAME_PICTURE:
            self._alarms.tell("views_equal", Severity.ALARM, gate.name, case, sentence=_equal)
            return Failure.of_frame(FrameFault.FROZEN, f"the bytes are those of camera {other.camera} for this part")
        said = f"{camera} says {key.part_id!r} and {other.camera} says {other.part_id!r}"
        self._alarms.tell("views_disagree", Severity.ALARM, gate.name, f"{case}: {said}", sentence=_disagree)
        return Failure(Cause.UNDECODABLE, f"the part-id is not that of the part's other view: {said}")


def _equal(count: int, cases: str) -> str:
    return (
        f"two cameras sent the very same picture, so one of them did not see the part ({cases}; {count} so far): one "
        "stream is read twice, or a camera is set to another's topic. Such parts are not judged"
    )


def _disagree(count: int, cases: str) -> str:
    return (
        f"views that the trigger id joins name different parts ({cases}; {count} so far): the trigger count of a "
        "camera has slipped, or ids are read wrongly. Such parts are not judged"
    )
