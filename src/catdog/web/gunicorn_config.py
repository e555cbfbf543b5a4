"""How gunicorn serves, from the settings; read by gunicorn alone, as its configuration file.

A process a core and one picture at a time in each. Threads beside it only wait for clients, so that a connection on
which nothing is sent, as browsers open them ahead of need, keeps nobody else waiting.
"""

import os
import time
from typing import TYPE_CHECKING

from catdog.settings import load_settings
from catdog.web import STARTED_VARIABLE

if TYPE_CHECKING:
    from catdog.web.supervision import Supervisor

_settings = load_settings()

# Processes do not help each other's matrix products; must stand before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ[STARTED_VARIABLE] = str(time.time())

bind = (
    f"[{_settings.resolved_host}]:{_settings.resolved_port}"
    if ":" in _settings.resolved_host
    else (f"{_settings.resolved_host}:{_settings.resolved_port}")
)
workers = _settings.resolved_workers
worker_class = "gthread"
threads = 4
preload_app = False  # OpenVINO's threads do not survive a fork: each process loads its model itself
timeout = 60
graceful_timeout = 30
keepalive = 5
# Workers show that they live by touching a file, which must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
control_socket_disable = True  # it would lie in the user's home, shared by all servers


_supervisor: "Supervisor | None" = None


def when_ready(_server: object) -> None:
    """Start the worker that does the jobs, unless it runs elsewhere."""
    global _supervisor
    if _settings.worker == "child":
        from catdog.web.supervision import Supervisor

        _supervisor = Supervisor()
        _supervisor.start()


def on_exit(_server: object) -> None:
    """End the worker with the server."""
    if _supervisor is not None:
        _supervisor.stop()


def on_starting(_server: object) -> None:
    """Load the code once, for all processes to share; it starts nothing, so that it may be there before the fork."""
    import catdog.web.application  # noqa: F401
