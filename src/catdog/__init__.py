"""catdog: from folders of photographs to a measured classifier that answers, on one machine."""

from importlib.metadata import version as _version

__version__ = _version("catdog")
