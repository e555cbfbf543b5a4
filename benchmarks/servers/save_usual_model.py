"""Writes the champion of a models folder, backbone and head, as a Keras file for the usual app.

python save_usual_model.py MODELS TARGET.keras
"""

import sys
from pathlib import Path

from catdog.features.backbone import WEIGHTS
from catdog.model.network import create_model, write_head
from catdog.registry.store import ModelStore


def main() -> None:
    """Build the network with its weights, and save it."""
    version = ModelStore(Path(sys.argv[1])).get()
    weights = version.backbone_path / WEIGHTS
    network = create_model(len(version.classes), image_size=version.metadata["image_size"], weights=weights)
    write_head(network, version.load_head())
    network.save(sys.argv[2])


if __name__ == "__main__":
    main()
