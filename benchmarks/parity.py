"""Parity of serving and training: `Predictor` against the whole Keras network, on labelled photographs.

    python benchmarks/parity.py --data ../shared/cat-and-dog/test [--version V]

Prints the share of equal labels and the largest difference of a probability, also with f32 arithmetic in `Predictor`.
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

from catdog.data.dataset import read_folder
from catdog.data.images.pixels import prepare_dataset
from catdog.features.backbone import WEIGHTS
from catdog.model.network import create_model, write_head
from catdog.prediction.predictor import Predictor
from catdog.registry.starter import ensure_champion
from catdog.settings import load_settings


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--version", type=int)
    parser.add_argument("--most", type=int, help="maximum number of images; default: all")
    arguments = parser.parse_args()

    settings = load_settings()
    ensure_champion(settings.models_dir)
    pictures = list(islice(read_folder(arguments.data, settings).manifest.pictures, arguments.most))
    paths = [picture.path for picture in pictures]
    version = Predictor(arguments.version, settings=settings).version
    network = create_model(
        len(version.classes),
        image_size=version.metadata["image_size"],
        weights=version.backbone_path / WEIGHTS,
    )
    write_head(network, version.load_head())
    batches = prepare_dataset(paths, [0] * len(paths), image_size=version.metadata["image_size"])
    trained = np.concatenate([network.predict_on_batch(images) for images, _ in batches])
    for precision in ("auto", "f32"):
        predictor = Predictor(version, settings=load_settings(precision=precision))
        answers = predictor.predict_batch(paths)
        served = np.array([list(answer.probabilities.values()) for answer in answers])  # type: ignore[union-attr]
        agree = (served.argmax(1) == trained.argmax(1)).mean()
        difference = np.abs(served - trained).max(axis=1)
        print(
            f"version {version.number}, {len(paths)} photographs, served in {predictor.precision}: labels agree on "
            f"{100 * agree:.2f} %, probabilities differ by at most "
            f"{difference.max():.4f}, on average {difference.mean():.5f}"
        )


if __name__ == "__main__":
    main()
