"""The sections of the line: its cameras and its gates."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from inspector.config.section import Name, Section, TimeOfDay, is_zone
from inspector.domain import Action

GateAnswer = Literal[Action.PASS, Action.REJECT, Action.QUARANTINE]


class CameraSection(Section):
    """One camera: where its frames come from, what they look like, and what happens to parts without a judgement."""

    name: Name = Field(description="Name of the camera; part of its topics.")
    source: Literal["mqtt", "kafka", "folder"] = Field(default="mqtt", description="Where its frames come from.")
    topic: str | None = Field(
        default=None,
        description="Topic of its frames. On MQTT, unset = {prefix}/{camera}/frame; it may end in /+ for a trigger id. "
        "On Kafka, a topic of its own; unset = a header or the key names the camera.",
    )
    shared_group: Name | None = Field(
        default=None,
        description="Only on MQTT and without a gate: the agents that name the same group share this camera's frames "
        "($share).",
    )
    folder: Path | None = Field(
        default=None, description='Watched folder, for source = "folder"; subfolders are not read.'
    )
    settle_ms: float = Field(
        default=300,
        ge=0,
        le=600_000,
        description="Watched folder: a whole picture is taken when it has not changed for this long.",
    )
    incomplete_ms: float = Field(
        default=5000,
        ge=0,
        le=3_600_000,
        description="Watched folder: a picture without its end is judged as undecodable when it has not changed for "
        "this long.",
    )
    view: str = Field(
        default="", max_length=64, description="Name of the view that it shows, at a gate with several cameras."
    )
    on_unjudged: GateAnswer = Field(
        description="What the gate does with a part that could not be judged: pass, reject or quarantine. No default."
    )
    on_late: GateAnswer | None = Field(
        default=None, description="The same for a part that was judged too late; unset = on_unjudged."
    )
    on_wrong_product: GateAnswer | None = Field(
        default=None, description="The same for a part of another product than expected; unset = reject."
    )
    on_frame_health: GateAnswer | None = Field(
        default=None,
        description="The same for frames that do not show their part: dark, bright, blurred, moved, covered or frozen; "
        "unset = on_unjudged.",
    )
    product: Name | None = Field(
        default=None, description="The only product that may come; unset = any enrolled product."
    )
    window_ms: float | None = Field(
        default=None,
        gt=0,
        le=600_000,
        description="For a camera without a gate: longest time from capture to verdict; unset = no limit.",
    )
    trigger_from: Literal["property", "header", "json", "topic"] = Field(
        default="property", description="Where a frame carries its trigger id."
    )
    encoding: Literal["image", "json"] = Field(
        default="image", description="Form of the payload: an image, or JSON that contains one in base64."
    )
    clock: Literal["trusted", "untrusted"] = Field(
        default="untrusted", description="Whether the camera's captured-at is used."
    )
    max_skew_ms: float = Field(
        default=1000,
        gt=0,
        le=3_600_000,
        description="Greatest age of a captured-at that is used; an older one makes the frame late.",
    )
    rate_hz: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="Frames in a second that are usual; half or double of it raises a warning; unset = the rate that "
        "the camera shows, and a third or three times of it.",
    )
    silent_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="Time without a frame that raises an alarm; unset = only 5 s in which parts pass its gate.",
    )
    bit_depth: int = Field(default=16, ge=9, le=16, description="Significant bits of a 16-bit image (10, 12, 14, 16).")
    black_level: int = Field(default=0, ge=0, le=65535, description="Pixel value of black in a 16-bit image.")
    max_mib: float = Field(default=16, gt=0, le=1024, description="Largest encoded frame.")
    max_mpx: float = Field(default=32, gt=0, le=1000, description="Largest decoded frame in megapixels.")
    frame_id_memory: int = Field(
        default=4096,
        ge=16,
        le=1_000_000,
        description="Number of frames that the agent remembers to recognise redeliveries.",
    )


class GateSection(Section):
    """One gate: the cameras that look at its parts, and how much time they have."""

    name: Name = Field(description="Name of the gate; part of its topics.")
    cameras: tuple[Name, ...] = Field(min_length=1, description="Cameras that look at the parts of this gate.")
    window_ms: float = Field(gt=0, le=600_000, description="Time from capture until the part reaches the gate.")
    reserve_ms: float = Field(
        default=5, ge=0, le=10_000, description="Part of the window that is kept for journal and publishing."
    )
    transport_ms: float = Field(
        default=0,
        ge=0,
        le=600_000,
        description="Time that a decision needs from the agent through the broker into the slot of the PLC, a cycle of "
        "the PLC included. With no more time left than this, a decision is recorded and not sent; 0 = window_ms is "
        "shorter by it already.",
    )
    match: Literal["trigger_id", "single_in_flight"] = Field(
        default="trigger_id",
        description="How a decision finds its part: by its trigger id, or because only one part at a time is under "
        "way.",
    )
    join: Literal["trigger_id"] = Field(default="trigger_id", description="What joins the views of one part.")
    combine: Literal["worst"] = Field(default="worst", description="How the views of one part make one decision.")
    trigger_source: Literal["plc", "encoder", "camera"] = Field(
        default="plc",
        description="Who counts the parts; a count of the camera shows only what was lost after the camera.",
    )
    trigger_modulus: int | None = Field(
        default=None,
        ge=2,
        le=2**63,
        description="Number at which the counter wraps to 0, for example 65536; unset = never.",
    )
    max_gap: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="Most parts that can be missed in one gap; a longer jump is a reset of the counter.",
    )
    ack_within_s: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="Longest time until a part is acknowledged by the PLC; after that it counts as never acknowledged.",
    )
    reject_sensor: bool = Field(
        default=False,
        description="Whether a sensor sees each rejected part (done in its acknowledgement); a reject that it hasn't "
        "seen then counts as done otherwise.",
    )
    account_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of the last account_parts parts that were done otherwise, left to the default though told, "
        "passed unseen or unjudged, or never acknowledged, beyond which there is an alarm; unset = never.",
    )
    account_parts: int = Field(default=100, ge=2, le=100_000, description="Number of parts that account_share counts.")
    account_holds: bool = Field(
        default=False, description="Whether the gate is also held when account_share is exceeded."
    )
    miss_grace_ms: float | None = Field(
        default=None,
        gt=0,
        le=600_000,
        description="Time in which the frame of a skipped trigger id may still come before its part counts as missed; "
        "at most window_ms; unset = window_ms, but at most 1000.",
    )
    miss_grace_triggers: int = Field(
        default=16,
        ge=1,
        le=10_000,
        description="Number of later parts that all cameras of the gate show before a part whose frame did not come "
        "counts as missed, even if miss_grace_ms is not over.",
    )
    storm_consecutive: int | None = Field(
        default=None,
        ge=2,
        le=100_000,
        description="Number of rejects in a row that raises an alarm and holds the gate; unset = never.",
    )
    storm_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of rejects among the last storm_share_parts parts that raises an alarm and holds the gate; "
        "0 = never.",
    )
    storm_share_parts: int = Field(
        default=100, ge=10, le=1000, description="Number of parts over which storm_share is measured."
    )
    storm_no_trigger_id: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Number of frames in a row without a trigger id, of one camera, that raises an alarm and holds the "
        "gate; 0 = never.",
    )
    storm_unknown_product: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Number of frames in a row of an unknown product, of one camera, that raises an alarm and holds "
        "the gate; 0 = never.",
    )
    storm_frame_health: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Number of frames in a row with the cause frame_health, of one camera, that raises an alarm and "
        "holds the gate; 0 = never.",
    )
    golden_acks: bool = Field(
        default=True,
        description="Whether a golden challenge needs the PLC's acknowledgement of each reject; false only for a gate "
        "whose PLC sends none.",
    )
    golden_at: tuple[TimeOfDay, ...] = Field(
        default=(), description="Times of day at which a golden challenge is due, HH:MM in golden_zone; empty = never."
    )
    golden_zone: str | None = Field(
        default=None, description="Time zone of golden_at, as the IANA names it, such as Europe/Berlin."
    )
    golden_after_activation: bool = Field(
        default=False, description="Whether a golden challenge is due after another version became live."
    )
    golden_after_changeover: bool = Field(
        default=False, description="Whether a golden challenge is due after a job with another product has begun."
    )
    golden_within_min: float = Field(
        default=15,
        ge=0,
        le=1440,
        description="Minutes after which a gate is held if a challenge that is due was not passed; 0 = at once.",
    )

    @property
    def judging_ms(self) -> float:
        """Time from capture until the verdict must be there: the window without its reserve and the way to the PLC."""
        return self.window_ms - self.reserve_ms - self.transport_ms

    @field_validator("golden_zone")
    @classmethod
    def _is_zone(cls, value: str | None) -> str | None:
        if value is not None and not is_zone(value):
            raise PydanticCustomError("zone", "is no time zone that this machine knows; name one such as Europe/Berlin")
        return value
