"""What `gunicorn app:app` finds here: the same configuration that `catdog serve` uses."""

from catdog.web.server.gunicorn_config import (  # noqa: F401  # gunicorn reads the names
    bind,
    child_exit,
    control_socket_disable,
    forwarded_allow_ips,
    graceful_timeout,
    keepalive,
    logger_class,
    on_exit,
    on_starting,
    post_worker_init,
    pre_exec,
    preload_app,
    threads,
    timeout,
    when_ready,
    worker_class,
    worker_exit,
    worker_tmp_dir,
    workers,
)
