"""catdog: trains, evaluates and serves an image classifier on one machine."""

from importlib.metadata import version as _version

__version__ = _version("catdog")
