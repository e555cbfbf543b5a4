"""Attacks by slow clients and expensive images: how long other clients wait, and when connections are closed.

    python benchmarks/attacks.py [--only silent,slow-body] [--connections 64] [--behind both] [--seconds 30]

Starts `catdog serve` with two processes on an empty home, alone and behind nginx with `deploy/nginx.conf`. During each
attack it requests `/livez`, `/readyz` and `/api/predict` on new connections. It prints the longest time of each, and
after how many seconds the server closed the last connection of the attack. Uses loopback only. Needs Linux, and nginx
for `--behind nginx` and `both`.
"""

import argparse
import http.client
import io
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fleet import nginx_before
from PIL import Image
from processes import free_port, running, wait_for_answer

HEAD = b"Host: localhost\r\nUser-Agent: attack\r\n"
POST = b"POST /api/predict HTTP/1.1\r\n" + HEAD + b"Content-Type: image/jpeg\r\n"
GET = b"GET /api/openapi.json HTTP/1.1\r\n" + HEAD
CONTINUE = b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
VARIABLES = {"WEB_CONCURRENCY": "2", "CATDOG_WORKER": "external", "CATDOG_RATE_LIMIT": "off"}
PROBED = ("/livez", "/readyz", "/api/predict")
SMALL_BUFFER = 4096
"""Receive buffer of a client that reads nothing, small to fill up sooner."""


@dataclass(frozen=True)
class Attack:
    """What each connection of an attack sends: `first` at once, then `drip` every `pause` seconds.

    `reads` is whether it reads responses, `closes` whether it closes its sending direction and stays connected.
    """

    description: str
    first: bytes = b""
    drip: bytes = b""
    pause: float = 1.0
    reads: bool = True
    closes: bool = False


ATTACKS: Mapping[str, Attack] = {
    "silent": Attack("send nothing"),
    "slow-head": Attack("send a header, byte by byte", b"GET /livez HTTP/1.1\r\n" + HEAD + b"X: ", b"a"),
    "slow-body": Attack("send a body, byte by byte", POST + b"Content-Length: 5000000\r\n\r\n", b"a"),
    "slow-chunks": Attack("send chunks without an end", POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "huge-length": Attack(
        "announce 30 MB, send 2 kB per second", POST + b"Content-Length: 30000000\r\n\r\n", b"a" * 2048
    ),
    "continue": Attack(
        "expect 100-continue, then send nothing", POST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    ),
    "slow-reader": Attack("read no answer", GET + b"\r\n", reads=False),
    "pipeline": Attack("send 1,000 requests, read no answer", (GET + b"\r\n") * 1000, reads=False),
    "idle": Attack("send one request, keep the connection", b"GET /livez HTTP/1.1\r\n" + HEAD + b"\r\n"),
    "tls": Attack("send a TLS hello", bytes.fromhex("1603010200010001fc0303") + bytes(range(1, 10)) * 20),
    "garbage": Attack("send one byte that is no request", b"\0", b"\0"),
    "half-closed": Attack("send half a head, then close that direction", b"GET /li", closes=True),
}


@dataclass
class Found:
    """The longest time per route, failed requests, and when the last connection was closed, in seconds."""

    longest: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PROBED, 0.0))
    failed: int = 0
    ended: float | None = None


