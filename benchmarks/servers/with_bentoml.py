"""BentoML with catdog's model: `bentoml serve with_bentoml:Classifier`, with `$WORKERS` processes.

As BentoML's documentation has it: the service loads the model in `__init__`, once a worker, takes a file as a `Path`,
and computes in as many threads as the model serves at once.
"""

import os
from pathlib import Path
from typing import Any

import bentoml

from catdog.prediction.predictor import Predictor


@bentoml.service(
    workers=int(os.environ["WORKERS"]), threads=1, traffic={"timeout": 120}, logging={"access": {"enabled": False}}
)
class Classifier:
    """The service."""

    def __init__(self) -> None:
        self.predictor = Predictor(threads=1)

    @bentoml.api(route="/api/predict")
    def predict(self, image: Path) -> dict[str, Any]:
        """Return what an image shows."""
        return self.predictor.predict(image).as_dict()
