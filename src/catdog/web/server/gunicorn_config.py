"""How gunicorn serves, from the settings; read by gunicorn alone, as its configuration file.

One process per core, and one image at a time in each. Clients are waited for by an event loop (`gunicorn_worker`), so
connections on which nothing is sent keep nobody waiting.
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

# Processes do not help each other's matrix products; must stand before NumPy is loaded.
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
preload_app = False  # OpenVINO's threads do not survive a fork: each process loads its model itself
timeout = 60
graceful_timeout = 30
keepalive = 5
# Workers show that they live by touching a file, which must not wait for a disk.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
forwarded_allow_ips = ""  # CATDOG_TRUSTED_PROXIES says what is believed, and nothing else does
control_socket_disable = True  # it would lie in the user's home, shared by all servers


_supervisor: "Supervisor | None" = None


def when_ready(_server: object) -> None:
    """Start the worker that does the jobs, unless it runs elsewhere."""
    global _supervisor
    if _settings.worker == "child":
        from catdog.web.server.supervision import Supervisor

        _supervisor = Supervisor()
        _supervisor.start()


def on_starting(_server: object) -> None:
    """Make the folder of metrics, and load the code once for all processes to share; that starts nothing."""
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
    """Keep the garbage collector from what stays for good, and let it look at the rest less often.

    Otherwise it goes through the whole of the libraries again and again while pictures wait: 2 % of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pre_exec(server: Any) -> None:
    """Start the new server of an upgrade (SIGUSR2) as this one was started.

    gunicorn would run the file that `python -m gunicorn` ran, and Python then looks for `http` in gunicorn's folder.
    """
    arguments = server.START_CTX["args"]
    if Path(arguments[1]).parts[-2:] == ("gunicorn", "__main__.py"):
        arguments[1:2] = ["-m", "gunicorn"]


def worker_exit(_server: object, worker: Any) -> None:
    """Send the last spans of a process that ends, if there are any. Clear up if the first process was killed."""
    from catdog.web.metrics import remove_folder
    from catdog.web.telemetry.tracing import EXTENSION

    if (tracing := getattr(getattr(worker, "wsgi", None), "extensions", {}).get(EXTENSION)) is not None:
        tracing.close()
    if worker.ppid != os.getppid():
        remove_folder()


def child_exit(_server: object, worker: Any) -> None:
    """Take a process that ended, well or not, out of the metrics of what is under way."""
    from catdog.web.metrics import bury

    bury(worker.pid)


def on_exit(_server: object) -> None:
    """End the worker with the server, and remove the folder of metrics."""
    if _supervisor is not None:
        _supervisor.stop()
    from catdog.web.metrics import remove_folder

    remove_folder()
