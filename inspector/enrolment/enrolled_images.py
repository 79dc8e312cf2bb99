"""The list of files that a version was enrolled from, kept in the state folder, so that more can be added to them.

The images are not copied, because a plant keeps its thousands of images itself. The list names each file with its
digest. A file that is gone or changed is an error, never a silent loss.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from inspector.domain import printable
from inspector.errors import EnrolmentError
from inspector.files import make_folder, read_regular, write_text
from inspector.training.dataset.folders import ImageSource

MOST_LIST_BYTES = 256 * 1024 * 1024
"""Of a list: about a million images."""


def folder_of(state_dir: Path, product: str) -> Path:
    """The folder with everything about a product's enrolments: lists, reports, frames taken from cameras."""
    return state_dir / "enrolment" / product


def keep_list(state_dir: Path, product: str, digest: str, images: Sequence[tuple[ImageSource, str]]) -> bool:
    """Saves the list of images, each with its SHA-256. Returns False and saves nothing if one of them is no file."""
    if any(source.path is None for source, _ in images):
        return False
    target = _list_of(state_dir, product, digest)
    make_folder(target.parent, is_shared=True)
    listed = [{**_spelled(source.path.resolve()), "sha256": sha256} for source, sha256 in images if source.path]
    write_text(target, json.dumps({"product": product, "digest": digest, "images": listed}, indent=1))
    return True


def load_list(state_dir: Path, product: str, digest: str) -> list[ImageSource]:
    """The images that the version with that digest was enrolled from, each unchanged since.

    Raises EnrolmentError if there is no list, or a file is gone or changed.
    """
    try:
        listed = json.loads(read_regular(_list_of(state_dir, product, digest), MOST_LIST_BYTES))["images"]
    except FileNotFoundError:
        raise EnrolmentError(
            f"It is not known which files the live version of {product} was enrolled from (enrolled on another "
            "machine or imported); enrol it again from all its images, without --add."
        ) from None
    sources = [ImageSource.of(_path_of(image)) for image in listed]
    lost = [
        source.name for image, source in zip(listed, sources, strict=True) if not _is_unchanged(source, image["sha256"])
    ]
    if lost:
        raise EnrolmentError(
            f"{len(lost)} of the {len(sources)} images of the live version of {product} have gone or changed "
            f"({', '.join(lost[:3])}{' and others' if len(lost) > 3 else ''}); put them back, or enrol without --add."
        )
    return sources


def enrolled_image(state_dir: Path, product: str, digest: str, index: int) -> tuple[str, bytes]:
    """Name and bytes of one image of the version with that digest, by its place among the images that were used.

    Raises EnrolmentError if there is no list, or if the file is gone or changed.
    """
    try:
        image = json.loads(read_regular(_list_of(state_dir, product, digest), MOST_LIST_BYTES))["images"][index]
    except (FileNotFoundError, IndexError):
        raise EnrolmentError("the list of its enrolled images is not on this machine.") from None
    source = ImageSource.of(_path_of(image))
    try:
        content = source.read()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != image["sha256"]:
        raise EnrolmentError(f"the image {Path(image['path']).name} has gone or changed since the enrolment.")
    return Path(image["path"]).name, content


def without(images: Sequence[ImageSource], excluded: Sequence[str]) -> tuple[list[ImageSource], list[str]]:
    """The images without those excluded by path or file name, as it is or as it is printed; the exclusions that match
    no image.
    """
    wanted = set(excluded)
    kept = [image for image in images if not wanted & _names_of(image)]
    known = {name for image in images for name in _names_of(image)}
    return kept, [printable(name) for name in excluded if name not in known]


def _names_of(image: ImageSource) -> set[str]:
    own = {image.name, Path(image.name).name}
    return own if image.path is None else own | {str(image.path), image.path.name}


def _spelled(path: Path) -> dict[str, str]:
    """A path in the list; the bytes of one that is not printed as it is stand beside it, in hex."""
    printed = printable(str(path))
    return {"path": printed} if printed == str(path) else {"path": printed, "path_bytes": os.fsencode(path).hex()}


def _path_of(listed: Mapping[str, str]) -> Path:
    return Path(os.fsdecode(bytes.fromhex(listed["path_bytes"])) if "path_bytes" in listed else listed["path"])


def _is_unchanged(source: ImageSource, sha256: str) -> bool:
    try:
        return hashlib.sha256(source.read()).hexdigest() == sha256
    except OSError:
        return False


def _list_of(state_dir: Path, product: str, digest: str) -> Path:
    return folder_of(state_dir, product) / f"{digest[:16]}.json"
