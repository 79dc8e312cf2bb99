"""Files among other users: no link of theirs is followed, nothing but a file is read, and modes ignore the umask."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inspector import files

STRANGER = 54321


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def strangers_link(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], None]:
    """Makes a link that belongs to another user than this process, and not to root."""

    def make(link: Path, target: Path) -> None:
        link.symlink_to(target)
        if os.geteuid() == 0:
            os.lchown(link, STRANGER, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: STRANGER)

    return make


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_written_files_and_folders_have_their_mode_whatever_the_umask(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "shared", is_shared=True)
    files.write_whole(tmp_path / "a" / "page.html", b"page")
    files.write_whole(tmp_path / "key", b"key", mode=files.SECRET_MODE)
    with files.replacing_text(tmp_path / "rows.csv") as rows:
        rows.write("a\n")
    os.close(files.open_kept(tmp_path / "log", os.O_WRONLY | os.O_APPEND))
    modes = {path.name: mode_of(path) & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {
        "a": 0o750,
        "b": 0o750,
        "shared": 0o770,
        "page.html": 0o640,
        "key": 0o600,
        "rows.csv": 0o640,
        "log": 0o640,
    }
    assert (tmp_path / "a" / "b").stat().st_mode & stat.S_ISGID


def test_shared_folder_below_one_that_the_group_may_not_write_is_the_owners(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    files.make_folder(tmp_path / "shared", is_shared=True)
    assert mode_of(tmp_path / "shared") == 0o750


def test_make_folder_leaves_a_folder_that_is_there_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    files.make_folder(tmp_path)
    assert mode_of(tmp_path) == 0o700


def test_write_replaces_a_link_and_leaves_what_it_names(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link = tmp_path / "page.html"
    link.symlink_to(victim)
    files.write_whole(link, b"page")
    assert victim.read_text() == "mine"
    assert not link.is_symlink()
    assert link.read_bytes() == b"page"


def test_write_makes_its_partial_file_under_a_name_that_nobody_knows(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("page.html.partial", ".page.html.partial", "page.part"):
        (tmp_path / name).symlink_to(victim)
    files.write_whole(tmp_path / "page.html", b"page")
    assert victim.read_text() == "mine"


def test_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")

    def interrupted() -> None:
        with files.replacing(page) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("page.html", "old")]


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_write_that_may_not_overwrite_takes_a_link_for_a_file(tmp_path: Path, target: str) -> None:
    (tmp_path / "there").write_text("mine")
    (tmp_path / "new").symlink_to(tmp_path / target)
    with pytest.raises(FileExistsError):
        files.write_whole(tmp_path / "new", b"x", overwrites=False)
    files.write_whole(tmp_path / "newer", b"x", overwrites=False)
    assert (tmp_path / "newer").read_bytes() == b"x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "newer", "there"]


def test_write_puts_no_file_in_the_place_of_a_device() -> None:
    with pytest.raises(files.NotOpened, match="device"):
        files.write_whole(Path("/dev/null"), b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_link_of_another_user_on_the_way_is_not_followed(
    tmp_path: Path, strangers_link: Callable[[Path, Path], None]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").write_text("secret")
    strangers_link(tmp_path / "enrolment", elsewhere)
    for attempt in (
        lambda: files.write_whole(tmp_path / "enrolment" / "page.html", b"page"),
        lambda: files.make_folder(tmp_path / "enrolment" / "bottle"),
        lambda: files.read_regular(tmp_path / "enrolment" / "secret", 100),
        lambda: files.open_kept(tmp_path / "enrolment" / "log", os.O_WRONLY),
    ):
        with pytest.raises(files.NotOpened, match="enrolment is a link of another user"):
            attempt()
    assert [path.name for path in elsewhere.iterdir()] == ["secret"]


@pytest.mark.parametrize("is_absolute", [True, False])
def test_own_link_on_the_way_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_absolute: bool) -> None:
    (tmp_path / "disk" / "state").mkdir(parents=True)
    target = tmp_path / "disk" / "state"
    (tmp_path / "state").symlink_to(target if is_absolute else "disk/../disk/state")
    files.write_whole(tmp_path / "state" / "a", b"1")
    monkeypatch.chdir(tmp_path)
    assert files.read_regular(Path("state/a"), 1) == b"1"
    files.write_whole(Path("b"), b"2")
    assert (tmp_path / "b").read_bytes() == b"2"


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=str(tmp_path)):
        files.write_whole(tmp_path / "a" / "page.html", b"x")


@pytest.mark.parametrize("follows_links", [True, False])
def test_read_takes_regular_files_only(tmp_path: Path, follows_links: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "socket", tmp_path, Path("/dev/zero")):
            with pytest.raises(OSError):
                files.read_regular(path, 100, follows_links=follows_links)


def test_read_follows_a_link_only_where_it_may(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"image")
    (tmp_path / "link.png").symlink_to("image.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    assert files.read_regular(tmp_path / "link.png", 100, follows_links=True) == b"image"
    with pytest.raises(files.NotOpened, match="link"):
        files.read_regular(tmp_path / "link.png", 100)
    with pytest.raises(files.NotOpened, match="device"):
        files.read_regular(tmp_path / "zero.png", 100, follows_links=True)


def test_read_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(11))
    assert files.read_regular(path, 11) == bytes(11)
    with pytest.raises(files.NotOpened, match="it has 11 bytes, the limit is 10") as refused:
        files.read_regular(path, 10)
    assert refused.value.size_bytes == 11


def test_read_of_a_file_that_names_no_size_is_bounded_too() -> None:
    with pytest.raises(files.NotOpened, match="limit"):
        files.read_regular(Path("/proc/self/status"), 10)
    assert b"Name:" in files.read_regular(Path("/proc/self/status"), 10_000)


def test_kept_file_is_never_opened_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "log").symlink_to(victim)
    with pytest.raises(files.NotOpened, match="link"):
        files.open_kept(tmp_path / "log", os.O_WRONLY | os.O_TRUNC)
    assert victim.read_text() == "mine"
    (tmp_path / "log").unlink()
    os.mkfifo(tmp_path / "log")
    with pytest.raises(files.NotOpened):
        files.open_kept(tmp_path / "log", os.O_RDWR)


def content(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.conf", "sub/b.conf"):
        (folder / name).write_text("of somebody else")
    return folder


def test_walk_and_removal_stop_at_the_link_of_another_user(
    tmp_path: Path, elsewhere: Path, strangers_link: Callable[[Path, Path], None]
) -> None:
    strangers_link(tmp_path / "images", elsewhere)
    for work in (
        lambda: list(files.walk(tmp_path / "images")),
        lambda: files.entries(tmp_path / "images"),
        lambda: files.remove(tmp_path / "images" / "a.conf"),
        lambda: files.remove_tree(tmp_path / "images" / "sub"),
    ):
        with pytest.raises(files.NotOpened, match="images is a link of another user"):
            work()
    assert not files.remove_empty_folder(tmp_path / "images" / "sub")
    with pytest.raises(OSError, match="symbolic link"):
        files.remove_tree(tmp_path / "images")
    assert content(elsewhere) == ["a.conf", "sub", "sub/b.conf"]


def test_walk_and_removal_follow_the_own_link_that_is_the_folder(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "images").symlink_to(elsewhere)
    found = {str(path.relative_to(tmp_path / "images")) for path, _ in files.walk(tmp_path / "images")}
    assert found == {"a.conf", "sub", "sub/b.conf"}
    files.remove(tmp_path / "images" / "a.conf")
    files.remove_tree(tmp_path / "images" / "sub")
    assert content(elsewhere) == []


def test_walk_and_removal_never_go_through_a_link_below_the_folder(tmp_path: Path, elsewhere: Path) -> None:
    folder = tmp_path / "images" / "day"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(elsewhere)
    (folder / "kept.jpg").write_text("a picture")
    assert {path.name for path, _ in files.walk(tmp_path / "images")} == {"day", "link", "kept.jpg"}
    files.remove_tree(tmp_path / "images")
    assert not (tmp_path / "images").exists()
    assert content(elsewhere) == ["a.conf", "sub", "sub/b.conf"]


def test_walk_leaves_out_the_spare_folder_and_of_nothing_is_empty(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "cam1.jpg").write_text("a picture")
    (tmp_path / "kept.jpg").write_text("a picture")
    assert [path.name for path, _ in files.walk(tmp_path, spare=tmp_path / "latest")] == ["kept.jpg"]
    assert list(files.walk(tmp_path / "missing")) == []
    files.remove(tmp_path / "missing" / "file")
    files.remove_tree(tmp_path / "missing" / "folder")
