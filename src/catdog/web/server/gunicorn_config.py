"""gunicorn's configuration file, built from the settings.

One process per core, and one image at a time in each. An event loop (`gunicorn_worker`) waits for clients, so idle
connections don't delay others.
"""

import gc
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catdog.settings import load_settings
from catdog.web import STARTED_VARIABLE

if TYPE_CHECKING:
    from catdog.web.server.supervision import Supervisor

_settings = load_settings(serving=True)

# One thread per process for matrix products; must be set before NumPy is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ[STARTED_VARIABLE] = str(time.time())

bind = (
    f"[{_settings.resolved_host}]:{_settings.resolved_port}"
    if ":" in _settings.resolved_host
    else (f"{_settings.resolved_host}:{_settings.resolved_port}")
)
workers = _settings.resolved_workers
worker_class = "catdog.web.server.gunicorn_worker.ProblemWorker"
logger_class = "catdog.web.server.gunicorn_worker.JsonLogger" if _settings.log == "json" else "gunicorn.glogging.Logger"
threads = 4  # for predictions, and as many for everything else
preload_app = False  # OpenVINO's threads don't survive a fork, so each process loads its model itself
timeout = 60
graceful_timeout = 30
keepalive = 5
# Workers touch a file as a heartbeat, which must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
forwarded_allow_ips = ""  # only CATDOG_TRUSTED_PROXIES decides
control_socket_disable = True  # it would be in the user's home, shared by all servers


_supervisor: "Supervisor | None" = None


def when_ready(_server: object) -> None:
    """Start the retraining worker, unless it runs elsewhere."""
    global _supervisor
    if _settings.worker == "child":
        from catdog.web.server.supervision import Supervisor

        _supervisor = Supervisor()
        _supervisor.start()


def on_starting(_server: object) -> None:
    """Make the folder of metrics, and import the code once for all processes."""
    from catdog.monitoring import tracing as telemetry
    from catdog.monitoring.logs import configure_log
    from catdog.web.memory import share_arenas
    from catdog.web.metrics import make_folder

    configure_log(_settings)
    share_arenas()
    make_folder(worker_tmp_dir)
    telemetry.preload()
    import catdog.web.app  # noqa: F401
    from catdog.web.security.access import warn_without_key

    warn_without_key(_settings)


def post_worker_init(_worker: object) -> None:
    """Exclude permanent objects from garbage collection, and make it rarer."""
    # Otherwise it scans all libraries again and again while images wait, 2 % of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pre_exec(server: Any) -> None:
    """Start the new server of an upgrade (SIGUSR2) in the same way as this one."""
    # gunicorn would run its own __main__.py as a file, and Python would then import `http` from gunicorn's folder.
    arguments = server.START_CTX["args"]
    if Path(arguments[1]).parts[-2:] == ("gunicorn", "__main__.py"):
        arguments[1:2] = ["-m", "gunicorn"]


def worker_exit(_server: object, worker: Any) -> None:
    """Send the last spans of a process, and clean up if the first process was killed."""
    from catdog.web.metrics import remove_folder
    from catdog.web.telemetry.tracing import EXTENSION

    if (tracing := getattr(getattr(worker, "wsgi", None), "extensions", {}).get(EXTENSION)) is not None:
        tracing.close()
    if worker.ppid != os.getppid():
        remove_folder()


def child_exit(_server: object, worker: Any) -> None:
    """Close the metrics of a process that has ended, normally or not."""
    from catdog.web.metrics import close_process

    close_process(worker.pid)


def on_exit(_server: object) -> None:
    """Stop the retraining worker, and remove the folder of metrics."""
    if _supervisor is not None:
        _supervisor.stop()
    from catdog.web.metrics import remove_folder

    remove_folder()
