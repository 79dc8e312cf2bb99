"""Watched folders: one camera each."""

from __future__ import annotations

import pytest

from inspector.config.loading import parse
from inspector.errors import ConfigError


def folders(*paths: str) -> None:
    cameras = [
        {"name": f"cam{number}", "source": "folder", "folder": path, "on_unjudged": "reject"}
        for number, path in enumerate(paths, 1)
    ]
    parse({"camera": cameras}, None)


@pytest.mark.parametrize("other", ["/in/cam", "/in/cam/", "/in/./cam", "/in/x/../cam"])
def test_cameras_on_one_folder_are_refused(other: str) -> None:
    with pytest.raises(ConfigError, match="'cam1' and 'cam2' watch the same folder /in/cam"):
        folders("/in/cam", other)


@pytest.mark.parametrize("paths", [("/in/cam", "/in/cam/done"), ("/in/cam/done", "/in/cam")])
def test_camera_on_the_judged_files_of_another_is_refused(paths: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="where judged files of camera"):
        folders(*paths)


def test_cameras_on_folders_of_their_own_are_taken() -> None:
    folders("/in/cam1", "/in/cam2", "/in/cam1/below")
