"""Explains a prediction by a heat map and the most similar training images.

The heat map is a class activation map (https://arxiv.org/abs/1512.04150) for a head of several layers: the last feature
map, weighted by the gradient of the class's margin over the others (Grad-CAM, https://arxiv.org/abs/1610.02391). Here
it is exact: features are the mean over the map's positions and a ReLU head is locally linear, so the contributions of
all positions add up to the margin plus a constant. After average pooling, Grad-CAM equals HiResCAM
(https://arxiv.org/abs/2011.08891), whose proof applies.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from catdog.data.images.pixels import Pixels, read_picture
from catdog.prediction.predictor import Prediction, Predictor, Source
from catdog.prediction.similar import Floats, SimilarPicture, SimilarPictures


@dataclass(frozen=True)
class Explanation:
    """An explanation of a prediction.

    Attributes:
        prediction: the prediction, from the same forward pass.
        class_name, class_id: the explained class.
        contributions: contribution of each position to the margin of that class, its logit minus the mean of the
            others, `(rows, columns) float32`; 7 by 7 for 224 pixels. Negative values count against the class.
        similar: training images, nearest first.
    """

    prediction: Prediction
    class_name: str
    class_id: int
    contributions: Floats
    similar: tuple[SimilarPicture, ...]

    @property
    def heat_map(self) -> Floats:
        """Positive contributions, scaled to a maximum of 1: `(rows, columns) float32 in [0, 1]`.

        It covers the whole upright image, stretched like the image.
        """
        positive = np.maximum(self.contributions, 0)
        result: Floats = positive / max(float(positive.max()), np.finfo(np.float32).tiny)
        return result

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation in its public form, ready for JSON."""
        return {
            "prediction": self.prediction.as_dict(),
            "explained": {"class": self.class_name, "class_id": self.class_id},
            "heat_map": [[round(float(value), 4) for value in row] for row in self.heat_map],
            "similar": [image.as_dict() for image in self.similar],
        }


def explain(
    predictor: Predictor,
    image: Source,
    *,
    similar: int = 5,
    class_id: int | None = None,
    training: SimilarPictures | None = None,
    pixels: Pixels | None = None,
) -> Explanation:
    """Explain the prediction for one image.

    Args:
        predictor: the loaded version.
        image: bytes or a path.
        similar: maximum number of similar training images; the image itself is left out.
        class_id: the class to explain, in [0, classes); by default the predicted class.
        training: result of `SimilarPictures.of`, which may wait for the database.
        pixels: result of `predictor.pixels`, if the image is already decoded.

    Raises:
        PictureError: the image can't be used; says why.
        ValueError: there is no such class.
    """
    classes = len(predictor.names)
    if class_id is not None and not 0 <= class_id < classes:
        raise ValueError(f"class_id must be in [0, {classes - 1}], got {class_id}")
    data = read_picture(image, predictor.settings.max_picture_bytes)
    if pixels is None:
        pixels = predictor.pixels(data)
    features, last_map = predictor.backbone.features_and_map(pixels)
    prediction = predictor.answer(features)
    class_id = prediction.class_id if class_id is None else class_id
    contributions = last_map @ predictor.head.gradient(features, class_id) / np.float32(last_map[..., 0].size)
    if training is None:
        training = SimilarPictures.of(predictor)
    nearest = training.nearest(features, similar, hashlib.sha256(data).hexdigest())
    return Explanation(prediction, predictor.names[class_id], class_id, contributions, tuple(nearest))
