"""Which files a version was enrolled from, kept in the state folder, so that more can be added to them.

The images themselves are not copied (a plant's thousands are its own to keep): the list names them with their
digests, and a file that has gone or changed is an error, never a silent loss.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from inspector.domain import printable
from inspector.errors import EnrolmentError
from inspector.training.dataset.folders import ImageSource


def folder_of(state_dir: Path, product: str) -> Path:
    """Where everything of a product's enrolments lies: lists, reports, frames taken from cameras."""
    return state_dir / "enrolment" / product


def keep_list(state_dir: Path, product: str, digest: str, images: Sequence[tuple[ImageSource, str]]) -> bool:
    """`images`: each with its SHA-256. False, and nothing kept, where one of them is no file."""
    if any(source.path is None for source, _ in images):
        return False
    target = _list_of(state_dir, product, digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    listed = [{**_spelled(source.path.resolve()), "sha256": sha256} for source, sha256 in images if source.path]
    unfinished = target.with_suffix(".part")
    unfinished.write_text(json.dumps({"product": product, "digest": digest, "images": listed}, indent=1))
    unfinished.replace(target)
    return True


def load_list(state_dir: Path, product: str, digest: str) -> list[ImageSource]:
    """The images that the version of that digest was enrolled from, each as it was then.

    Raises EnrolmentError where there is no list, or a file has gone or changed.
    """
    try:
        listed = json.loads(_list_of(state_dir, product, digest).read_text())["images"]
    except FileNotFoundError:
        raise EnrolmentError(
            f"It is not known which files the live version of {product} was enrolled from (enrolled on another "
            "machine or imported); enrol it again from all its images, without --add."
        ) from None
    sources = [ImageSource.of(_path_of(each)) for each in listed]
    lost = [source.name for each, source in zip(listed, sources, strict=True) if not _is_as_was(source, each["sha256"])]
    if lost:
        raise EnrolmentError(
            f"{len(lost)} of the {len(sources)} images of the live version of {product} have gone or changed "
            f"({', '.join(lost[:3])}{' and others' if len(lost) > 3 else ''}); put them back, or enrol without --add."
        )
    return sources


def without(images: Sequence[ImageSource], excluded: Sequence[str]) -> tuple[list[ImageSource], list[str]]:
    """The images but those named by path or by file name, as they are or as they are printed; and names of none."""
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


def _is_as_was(source: ImageSource, sha256: str) -> bool:
    try:
        return hashlib.sha256(source.read()).hexdigest() == sha256
    except OSError:
        return False


def _list_of(state_dir: Path, product: str, digest: str) -> Path:
    return folder_of(state_dir, product) / f"{digest[:16]}.json"
