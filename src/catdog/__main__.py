"""Where the command line begins: `catdog`, or `python -m catdog`."""

import os
import sys
from typing import Final

MIN_WIDTH: Final = 20
"""Columns under which no table can be read, nor be drawn."""


def main() -> None:
    """Run the command line; Ctrl-C is met from the first import on."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):  # libraries take them for numbers when they are imported
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
