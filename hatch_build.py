"""Build step: write Vega's script into the package, for the charts of the page and of reports.

Runs whenever catdog is installed, as a wheel or editable. The script holds Vega, Vega-Lite and Vega-Embed, as
vl-convert bundles them; it is no part of the repository, and nothing has to make or fetch it later.
"""

import gzip
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SCRIPT = Path("src/catdog/evaluation/charts/vega/vega.js")


class VegaScript(BuildHookInterface):  # type: ignore[type-arg]
    """The hook that `pyproject.toml` names."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the script as it is and compressed."""
        import vl_convert

        target = Path(self.root) / SCRIPT
        script = vl_convert.javascript_bundle().encode()
        target.write_bytes(script)
        target.with_suffix(".js.gz").write_bytes(gzip.compress(script, 9, mtime=0))
