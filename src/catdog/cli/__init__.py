"""The command line: one command a stage. Commands translate, call one function, translate back."""

from catdog.cli.app import main

__all__ = ["main"]
