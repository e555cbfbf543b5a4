"""FastAPI with catdog's model: uvicorn starts it, `uvicorn with_fastapi:app --workers 2`.

As FastAPI's documentation has it: the model is loaded in the lifespan, once a process, and a route that computes is a
plain `def`, run in a thread, so that the event loop goes on reading requests.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, UploadFile

from catdog.prediction.predictor import Predictor

models: dict[str, Predictor] = {}


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Load the model while the process starts."""
    models["catdog"] = Predictor(threads=1)
    yield
    models.clear()


app = FastAPI(lifespan=lifespan)


@app.post("/api/predict")
def predict(image: UploadFile) -> dict[str, Any]:
    """Return what an image shows."""
    return models["catdog"].predict(image.file.read()).as_dict()
