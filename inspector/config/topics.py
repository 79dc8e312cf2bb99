"""The MQTT topics on which a camera's frames come. Pure."""

from __future__ import annotations

from inspector.config.line_sections import CameraSection


def topic_of(prefix: str, camera: CameraSection) -> str:
    """The filter of a camera's frames, without the prefix for a shared subscription."""
    base = camera.topic or f"{prefix}/{camera.name}/frame"
    return base + "/+" if camera.trigger_from == "topic" and not base.endswith("/+") else base


def other_form(prefix: str, camera: CameraSection) -> str | None:
    """The filter of frames with a trigger id in their topic if `topic_of` is without one, and the other way round.

    None if the camera has a topic of its own that says which one it is.
    """
    if camera.topic and (camera.trigger_from != "topic" or camera.topic.endswith("/+")):
        return None
    base = topic_of(prefix, camera).removesuffix("/+")
    return base if camera.trigger_from == "topic" else base + "/+"


def forms_of(prefix: str, camera: CameraSection) -> list[str]:
    """All filters on which a camera's frames are heard."""
    other = other_form(prefix, camera)
    return [topic_of(prefix, camera)] if other is None else [topic_of(prefix, camera), other]


def have_messages_in_common(one: str, other: str) -> bool:
    """Whether two filters match the same messages. A last /+ stands for any one level; there are no other wildcards."""
    return one == other or _lies_in(one, other) or _lies_in(other, one)


def _lies_in(topic: str, topic_filter: str) -> bool:
    return topic_filter.endswith("/+") and topic.rpartition("/")[0] == topic_filter[:-2]
