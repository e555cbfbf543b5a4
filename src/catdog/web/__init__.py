"""The server: a REST API and a page. Routes translate, call one function, translate back."""

from typing import Final

STARTED_VARIABLE: Final = "CATDOG_STARTED_AT"
"""How the server's first process tells the others when it started; not a setting."""
