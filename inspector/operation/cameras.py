"""A camera of the configuration by its name, and the limits of its frames."""

from __future__ import annotations

from inspector.agent.camera_limits import limits_of
from inspector.config.config import Config
from inspector.config.line_sections import CameraSection
from inspector.errors import UsageError
from inspector.stream.decode import DecodeLimits


def camera_named(config: Config, name: str) -> CameraSection:
    """The camera's section. Raises UsageError with the names that are configured."""
    try:
        return config.camera_named(name)
    except KeyError:
        known = ", ".join(camera.name for camera in config.camera) or "none"
        raise UsageError(f"There is no camera {name!r} in the configuration; configured: {known}.") from None


def decode_limits(config: Config, camera: str | None) -> DecodeLimits:
    """The limits of that camera's frames; the defaults where no camera is named. Raises UsageError."""
    return DecodeLimits() if camera is None else limits_of(camera_named(config, camera))
