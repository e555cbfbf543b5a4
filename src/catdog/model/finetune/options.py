"""How the backbone is tuned, and how far a tuning is: what `finetune` is asked for and what it reports."""

from collections.abc import Callable
from dataclasses import dataclass

from catdog.data.images.pixels import IMAGE_SIZE
from catdog.model.finetune.folding import BLOCKS


@dataclass(frozen=True)
class FineTuneOptions:
    """How to tune; the defaults are the bundled starter's recipe.

    Attributes:
        blocks: how many of the last of 17 inverted-residual blocks to tune, and all that follows; None for every layer.
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: Adam's at its peak, relative to what is tuned (see `channel_scales`); it rises over the first
            `warmup` of all steps and then falls as a cosine.
        image_size: side in pixels, a multiple of 32.
        seed: of everything drawn by chance.
        label_smoothing: share of each label spread over all classes, in [0, 1) (https://arxiv.org/abs/1512.00567).
        mixup: alpha of the beta distribution that pairs are mixed by; 0 for none (https://arxiv.org/abs/1710.09412).
        ema: momentum of the running average of weights, which is what is kept; 0 keeps the last weights.
        warmup: share of all steps, in [0, 1).
        teacher_size: side in pixels, a multiple of 32, of the larger of two views that a teacher sees: regressions on
            the untouched backbone's features, each image judged by one that wasn't fitted on it.
        teacher_share: share of each label that is the teacher's probabilities, in [0, 1) (distillation,
            https://arxiv.org/abs/1503.02531); wrong labels count less by it. 0 for no teacher.
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
            raise ValueError(f"`blocks` must be in [1, {BLOCKS}], or None for every layer. Received: {self.blocks}")
        if min(self.epochs, self.batch_size) < 1 or self.learning_rate <= 0 or self.mixup < 0:
            raise ValueError(f"Epochs, batch size and learning rate must be over 0, mixup at least 0. Received: {self}")
        if any(size < 32 or size % 32 for size in (self.image_size, self.teacher_size)):
            raise ValueError(f"`image_size` and `teacher_size` must be multiples of 32. Received: {self}")
        shares = (self.label_smoothing, self.ema, self.warmup, self.teacher_share)
        if not all(0 <= share < 1 for share in shares):
            raise ValueError(f"Smoothing, ema, warm-up and the teacher's share must be in [0, 1). Received: {self}")


@dataclass(frozen=True)
class FineTuneProgress:
    """How far it is: epoch (from 1) and step (from 1), of how many.

    Attributes:
        loss: mean training loss of this epoch so far.
        val_accuracy: of the averaged weights, in [0, 1]; None but at the end of an epoch.
        eta_seconds: until everything is done, at the pace so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    val_accuracy: float | None
    eta_seconds: float


OnProgress = Callable[[FineTuneProgress], None]
