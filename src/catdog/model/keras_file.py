"""Writes `head.keras` for a head fitted without Keras: the champion's file with new weights."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catdog.errors import MissingDependencyError, VersionCorruptError
from catdog.model.head import Head

_WEIGHTS: Final = "model.weights.h5"


@dataclass(frozen=True)
class KerasTwin:
    """The Keras model of a head, made from another version's file."""

    template: Path
    head: Head

    def save(self, path: Path) -> None:
        """Write the model, or nothing if the template is missing, as in versions made without Keras.

        Raises:
            MissingDependencyError: h5py isn't installed.
            VersionCorruptError: the template doesn't contain such a head.
        """
        # A `.keras` file is a zip: only the weights change. The optimizer's state belongs to the template's fit.
        if not self.template.exists():
            return
        with zipfile.ZipFile(self.template) as template, zipfile.ZipFile(path, "w") as target:
            for name in template.namelist():
                data = template.read(name)
                target.writestr(name, self._replaced(data) if name == _WEIGHTS else data)

    def _replaced(self, data: bytes) -> bytes:
        try:
            import h5py
        except ImportError as error:
            raise MissingDependencyError(f"Writing head.keras needs h5py: pip install h5py ({error}).") from error
        buffer = io.BytesIO(data)
        arrays = {
            "hidden": (self.head.hidden_weights, self.head.hidden_bias),
            "probabilities": (self.head.output_weights, self.head.output_bias),
        }
        with h5py.File(buffer, "r+") as file:
            found = {group["vars"].attrs.get("name"): group["vars"] for group in file["layers"].values()}
            for name, pair in arrays.items():
                for i, array in enumerate(pair):
                    variable = found[name][str(i)] if name in found else None
                    if variable is None or variable.shape != array.shape:
                        raise VersionCorruptError(f"The Keras model {self.template} doesn't contain a matching head.")
                    variable[...] = array
            if "optimizer" in file:
                del file["optimizer"]
        return buffer.getvalue()
