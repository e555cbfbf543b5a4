"""LitServe with catdog's model: `python with_litserve.py PORT`, with `$WORKERS` processes that infer.

As LitServe's documentation has it: `setup` loads the model, once a worker, and processes that speak HTTP hand requests
over to the workers by a queue.
"""

import os
import sys
from typing import Any

import litserve
from fastapi import Request

from catdog.prediction.predictor import Prediction, Predictor


class Classifier(litserve.LitAPI):
    """The steps of an answer, which LitServe calls in turn."""

    def setup(self, device: str) -> None:  # noqa: ARG002  # LitServe gives it
        """Load the model."""
        self.predictor = Predictor(threads=1)

    def decode_request(self, request: Request) -> bytes:
        """Take the image out of the form, which LitServe gives where it says `Request`."""
        picture: bytes = request["image"].file.read()
        return picture

    def predict(self, picture: bytes) -> Prediction:
        """Decode and infer."""
        return self.predictor.predict(picture)

    def encode_response(self, prediction: Prediction) -> dict[str, Any]:
        """Return what becomes JSON."""
        return prediction.as_dict()


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(api_path="/api/predict"),
        accelerator="cpu",
        workers_per_device=int(os.environ["WORKERS"]),
        timeout=120,
        fast_queue=True,  # what LitServe recommends for many requests; it also was the faster one
    )
    port = int(sys.argv[1])
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
