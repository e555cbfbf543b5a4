"""What charts need and heavy libraries make: made once, in a process of its own, and kept under `cache/`.

Altair, vl-convert and scikit-learn together take 150 MB, in each web process, for what is made once. So a web process
starts `python -m catdog.chart_files` the first time, and reads files afterwards:

    cache/charts-<key>/          specifications.json, vega.js and vega.js.gz (the Vega bundle that draws in a browser)
    cache/assessment-<key>.json  of a version that was saved without one
"""

import argparse
import errno
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from catdog import charts
from catdog.assessment import Assessment, assess_version, read_assessment
from catdog.charts import Spec
from catdog.errors import ChartError
from catdog.files import read_json, write_json
from catdog.store import ModelVersion, read_metadata

PATIENCE_SECONDS: Final = 120
"""How long the process may take: 3 s on a desk, more where many start at once."""

BUNDLE: Final = "vega.js"
SPECIFICATIONS: Final = "specifications.json"


class ChartFiles:
    """The files under one `cache/`. Any number of threads and processes may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._specifications: dict[str, Spec] | None = None
        self._assessment: tuple[str, Assessment | None] | None = None
        self._turn = threading.Lock()

    @property
    def key(self) -> str:
        """Name what the charts are made from: another one for other charts or libraries."""
        sources = [Path(charts.__file__).read_bytes(), *(version_of(name).encode() for name in _LIBRARIES)]
        return hashlib.sha256(b"\0".join(sources)).hexdigest()[:12]

    def specifications(self) -> dict[str, Spec]:
        """Give the Vega-Lite specification of each chart, without data.

        Raises:
            ChartError: they are not there and cannot be made.
        """
        if self._specifications is None:
            self._specifications = read_json(self._charts() / SPECIFICATIONS)
        if self._specifications is None:
            raise ChartError(f"The charts cannot be read. Received: {self.folder}.")
        return self._specifications

    def bundle(self, *, compressed: bool) -> Path:
        """Give the file with the script that draws, 0.9 MB, or with gzip 0.3 MB; raises as `specifications`."""
        return self._charts() / (f"{BUNDLE}.gz" if compressed else BUNDLE)

    def assessment(self, version: ModelVersion) -> Assessment | None:
        """Give the assessment of a version, which is computed where it holds none; None where there is nothing to.

        Raises:
            ChartError: it cannot be computed.
        """
        checksums = version.metadata["checksums"]
        key = hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()[:12]
        with self._turn:
            if self._assessment is None or self._assessment[0] != key:
                self._assessment = key, self._find_assessment(version, self.folder / f"assessment-{key}.json")
            return self._assessment[1]

    def _find_assessment(self, version: ModelVersion, cached: Path) -> Assessment | None:
        found = read_assessment(version)
        if found is None and version.has_replay:
            self._ensure(cached, ["assessment", str(version.path), str(cached)])
            found = read_json(cached)
        return found or None

    def _charts(self) -> Path:
        target = self.folder / f"charts-{self.key}"
        self._ensure(target, ["charts", str(target)])
        return target

    def _ensure(self, target: Path, arguments: Sequence[str]) -> None:
        """Let a process make `target`, unless it is there; another that is at it is waited for."""
        if target.exists():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock", timeout=PATIENCE_SECONDS):
                if not target.exists():
                    _run(arguments)
        except (OSError, Timeout) as error:
            raise ChartError(_why_not(self.folder, error)) from error


def _why_not(folder: Path, error: OSError | Timeout) -> str:
    """Say why charts cannot be prepared in a folder, and what to do."""
    if isinstance(error, Timeout):
        return f"The charts are being prepared by another process for {PATIENCE_SECONDS} s now. Try again in a minute."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The charts cannot be prepared: the disk is full. Free some space for {folder}."
    return (
        f"The charts cannot be prepared in {folder}: {error.strerror or error}. "
        "Let the server write to that folder, or name another with CATDOG_HOME."
    )


_LIBRARIES: Final = ("altair", "vl-convert-python", "catdog")


def _run(arguments: Sequence[str]) -> None:
    command = [sys.executable, "-m", "catdog.chart_files", *arguments]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:] or ["no message"]
        raise ChartError(f"The charts cannot be prepared. Received: {last[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise ChartError(f"The charts cannot be prepared in {PATIENCE_SECONDS} s. Received: {command}") from error


def make_charts(target: Path) -> None:
    """Write specifications and bundle into a new folder, which is whole or absent."""
    import vl_convert

    script = vl_convert.javascript_bundle(None).encode()  # type: ignore[arg-type]  # without a snippet: all of it
    with tempfile.TemporaryDirectory(prefix=".new-", dir=target.parent) as temporary:
        new = Path(temporary) / "charts"
        new.mkdir()
        write_json(new / SPECIFICATIONS, charts.specifications())
        (new / BUNDLE).write_bytes(script)
        (new / f"{BUNDLE}.gz").write_bytes(gzip.compress(script, 9, mtime=0))
        new.rename(target)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what a web process asks for: `charts TARGET`, or `assessment VERSION_FOLDER TARGET`."""
    parser = argparse.ArgumentParser(prog="python -m catdog.chart_files", description=main.__doc__)
    parser.add_argument("what", choices=("charts", "assessment"))
    parser.add_argument("paths", nargs="+", type=Path)
    given = parser.parse_args(arguments)
    os.nice(5)  # answering comes first
    if given.what == "charts":
        make_charts(given.paths[0])
        return
    folder, target = given.paths
    version = ModelVersion(int(folder.name) if folder.name.isdecimal() else 0, folder, read_metadata(folder))
    write_json(target, assess_version(version) or {})


if __name__ == "__main__":
    main()
