"""The usual app: Flask, a saved Keras model, `model.predict`.

    python usual.py PORT                # with the server of `app.run`, one thread per request
    gunicorn --workers 2 usual:app      # with processes

`$MODEL` is the path of the model file (see `save_usual_model.py`), which scales pixels itself.
"""

import os
import sys
from typing import Any

import keras
import numpy as np
from flask import Flask, request
from PIL import Image

CLASSES = ("Cat", "Dog")

app = Flask(__name__)
model = keras.models.load_model(os.environ["MODEL"])
size = model.input_shape[1:3]


@app.post("/api/predict")
def predict() -> dict[str, Any]:
    """Predict an image."""
    image = Image.open(request.files["image"].stream).convert("RGB").resize(size)
    pixels = np.expand_dims(np.asarray(image, dtype="float32"), axis=0)
    probabilities = model.predict(pixels, verbose=0)[0]
    best = int(np.argmax(probabilities))
    return {
        "class": CLASSES[best],
        "confidence": float(probabilities[best]),
        "probabilities": {name.lower(): float(value) for name, value in zip(CLASSES, probabilities, strict=True)},
    }


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), threaded=True)
