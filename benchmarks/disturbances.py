"""Robustness of a version: accuracy and coverage under blur, compression, rotation and darkness.

python benchmarks/disturbances.py --data ../shared/cat-and-dog/test [--version V]
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from catdog.data.dataset import read_folder
from catdog.data.labels import match_class
from catdog.evaluation.metrics import wilson_interval
from catdog.prediction.predictor import Prediction, Predictor
from catdog.registry.starter import ensure_champion
from catdog.settings import load_settings

DISTURBANCES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "JPEG quality 10": lambda image: image,
    "blur, radius 3": lambda image: image.filter(ImageFilter.GaussianBlur(3)),
    "rotated 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "half size": lambda image: image.resize((max(1, image.width // 2), max(1, image.height // 2))),
    "grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "dark, a quarter of the light": lambda image: ImageEnhance.Brightness(image).enhance(0.25),
}


def disturb(path: Path, name: str) -> bytes:
    """Read an image, apply a disturbance, and encode it."""
    with Image.open(path) as opened:
        image = DISTURBANCES[name](ImageOps.exif_transpose(opened).convert("RGB"))
    buffer = io.BytesIO()
    if name == "JPEG quality 10":
        image.save(buffer, "JPEG", quality=10)
    else:
        image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def main() -> None:
    """Measure each disturbance and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--version", type=int)
    arguments = parser.parse_args()

    settings = load_settings()
    ensure_champion(settings.models_dir)
    predictor = Predictor(arguments.version, settings=settings)
    manifest = read_folder(arguments.data, settings).manifest
    labels = np.array([match_class(manifest.classes[p.label], predictor.version.classes) for p in manifest.pictures])
    print(f"| disturbance | accuracy | 95 % interval | coverage | selective accuracy |\n|{' --- |' * 5}")
    for name in DISTURBANCES:
        stream = predictor.predict_stream(disturb(image.path, name) for image in manifest.pictures)
        answers = [answer for answer in stream if isinstance(answer, Prediction)]
        correct = np.array([answer.class_id for answer in answers]) == labels
        answered = np.array([answer.is_answered for answer in answers])
        low, high = wilson_interval(int(correct.sum()), len(correct))
        print(
            f"| {name} | {100 * correct.mean():.2f} % | {100 * low:.1f} to {100 * high:.1f} | "
            f"{100 * answered.mean():.1f} % | {100 * correct[answered].mean():.2f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