class Clients:
    """The connections of one or several attacks, driven by a thread."""

    def __init__(self, port: int, attacks: Sequence[Attack], count: int) -> None:
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, Attack, list[float]]] = {}
        self._stopped = threading.Event()
        self._began = time.monotonic()
        self.last_ended = 0.0
        for attack in attacks:
            for _ in range(count):
                self._begin(port, attack)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def left(self) -> int:
        """Number of connections that the server hasn't closed."""
        return len(self._open)

    def close(self) -> None:
        """Close all connections."""
        self._stopped.set()
        self._thread.join()
        for client, *_ in self._open.values():
            client.close()
        self._poll.close()

    def _begin(self, port: int, attack: Attack) -> None:
        client = socket.socket()
        if not attack.reads:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        self._send(client, attack.first)
        if attack.closes:
            client.shutdown(socket.SHUT_WR)
        # A client that doesn't read only notices a reset; others notice the end of the stream too.
        self._poll.register(client, select.EPOLLRDHUP | (select.EPOLLIN if attack.reads else 0))
        self._open[client.fileno()] = client, attack, [time.monotonic() + attack.pause]

    def _run(self) -> None:
        while not self._stopped.is_set() and self._open:
            for descriptor, events in self._poll.poll(0.1):
                self._look(descriptor, events)
            now = time.monotonic()
            for client, attack, due in list(self._open.values()):
                if attack.drip and now >= due[0]:
                    due[0] = now + attack.pause
                    self._send(client, attack.drip)

    def _look(self, descriptor: int, events: int) -> None:
        client = self._open[descriptor][0]
        ended = bool(events & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP))
        try:
            ended = ended or not client.recv(2**16)
        except BlockingIOError:
            pass
        except OSError:
            ended = True
        if ended:
            self._poll.unregister(descriptor)
            del self._open[descriptor]
            client.close()
            self.last_ended = time.monotonic() - self._began

    def _send(self, client: socket.socket, data: bytes) -> None:
        with suppress(OSError):
            client.send(data)


def flood(port: int, stopped: threading.Event) -> None:
    """Open and close connections as fast as one thread can."""
    while not stopped.is_set():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.01)


def send_again(body: bytes) -> Callable[[int, threading.Event], None]:
    """Return a client that sends one image repeatedly."""

    def send(port: int, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                ask(port, "/api/predict", body, timeout=60)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)

    return send


