"""The file that a person wants a report in: looked at before the work whose last step would fail on it."""

from __future__ import annotations

import os
from pathlib import Path

from inspector.domain import printable
from inspector.errors import UsageError
from inspector.files import is_regular, kind_of


def ensure_page(page: Path | None) -> None:
    """Raises UsageError where no report can be written to `page`; None is no report, or one at its usual place."""
    if page is None:
        return
    folder, name = page.absolute().parent, printable(str(page))
    if not folder.is_dir():
        raise UsageError(f"There is no folder {printable(str(folder))} to write the report to.")
    if page.is_dir():
        raise UsageError(f"{name} is a folder; name a file for the report, for example {name}/report.html.")
    if os.path.lexists(page) and not is_regular(page):
        raise UsageError(f"{name} is no file but a {kind_of(page.lstat().st_mode)}; name the file itself.")
    if not os.access(page if page.exists() else folder, os.W_OK):
        raise UsageError(f"The report {name} can't be written by this user; name another file.")
