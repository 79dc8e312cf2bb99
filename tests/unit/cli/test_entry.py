"""The command's own start, before there is anything that could catch an error."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

INTERRUPTED = """
    import os, signal, sys
    import inspector.__main__ as entry

    class Loading:
        def find_spec(self, name, *_):
            if name == "inspector.cli":
                os.kill(os.getpid(), signal.SIGINT)

    sys.meta_path.insert(0, Loading())
    sys.argv = ["inspector", "--version"]
    entry.main()
"""


@pytest.mark.parametrize("is_ignored", [False, True])
def test_interrupt_while_modules_are_loaded_shows_no_traceback(is_ignored: bool) -> None:
    """A shell that starts a command in the background has it ignore the signal, and it stays so."""
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if is_ignored else ""
    done = subprocess.run(
        [sys.executable, "-c", ignoring + textwrap.dedent(INTERRUPTED)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == (0 if is_ignored else -signal.SIGINT)
