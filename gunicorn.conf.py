"""What `gunicorn app:app` finds here: the same configuration that `catdog serve` uses."""

from catdog.web.gunicorn_config import (  # noqa: F401  # gunicorn reads the names
    bind,
    control_socket_disable,
    graceful_timeout,
    keepalive,
    on_exit,
    on_starting,
    preload_app,
    threads,
    timeout,
    when_ready,
    worker_class,
    worker_tmp_dir,
    workers,
)
