"""`python -m tests.plc`: simulated lines whose PLC knows `docs/gate.md` only, faults, and the account of every part.

    python -m tests.plc                    2,000 parts at six gates of every kind, with every fault
    python -m tests.plc line ...           one gate, with the faults that its options name
    python -m tests.plc stalls ...         agent and broker stand still at a gate without trigger ids
    python -m tests.plc backlog ...        a restart behind frames that wait in the broker

Each starts a mosquitto and an agent of its own, and exits 1 where a number is not 0 that must be.
"""

from __future__ import annotations

import sys

from tests.plc import backlog, one_line, stalls, whole_plant

COMMANDS = {"line": one_line.main, "stalls": stalls.main, "backlog": backlog.main}

if __name__ == "__main__":
    arguments = sys.argv[1:]
    command = COMMANDS.get(arguments[0]) if arguments else None
    sys.exit(whole_plant.main(arguments) if command is None else command(arguments[1:]))
