"""Options and progress of fine-tuning."""

from collections.abc import Callable
from dataclasses import dataclass

from catdog.data.images.pixels import IMAGE_SIZE
from catdog.model.finetune.folding import BLOCKS


@dataclass(frozen=True)
class FineTuneOptions:
    """Options of fine-tuning; the defaults are the recipe of the bundled model.

    Attributes:
        blocks: how many of the last of 17 inverted-residual blocks to train; None for all layers.
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: Adam's peak learning rate, relative to the scale of each channel (see `channel_scales`). It
            rises during warm-up and then decays as a cosine.
        image_size: side in pixels, a multiple of 32.
        seed: of all random numbers.
        label_smoothing: share of each label spread over all classes, in [0, 1) (https://arxiv.org/abs/1512.00567).
        mixup: alpha of the beta distribution for mixing pairs; 0 for none (https://arxiv.org/abs/1710.09412).
        ema: momentum of the running average of weights, which becomes the result; 0 keeps the last weights.
        warmup: share of all steps, in [0, 1).
        teacher_size: side in pixels, a multiple of 32, of the larger of the teacher's two views (see `teacher.py`).
        teacher_share: share of each label that comes from the teacher's probabilities, in [0, 1); 0 for no teacher
            (distillation, https://arxiv.org/abs/1503.02531). It reduces the weight of wrong labels.
    """

    blocks: int | None = None
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 2e-4
    image_size: int = IMAGE_SIZE
    seed: int = 42
    label_smoothing: float = 0.0
    mixup: float = 0.0
    ema: float = 0.996
    warmup: float = 0.05
    teacher_size: int = 320
    teacher_share: float = 0.5

    def __post_init__(self) -> None:
        if self.blocks is not None and not 0 < self.blocks <= BLOCKS:
            raise ValueError(f"`blocks` must be in [1, {BLOCKS}], or None for all layers, got {self.blocks}")
        if min(self.epochs, self.batch_size) < 1 or self.learning_rate <= 0 or self.mixup < 0:
            raise ValueError(f"Epochs, batch size and learning rate must be positive, mixup at least 0: {self}")
        if any(size < 32 or size % 32 for size in (self.image_size, self.teacher_size)):
            raise ValueError(f"`image_size` and `teacher_size` must be multiples of 32: {self}")
        shares = (self.label_smoothing, self.ema, self.warmup, self.teacher_share)
        if not all(0 <= share < 1 for share in shares):
            raise ValueError(f"`label_smoothing`, `ema`, `warmup` and `teacher_share` must be in [0, 1): {self}")


@dataclass(frozen=True)
class FineTuneProgress:
    """Progress of fine-tuning: epoch and step, counted from 1, with their totals.

    Attributes:
        loss: mean training loss of this epoch so far.
        val_accuracy: of the averaged weights, in [0, 1]; only at the end of an epoch.
        eta_seconds: estimated seconds until the end.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    val_accuracy: float | None
    eta_seconds: float


OnProgress = Callable[[FineTuneProgress], None]
