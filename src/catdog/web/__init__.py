"""The server: a REST API and a page. Routes read a request, call one function, and return its result."""

from typing import Final

STARTED_VARIABLE: Final = "CATDOG_STARTED_AT"
"""Environment variable with the start time of the server's first process; not a setting."""
