"""The server replaced by another while it serves (SIGUSR2), and killed."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from servers import CAT, ask, children, descendants, serving


def commands_of(pids: set[int]) -> dict[int, str]:
    """Give the command lines of processes that are there."""
    found = {}
    for pid in pids:
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def load(port: int, stopped: threading.Event, answers: Counter[str]) -> None:
    """Ask on new connections, and count what came."""
    while not stopped.is_set():
        try:
            answers[str(ask(port, "POST", "/api/predict", CAT)[0])] += 1
        except (OSError, http.client.HTTPException) as error:
            answers[repr(error)] += 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [(), ("-m", "gunicorn", "app:app")])
def test_an_upgrade_loses_no_request(tmp_path: Path, command: tuple[str, ...]) -> None:
    answers: Counter[str] = Counter()
    stopped = threading.Event()
    with serving(tmp_path / "home", *command) as (port, old):
        clients = [threading.Thread(target=load, args=(port, stopped, answers)) for _ in range(3)]
        for client in clients:
            client.start()
        new = None
        try:
            before = children(old.pid)
            old.send_signal(signal.SIGUSR2)
            new = wait_for_new_server(old.pid, before)
            old.send_signal(signal.SIGQUIT)
            assert old.wait(timeout=40) == 0
            asked = answers.total()
            wait_until(lambda: answers.total() > asked + 20)
            assert answers.keys() == {"200"}
            if not command:  # the worker of the jobs is the new server's, which had to wait for the old one's end
                wait_until(lambda: any("worker --parent" in line for line in commands_of(descendants(new)).values()))
        finally:
            stopped.set()
            for client in clients:
                client.join()
            if new:
                os.kill(new, signal.SIGTERM)
                wait_until(lambda: not Path(f"/proc/{new}").exists() or is_zombie(new))


def wait_for_new_server(old: int, before: set[int]) -> int:
    """Wait until a second server has two processes that answer; gives its process id."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        for pid, line in commands_of(children(old) - before).items():
            if "gunicorn" in line:
                below = [one for one in commands_of(children(pid)).values() if "gunicorn" in one]
                if len(below) == 2:
                    time.sleep(5)  # they load the model
                    return pid
        time.sleep(0.2)
    pytest.fail("no new server")


def wait_until(condition: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.1)


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_the_next_start_removes_metrics_of_a_killed_one(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from catdog.web import metrics as exposition\n"
        "exposition.make_folder(sys.argv[1])\n"
        "print(os.environ[exposition.VARIABLE])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    left = [
        Path(subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
             .stdout.strip())
        for _ in range(2)
    ]  # fmt: skip
    assert [folder.exists() for folder in left] == [False, True]
