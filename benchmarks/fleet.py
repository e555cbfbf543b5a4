"""Several catdog servers on the loopback address, and nginx before them with the file that is deployed."""

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
    """Find nginx; ends the program where it isn't there."""
    if (found := shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")) is None:
        raise SystemExit("nginx is needed: `apt install nginx-light`.")
    return found


def nginx_configuration(listen: int, servers: Sequence[int], folder: Path) -> str:
    """Return `deploy/nginx.conf` with ports of this machine in place of Docker's names, and nothing else changed.

    Args:
        listen: the port for clients.
        servers: ports of the catdog servers.
        folder: where nginx may keep its files.

    Raises:
        ValueError: a line that is to be replaced isn't there, or more than once.
    """
    lines = {
        r"^ *server web:5000 resolve (.*);$": "\n".join(f"server 127.0.0.1:{port} \\1;" for port in servers),
        # Debian's nginx is older than `resolve`, and these are addresses; the line makes room for nginx's folders.
        r"^ *resolver .*;$": "\n".join(f"{path}_temp_path {folder}/{path};" for path in PATHS),
        r"^ *listen 8080;$": f"listen 127.0.0.1:{listen};",
        r"^pid .*;$": f"pid {folder}/nginx.pid;",
        r"^( *)access_log /dev/stdout (.*);$": f"access_log {folder}/access.log \\2;",
    }
    text = NGINX.read_text(encoding="utf-8")
    for pattern, replacement in lines.items():
        text, times = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        if times != 1:
            raise ValueError(f"{NGINX.name} must have one line like {pattern!r}. Received: {times}")
    return text


@contextmanager
def catdog_servers(
    ports: Sequence[int], home: Path, variables: Mapping[str, str], picture: bytes, logs: Path
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Run `catdog serve` on each of the ports until the block ends; all answer images when it begins."""
    with ExitStack() as stack:
        started = []
        for port in ports:
            command = [sys.executable, "-m", "catdog", "serve", "--host", "127.0.0.1", "--port", str(port)]
            server = running(command, {"CATDOG_HOME": str(home), **variables}, logs / f"{port}.log")
            started.append(stack.enter_context(server))
        for port, process in zip(ports, started, strict=True):
            wait_for_answer(process, f"http://127.0.0.1:{port}/api/predict", picture, logs / f"{port}.log")
        yield started


@contextmanager
def nginx_before(servers: Sequence[int], folder: Path, picture: bytes) -> Iterator[int]:
    """Run nginx before servers on these ports until the block ends; gives its own port."""
    port = free_port()
    with running(nginx_command(port, servers, folder), {}, folder / "nginx.log") as process:
        wait_for_answer(process, f"http://127.0.0.1:{port}/api/predict", picture, folder / "nginx.log")
        yield port


def nginx_command(listen: int, servers: Sequence[int], folder: Path) -> list[str]:
    """Write nginx's file into a folder of its own, and give the command that starts it there."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(nginx_configuration(listen, servers, folder), encoding="utf-8")
    # As root it would change to a user that can't write there.
    more = "daemon off; user root;" if os.geteuid() == 0 else "daemon off;"
    return [require_nginx(), "-p", str(folder), "-c", str(file), "-g", more]


@contextmanager
def fleet(count: int, folder: Path, picture: bytes, variables: Mapping[str, str]) -> Iterator[int]:
    """Run some servers of one process each on one home, with nginx before them; gives nginx's port."""
    ports = [free_port() for _ in range(count)]
    server = {"WEB_CONCURRENCY": "1", "CATDOG_TRUSTED_PROXIES": "1", "CATDOG_WORKER": "external", **variables}
    with (
        catdog_servers(ports, folder / "home", server, picture, folder),
        nginx_before(ports, folder / "nginx", picture) as port,
    ):
        yield port
