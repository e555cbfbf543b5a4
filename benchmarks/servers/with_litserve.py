"""LitServe with catdog's model: `python with_litserve.py PORT`, with `$WORKERS` processes for inference.

As in LitServe's documentation: `setup` loads the model, once per worker, and HTTP processes pass requests to the
workers through a queue.
"""

import os
import sys
from typing import Any

import litserve
from fastapi import Request

from catdog.prediction.predictor import Prediction, Predictor


class Classifier(litserve.LitAPI):
    """The steps of a prediction, which LitServe calls in turn."""

    def setup(self, device: str) -> None:  # noqa: ARG002  # passed by LitServe
        """Load the model."""
        self.predictor = Predictor(threads=1)

    def decode_request(self, request: Request) -> bytes:
        """Return the image in the form, which LitServe passes for the annotation `Request`."""
        image: bytes = request["image"].file.read()
        return image

    def predict(self, image: bytes) -> Prediction:
        """Decode and predict."""
        return self.predictor.predict(image)

    def encode_response(self, prediction: Prediction) -> dict[str, Any]:
        """Return the response, which becomes JSON."""
        return prediction.as_dict()


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(api_path="/api/predict"),
        accelerator="cpu",
        workers_per_device=int(os.environ["WORKERS"]),
        timeout=120,
        fast_queue=True,  # recommended by LitServe for many requests, and faster here
    )
    port = int(sys.argv[1])
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
