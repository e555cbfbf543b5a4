"""BentoML with catdog's model: `bentoml serve with_bentoml:Classifier`, with `$WORKERS` processes.

As in BentoML's documentation: the service loads the model in `__init__`, once per worker, takes a file as a `Path`, and
uses as many threads as the model supports.
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
        """Predict an image."""
        return self.predictor.predict(image).as_dict()
