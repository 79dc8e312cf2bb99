"""What the cameras see: a product of the folder that INSPECTOR_DATA names, or drawn discs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.agents import enrol, inspector, make_parts
from tests.parts import encoded

KINDS: Final = 8
BOTTLES_TO_LEARN: Final = 80

Pictures = Mapping[bool, list[bytes]]
"""JPEGs by whether they show a bad part."""


def pictures_of(product: str) -> Pictures:
    """A few good and bad pictures that no enrolment has seen. Raises ValueError without the product's folder."""
    if product == "disc":
        return {
            is_bad: [encoded("disc", 500 + kind, is_good=not is_bad) for kind in range(KINDS)]
            for is_bad in (False, True)
        }
    tests = _folder(product) / "test"
    defects = [path for path in sorted(tests.iterdir()) if path.name != "good"]
    return {False: _read(tests / "good"), True: list(itertools.chain.from_iterable(_read(path) for path in defects))}


def enrolled_state(folder: Path, product: str) -> Path:
    """A state folder in which the product is live. Raises ValueError without the product's folder, RuntimeError."""
    if product == "disc":
        return enrol(folder / "enrolled", make_parts(folder / "parts"), ("disc",))
    images = sorted((_folder(product) / "train" / "good").iterdir())[:BOTTLES_TO_LEARN]
    state = folder / "enrolled" / "state"
    state.parent.mkdir(parents=True)
    config = state.parent / "inspector.toml"
    config.write_text(f'[agent]\nstate_dir = "{state}"\n')
    done = inspector("enroll", product, *images, "--no-detectability", "--full-speed", "--config", config, "--json")
    if done.returncode != 0:
        raise RuntimeError(f"{product} could not be enrolled: {done.stderr[-2000:]}")
    return state


def has_folder(product: str) -> bool:
    return "INSPECTOR_DATA" in os.environ and (Path(os.environ["INSPECTOR_DATA"]) / product / "test" / "good").is_dir()


def _folder(product: str) -> Path:
    if not has_folder(product):
        raise ValueError(f"INSPECTOR_DATA names no folder with the product {product}; set it, or use --product disc")
    return Path(os.environ["INSPECTOR_DATA"]) / product


def _read(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))[:KINDS]]
