"""The command that serves."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from catdog.cli.console import notes
from catdog.errors import SettingsError
from catdog.settings import load_settings


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 for every one. Otherwise CATDOG_HOST.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on; otherwise PORT, or 5000.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes; otherwise WEB_CONCURRENCY, or one a core.")
    ] = None,
) -> None:
    """Open the page and the API, at http://127.0.0.1:5000 where nothing else is said; Ctrl-C ends it."""
    overruled = frozenset({"port"} if port else ())
    settings = load_settings(serving=True, passed_over=overruled, host=host, workers=workers)
    host, port = settings.resolved_host, port or settings.resolved_port
    _require_free(host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    if settings.log == "text":  # in JSON gunicorn says it itself
        notes.print(f"catdog serves at http://{f'[{shown}]' if ':' in shown else shown}:{port}", highlight=False)
    os.environ |= {"CATDOG_HOST": host, "PORT": str(port), "WEB_CONCURRENCY": str(settings.resolved_workers)}
    os.environ["CATDOG_HOME"] = str(settings.home)
    # In place of this process, so that signals reach gunicorn, and NumPy is loaded under its configuration.
    configuration = Path(__file__).parents[1] / "web" / "gunicorn_config.py"
    application = "catdog.web.application:create_app()"
    arguments = [sys.executable, "-m", "gunicorn", "--config", str(configuration), application]
    sys.stdout.flush()
    os.execv(sys.executable, arguments)


def _require_free(host: str, port: int) -> None:
    """Find out now whether the address can be listened on: gunicorn would try for five seconds."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except (OSError, TypeError, ValueError, OverflowError) as error:  # names that are none, too
        why = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"The server cannot listen there: {why}. Choose another --port or --host. Received: {host}, port {port}."
        ) from error
