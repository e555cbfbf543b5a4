"""Where the command line begins: `catdog`, or `python -m catdog`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C is met from the first import on."""
    try:
        from catdog.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
