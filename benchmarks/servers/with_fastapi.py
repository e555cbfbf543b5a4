"""FastAPI with catdog's model: uvicorn starts it, `uvicorn with_fastapi:app --workers 2`.

As in FastAPI's documentation: the model is loaded in the lifespan, once per process, and the route is a plain `def`,
which runs in a thread to keep the event loop free.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, UploadFile

from catdog.prediction.predictor import Predictor

models: dict[str, Predictor] = {}


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Load the model when the process starts."""
    models["catdog"] = Predictor(threads=1)
    yield
    models.clear()


app = FastAPI(lifespan=lifespan)


@app.post("/api/predict")
def predict(image: UploadFile) -> dict[str, Any]:
    """Predict an image."""
    return models["catdog"].predict(image.file.read()).as_dict()
