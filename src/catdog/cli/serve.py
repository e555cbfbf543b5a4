"""The serve command."""

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
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 for all interfaces. Default: CATDOG_HOST.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on; default PORT, or 5000.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Web processes; default WEB_CONCURRENCY, or one per core.")
    ] = None,
) -> None:
    """Serve the web page and the API, by default at http://127.0.0.1:5000. Stop with Ctrl-C."""
    overridden = frozenset({"port"} if port else ())
    settings = load_settings(serving=True, overridden=overridden, host=host, workers=workers)
    host, port = settings.resolved_host, port or settings.resolved_port
    _require_free(host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    if settings.log == "text":  # gunicorn logs it in JSON
        notes.print(f"catdog is running at http://{f'[{shown}]' if ':' in shown else shown}:{port}", highlight=False)
    os.environ |= {"CATDOG_HOST": host, "PORT": str(port), "WEB_CONCURRENCY": str(settings.resolved_workers)}
    os.environ["CATDOG_HOME"] = str(settings.home)
    # Replaces this process: gunicorn then gets the signals, and its configuration applies before NumPy loads.
    configuration = Path(__file__).parents[1] / "web" / "server" / "gunicorn_config.py"
    application = "catdog.web.app:create_app()"
    arguments = [sys.executable, "-m", "gunicorn", "--config", str(configuration), application]
    sys.stdout.flush()
    os.execv(sys.executable, arguments)


def _require_free(host: str, port: int) -> None:
    """Check that the address is free; gunicorn would retry for five seconds."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except (OSError, TypeError, ValueError, OverflowError) as error:  # also invalid host names
        why = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"Can't listen on {host}, port {port}: {why}. If the port is in use, choose another with --port."
        ) from error
