"""Images prepared for a network: `from catdog.preprocessing import prepare_dataset`."""

from catdog.data.images.pixels import PictureBatches, prepare_dataset

__all__ = ["PictureBatches", "prepare_dataset"]
