"""Entry point of the command line: `catdog` or `python -m catdog`."""

import os
import sys
from typing import Final

MIN_WIDTH: Final = 20
"""Smallest terminal width in columns for tables."""


def main() -> None:
    """Run the command line; handles Ctrl-C even during imports."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):  # libraries parse them as numbers on import
        value = os.environ.get(name, "")
        if not (value.isdecimal() and value.isascii() and MIN_WIDTH <= int(value[:6]) <= 10_000):
            os.environ.pop(name, None)
    try:
        from catdog.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("Error: Stopped.\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
