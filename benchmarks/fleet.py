"""Several catdog servers on loopback, behind nginx with the deployed configuration."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from processes import free_port, running, wait_for_answer

NGINX = Path(__file__).parents[1] / "deploy" / "nginx.conf"
PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def require_nginx() -> str:
    """Return the path of nginx, or exit if it isn't installed."""
    if (found := shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")) is None:
        raise SystemExit("nginx is missing: `apt install nginx-light`.")
    return found


def nginx_configuration(listen: int, servers: Sequence[int], folder: Path) -> str:
    """Return `deploy/nginx.conf` with local ports in place of Docker's names.

    Args:
        listen: the port for clients.
        servers: ports of the catdog servers.
        folder: for nginx's files.

    Raises:
        ValueError: a line to replace is missing, or not unique.
    """
    lines = {
        r"^ *server web:5000 resolve (.*);$": "\n".join(f"server 127.0.0.1:{port} \\1;" for port in servers),
        # Debian's nginx doesn't know `resolve`, and addresses don't need it; nginx's folders go here instead.
        r"^ *resolver .*;$": "\n".join(f"{path}_temp_path {folder}/{path};" for path in PATHS),
        r"^ *listen 8080;$": f"listen 127.0.0.1:{listen};",
        r"^pid .*;$": f"pid {folder}/nginx.pid;",
        r"^( *)access_log /dev/stdout (.*);$": f"access_log {folder}/access.log \\2;",
    }
    text = NGINX.read_text(encoding="utf-8")
    for pattern, replacement in lines.items():
        text, times = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        if times != 1:
            raise ValueError(f"{NGINX.name} must have one line like {pattern!r}, but has {times}")
    return text


@contextmanager
def catdog_servers(
    ports: Sequence[int], home: Path, variables: Mapping[str, str], image: bytes, logs: Path
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Run `catdog serve` on each port during the block, which starts when all make predictions."""
    with ExitStack() as stack:
        started = []
        for port in ports:
            command = [sys.executable, "-m", "catdog", "serve", "--host", "127.0.0.1", "--port", str(port)]
            server = running(command, {"CATDOG_HOME": str(home), **variables}, logs / f"{port}.log")
            started.append(stack.enter_context(server))
        for port, process in zip(ports, started, strict=True):
            wait_for_answer(process, f"http://127.0.0.1:{port}/api/predict", image, logs / f"{port}.log")
        yield started


@contextmanager
def nginx_before(servers: Sequence[int], folder: Path, image: bytes) -> Iterator[int]:
    """Run nginx in front of servers during the block; yield its port."""
    port = free_port()
    with running(nginx_command(port, servers, folder), {}, folder / "nginx.log") as process:
        wait_for_answer(process, f"http://127.0.0.1:{port}/api/predict", image, folder / "nginx.log")
        yield port


def nginx_command(listen: int, servers: Sequence[int], folder: Path) -> list[str]:
    """Write nginx's configuration to a folder, and return the command that starts it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(nginx_configuration(listen, servers, folder), encoding="utf-8")
    # As root, nginx would change to a user without write permission.
    more = "daemon off; user root;" if os.geteuid() == 0 else "daemon off;"
    return [require_nginx(), "-p", str(folder), "-c", str(file), "-g", more]


@contextmanager
def fleet(count: int, folder: Path, image: bytes, variables: Mapping[str, str]) -> Iterator[int]:
    """Run servers of one process each on one home, behind nginx; yield nginx's port."""
    ports = [free_port() for _ in range(count)]
    server = {"WEB_CONCURRENCY": "1", "CATDOG_TRUSTED_PROXIES": "1", "CATDOG_WORKER": "external", **variables}
    with (
        catdog_servers(ports, folder / "home", server, image, folder),
        nginx_before(ports, folder / "nginx", image) as port,
    ):
        yield port