def scans(count: int, side: int = 4896) -> bytes:
    """Return a progressive JPEG that repeats its last scan many times."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 90).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + b"\xff\xd9"


def padded(filler: bytes, size: int = 9_000_000) -> bytes:
    """Return a small JPEG with megabytes of `filler` before its first table."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), "brown").save(buffer, "JPEG")
    return buffer.getvalue()[:2] + filler * (size // len(filler)) + buffer.getvalue()[2:]


def chunked_png(count: int = 300_000) -> bytes:
    """Return a small PNG with many empty text chunks."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), "brown").save(buffer, "PNG")
    text = struct.pack(">I", 2) + b"tEXta\0"
    chunk = text + struct.pack(">I", zlib.crc32(text[4:]))
    return buffer.getvalue()[:33] + chunk * count + buffer.getvalue()[33:]


def transparent(side: int = 4896) -> bytes:
    """Return a transparent WebP of 24 megapixels: a kilobyte that decodes to much memory."""
    buffer = io.BytesIO()
    Image.new("RGBA", (side, side), (0, 0, 0, 0)).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


BUSY: Mapping[str, Callable[[], Callable[[int, threading.Event], None]]] = {
    "flood": lambda: flood,
    "scans": lambda: send_again(scans(1000)),
    "padding": lambda: send_again(padded(b"\xff")),
    "comments": lambda: send_again(padded(b"\xff\xfe\0\2")),
    "text-chunks": lambda: send_again(chunked_png()),
    "transparent": lambda: send_again(transparent()),
}
BUSY_CLIENTS = 4


def picture() -> bytes:
    """Return the image that other clients send."""
    buffer = io.BytesIO()
    Image.effect_noise((500, 375), 60).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def ask(port: int, path: str, body: bytes | None, timeout: float = 30) -> int:
    """Send a request on a new connection; return its status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST" if body else "GET", path, body, {"Content-Type": "image/jpeg"} if body else {})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def watch(port: int, image: bytes, seconds: float, found: Found, goes_on: Callable[[], bool]) -> None:
    """Request the probed routes in turn while `goes_on`, and record the longest times."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and goes_on():
        for path in PROBED:
            began = time.monotonic()
            try:
                found.failed += ask(port, path, image if path == "/api/predict" else None) != 200
            except (OSError, http.client.HTTPException):
                found.failed += 1
            found.longest[path] = max(found.longest[path], time.monotonic() - began)
        time.sleep(0.05)


def attack_with_connections(port: int, name: str, image: bytes, options: argparse.Namespace) -> Found:
    """Run one attack with connections, or all of them, and probe meanwhile."""
    found = Found()
    attacks = list(ATTACKS.values()) if name == "all" else [ATTACKS[name]]
    clients = Clients(port, attacks, options.connections)
    try:
        watch(port, image, options.seconds, found, lambda: clients.left > 0)
        found.ended = None if clients.left else clients.last_ended
    finally:
        clients.close()
    return found


def attack_with_work(port: int, name: str, image: bytes, options: argparse.Namespace) -> Found:
    """Keep the server busy with some threads, and probe meanwhile."""
    found, stopped = Found(), threading.Event()
    work = BUSY[name]()
    threads = [threading.Thread(target=work, args=(port, stopped), daemon=True) for _ in range(BUSY_CLIENTS)]
    for thread in threads:
        thread.start()
    watch(port, image, options.busy_seconds, found, lambda: True)
    stopped.set()
    for thread in threads:
        thread.join(60)
    return found


@contextmanager
def server(folder: Path, behind: str, image: bytes) -> Iterator[int]:
    """Run catdog on an empty home, alone or behind nginx; yield the port to attack."""
    port, log = free_port(), folder / "server.log"
    command = [sys.executable, "-m", "catdog", "serve", "--host", "127.0.0.1", "--port", str(port)]
    variables = {"CATDOG_HOME": str(folder / "home"), "CATDOG_TRUSTED_PROXIES": "1" if behind == "nginx" else "0"}
    with running(command, VARIABLES | variables, log) as process:
        wait_for_answer(process, f"http://127.0.0.1:{port}/api/predict", image, log)
        if behind == "nginx":
            with nginx_before([port], folder / "nginx", image) as front:
                yield front
        else:
            yield port


def print_row(behind: str, name: str, description: str, found: Found, seconds: float) -> None:
    """Print one line of the table."""
    ended = "-" if name in BUSY else f"{found.ended:.1f} s" if found.ended is not None else f"not in {seconds:.0f} s"
    longest = " | ".join(f"{1000 * found.longest[path]:.0f} ms" for path in PROBED)
    print(f"| {behind} | {name}: {description} | {longest} | {found.failed} | {ended} |", flush=True)


def parse_arguments() -> argparse.Namespace:
    """Read the command line.

    Raises:
        SystemExit: an attack is unknown.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*ATTACKS, "all", *BUSY]
    parser.add_argument("--only", default=",".join(names), help="comma-separated attacks (default: all)")
    parser.add_argument("--behind", choices=("nothing", "nginx", "both"), default="both")
    parser.add_argument("--connections", type=int, default=64, help="connections per attack")
    parser.add_argument("--seconds", type=float, default=30, help="maximum duration of attacks with connections")
    parser.add_argument("--busy-seconds", type=float, default=10, help="duration of attacks that keep the server busy")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(names):
        parser.error(f"--only must name some of {', '.join(names)}, not {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    """Run the attacks and print a table."""
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops the server, like Ctrl-C
    image = picture()
    heads = ["Behind", "Attack", *(f"longest {path}" for path in PROBED), "failed", "last one closed"]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}", flush=True)
    for behind in ("nothing", "nginx") if options.behind == "both" else (options.behind,):
        with tempfile.TemporaryDirectory() as folder, server(Path(folder), behind, image) as port:
            quiet = Found()
            watch(port, image, 3, quiet, lambda: True)
            print_row(behind, "none", "no attack", quiet, 3)
            for name in options.only:
                is_busy = name in BUSY
                found = (attack_with_work if is_busy else attack_with_connections)(port, name, image, options)
                default = f"{BUSY_CLIENTS} clients" if is_busy else "all at once"
                description = getattr(ATTACKS.get(name), "description", default)
                print_row(behind, name, description, found, options.seconds)


if __name__ == "__main__":
    main()
