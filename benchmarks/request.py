"""Time of each part of a prediction: decoding, resizing, network, head, novelty, form, and the whole request.

    python benchmarks/request.py --pictures ../shared/photos [--rounds 5]

Measures the processor time of one thread, which other load affects little, in milliseconds per image (median of the
rounds). gunicorn and the system aren't included; `serve.py` measures them.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in a web process

from PIL import Image
from werkzeug.test import EnvironBuilder

from catdog.data.images.pixels import decode
from catdog.data.walking import find_pictures
from catdog.prediction.predictor import Predictor
from catdog.settings import load_settings
from catdog.web.app import create_app
from catdog.web.requests.forms import read_form

Form = tuple[bytes, str]


def milliseconds(work: Callable[[Any], object], given: Sequence[Any]) -> float:
    """Return the mean processor time of `work` per item, in milliseconds."""
    start = time.thread_time()
    for one in given:
        work(one)
    return (time.thread_time() - start) * 1000 / len(given)


def decompress(picture: bytes, size: int) -> None:
    """Decode an image like `preprocessing.decode`, without resizing."""
    image = Image.open(io.BytesIO(picture))
    image.draft("RGB", (size, size))
    image.load()


def make_form(picture: bytes) -> Form:
    """Return the body and the Content-Type of a form with one image."""
    environ = EnvironBuilder(method="POST", data={"image": (io.BytesIO(picture), "picture.jpg")}).get_environ()
    return environ["wsgi.input"].read(), environ["CONTENT_TYPE"]


def ask(app: Any, environ: dict[str, Any], form: Form) -> None:
    """Send a form through the whole application."""
    body, kind = form
    own = {"wsgi.input": io.BytesIO(body), "CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body))}
    status: list[str] = []
    answer = app(environ | own, lambda line, *_: status.append(line))
    b"".join(answer)
    answer.close()
    assert status[0].startswith("200"), status


def main() -> None:
    """Measure each part and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="folder of JPEG files")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    pictures = [path.read_bytes() for path in find_pictures([given.pictures], recursive=True)]
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings(home=Path(home))
        app = create_app(settings)
        predictor = Predictor(settings=settings, threads=1)
        size = predictor.backbone.info.image_size
        pixels = [decode(picture, size, predictor.limits) for picture in pictures]
        features = [predictor.backbone.features(each) for each in pixels]
        forms = [make_form(picture) for picture in pictures]
        environ = EnvironBuilder("/api/predict", method="POST").get_environ()
        parts: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
            "decompress": (lambda picture: decompress(picture, size), pictures),
            "decompress, resize": (lambda picture: decode(picture, size, predictor.limits), pictures),
            "network": (predictor.backbone.features, pixels),
            "head": (predictor.head.probabilities, features),
            "novelty": (predictor.novelty.novelty, features),
            "prediction, all of it": (predictor.predict, pictures),
            "form": (lambda form: read_form(form[0], form[1].partition("boundary=")[2].strip('"'), 10), forms),
            "request, all of it": (lambda form: ask(app, environ, form), forms),
        }
        found = {name: [milliseconds(*part) for _ in range(given.rounds)] for name, part in parts.items()}
        for name, times in found.items():
            print(f"{name:24} {statistics.median(times):7.3f} ms   ({min(times):.3f} to {max(times):.3f})")
        app.extensions["catdog"].stop()


if __name__ == "__main__":
    main()
