"""The command `inspector`, and `python -m inspector`."""

from __future__ import annotations

import signal


def main() -> None:
    """Load the command line and run it. Ctrl-C meanwhile ends the process without a traceback."""
    kept = signal.getsignal(signal.SIGINT)
    if kept is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from inspector.cli import main as command

    signal.signal(signal.SIGINT, kept)
    command()


if __name__ == "__main__":
    main()
