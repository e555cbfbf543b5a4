import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from catdog.errors import BackboneError, DatasetError
from catdog.features.weights import build_keras_backbone
from catdog.model.finetune.folding import fold, unfold
from catdog.model.finetune.options import FineTuneOptions, FineTuneProgress
from catdog.model.finetune.run import CACHE, CHECKPOINT, fine_tune, read_checkpoint
from catdog.model.finetune.views import random_view

# One block, so that TensorFlow has a tenth of the gradients to trace; one test tunes every layer.
OPTIONS = FineTuneOptions(
    blocks=1, epochs=2, batch_size=8, image_size=32, mixup=0.2, label_smoothing=0.1, teacher_share=0.0
)

pytestmark = pytest.mark.slow  # conversions and trainings of whole networks, a minute together


class Data(NamedTuple):
    weights: Path
    pictures: list[Path]
    labels: NDArray[np.int64]
    validation: tuple[list[Path], NDArray[np.int64]]


class PowerCutError(Exception):
    """Raised by a test's progress callback to simulate a power cut."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("finetune")
    weights = folder / "random.weights.h5"
    rng = np.random.default_rng(0)
    network = build_keras_backbone(None, 32)
    for layer in network.layers:
        layer.momentum = 0.0  # one batch sets batch norm, or signals would die out in 52 random layers
    network(rng.uniform(-1, 1, (16, 32, 32, 3)).astype(np.float32), training=True)
    network.save_weights(weights)
    paths = []
    for number in range(22):
        pixels = rng.integers(0, 128, (40, 48, 3), np.uint8)
        pixels[..., number % 2] += 120
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    labels = np.arange(22) % 2
    return Data(weights, paths[:16], labels[:16], (paths[16:], labels[16:]))


@pytest.fixture(scope="module")
def finished(data: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FineTuneProgress]]:
    seen: list[FineTuneProgress] = []
    return tune(data, tmp_path_factory.mktemp("work"), on_progress=seen.append), seen


def tune(data: Data, work_dir: Path, options: FineTuneOptions = OPTIONS, **more: Any) -> Path:
    return fine_tune(
        data.weights, data.pictures, data.labels, data.validation, 2, options, work_dir, more.get("on_progress")
    )


def weights_of(path: Path) -> list[NDArray[np.float32]]:
    arrays: list[NDArray[np.float32]] = build_keras_backbone(path, 32).get_weights()
    return arrays


def differ(one: Path, other: Path) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(weights_of(one), weights_of(other), strict=True))


def changed(data: Data, tuned: Path, layers: tuple[str, ...]) -> list[bool]:
    """Return the layers whose kernel differs after folding batch norm."""
    before, after = (fold(build_keras_backbone(path, 32)) for path in (data.weights, tuned))
    kernels = [(before.get_layer(name).get_weights()[0], after.get_layer(name).get_weights()[0]) for name in layers]
    return [not np.allclose(one, other, rtol=1e-5, atol=1e-7) for one, other in kernels]


def test_the_result_loads_into_plain_mobilenet_and_differs(data: Data, finished: tuple[Path, list[Any]]) -> None:
    tuned, _ = finished
    assert all(np.isfinite(array).all() for array in weights_of(tuned))
    assert changed(data, tuned, ("block_15_project", "block_16_project", "Conv_1")) == [False, True, True]


def test_progress_counts_up_to_the_end(finished: tuple[Path, list[FineTuneProgress]]) -> None:
    _, seen = finished
    ends = [progress for progress in seen if progress.val_accuracy is not None]
    assert [(p.epoch, p.epochs, p.step, p.steps) for p in ends] == [(1, 2, 2, 2), (2, 2, 2, 2)]
    assert all(0 <= p.val_accuracy <= 1 and np.isfinite(p.loss) and p.eta_seconds >= 0 for p in ends)  # type: ignore[operator]
    assert ends[-1].eta_seconds == 0


def test_the_same_call_returns_at_once_and_leaves_no_cache(data: Data, finished: tuple[Path, list[Any]]) -> None:
    tuned, _ = finished
    before = tuned.stat().st_mtime_ns
    shuffled = data._replace(pictures=data.pictures[::-1], labels=data.labels[::-1])  # order doesn't matter
    seen: list[FineTuneProgress] = []
    assert tune(shuffled, tuned.parent, on_progress=seen.append) == tuned
    assert seen == []
    assert tuned.stat().st_mtime_ns == before
    assert not (tuned.parent / CACHE).exists()


def test_an_interrupted_run_resumes_with_the_same_result(
    data: Data, finished: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    def stop_in_second_epoch(progress: FineTuneProgress) -> None:
        if progress.epoch == 2:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        tune(data, tmp_path, on_progress=stop_in_second_epoch)
    seen: list[FineTuneProgress] = []
    resumed = tune(data, tmp_path, on_progress=seen.append)
    assert {progress.epoch for progress in seen} == {2}
    assert differ(resumed, finished[0]) < 1e-5


def test_other_options_start_again_and_can_tune_every_layer(
    data: Data, finished: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    shutil.copytree(finished[0].parent, tmp_path, dirs_exist_ok=True)
    options = replace(OPTIONS, epochs=1, blocks=None, ema=0.0, teacher_share=0.5, teacher_size=64, learning_rate=1e-2)
    seen: list[FineTuneProgress] = []
    tuned = tune(data, tmp_path, options, on_progress=seen.append)
    assert seen[0].epoch == 1
    assert changed(data, tuned, ("Conv1", "block_16_project")) == [True, True]


def test_checkpoint_that_is_missing_damaged_or_of_another_run_is_not_used(
    finished: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    good = (finished[0].parent / CHECKPOINT).read_bytes()
    path = tmp_path / CHECKPOINT
    assert read_checkpoint(path, "") is None
    for content in (b"", b"junk", good[:1000], good):
        path.write_bytes(content)
        assert read_checkpoint(path, "another run") is None


def test_folding_and_unfolding_change_nothing() -> None:
    network = build_keras_backbone(None, 32)
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    pixels = rng.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    expected = network.predict(pixels, verbose=0)
    folded = fold(network)
    plain = unfold(folded, build_keras_backbone(None, 32))
    scale = np.abs(expected).max() + 1e-6
    assert np.abs(folded.predict(pixels, verbose=0) - expected).max() < 1e-4 * scale
    assert np.abs(plain.predict(pixels, verbose=0) - expected).max() < 1e-4 * scale


def test_views_cover_the_whole_image_and_are_repeatable() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[24:40, 24:40] = 255  # a white square in the middle
    views = [random_view(picture, 56, np.random.default_rng(seed)) for seed in range(40)]
    assert {view.shape for view in views} == {(56, 56, 3)}
    assert (np.mean(views, axis=0)[28, 28] > 150).all()
    assert len({view.tobytes() for view in views}) == 40
    assert (views[3] == random_view(picture, 56, np.random.default_rng(3))).all()


@pytest.mark.parametrize(
    "wrong", [{"blocks": 0}, {"blocks": 18}, {"epochs": 0}, {"image_size": 100}, {"ema": 1.0}, {"learning_rate": 0}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        replace(OPTIONS, **wrong)


def test_missing_images_and_weights_are_refused(data: Data, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="training image"):
        tune(data._replace(pictures=[], labels=np.array([], np.int64)), tmp_path)
    with pytest.raises(DatasetError, match="label"):
        tune(data._replace(labels=data.labels + 1), tmp_path)
    with pytest.raises(BackboneError, match="needs MobileNetV2 weights"):
        tune(data._replace(weights=tmp_path / "none.weights.h5"), tmp_path)
