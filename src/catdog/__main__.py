"""`python -m catdog` is the command line."""

from catdog.cli import main

if __name__ == "__main__":
    main()
