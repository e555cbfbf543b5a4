import json
import shutil
from pathlib import Path

import pytest
from drawing import write_dataset, write_pictures

from catdog.data import dataset
from catdog.data.layout.reading import Layout
from catdog.errors import BackboneError, CatdogError, DatasetError
from catdog.model.finetune.options import FineTuneOptions
from catdog.prediction.predictor import Predictor
from catdog.registry.starter import ensure_champion
from catdog.registry.store import ModelStore
from catdog.retraining.dataset import select
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings
from catdog.storage.database import open_database
from catdog.training.backbones import parse_fine_tuning
from catdog.training.pipeline import TrainOptions, train

FAST = {"views": 1, "epochs": 2, "batch": 16}


def test_training_separates_drawn_cats_from_dogs(trained: Settings) -> None:
    version = ModelStore(trained.models_dir).get()
    metrics = version.metadata["metrics"]
    assert version.classes == ("cats", "dogs")
    assert metrics["n"] == 20
    assert metrics["accuracy"] >= 0.9
    images = version.metadata["images"]
    assert (images["train"], images["test"], images["rejected"], images["duplicates"]) == (60, 20, 0, 0)
    assert 4 <= images["validation"] < 20


def test_a_version_has_the_documented_contents(trained: Settings) -> None:
    version = ModelStore(trained.models_dir).get(1)
    names = {path.name for path in version.path.iterdir()}
    assert names == {
        "head.npz",
        "novelty.npz",
        "replay.npz",
        "head.keras",
        "metadata.json",
        "manifest.csv",
        "report.html",
        "assessment.json",
    }
    assert {path.name for path in version.backbone_path.iterdir()} == {
        "backbone.xml",
        "backbone.bin",
        "backbone.weights.h5",
        "backbone.json",
    }


def test_a_second_training_embeds_only_new_images(home: Settings, weights: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "pets")
    first = train(data, home, TrainOptions(backbone=str(weights), **FAST))
    assert first.embedded == 0  # the same bytes as `drawn`, whatever folder they lie in
    write_pictures(data / "train" / "cats", "cat", 7, first=500)
    second = train(data, home, TrainOptions(backbone=str(weights), **FAST))
    assert second.embedded == 7
    third = train(data, home, TrainOptions(backbone=str(weights), **FAST))
    assert third.embedded == 0
    assert (first.version.number, second.version.number, third.version.number) == (2, 3, 4)


def test_more_views_embed_only_what_is_missing(home: Settings, drawn: Path, weights: Path) -> None:
    seen = []
    train(
        drawn,
        home,
        TrainOptions(backbone=str(weights), views=3, epochs=1, batch=16),
        lambda stage, done, total: seen.append((stage, done, total)),
    )
    stages = [stage for stage, _, _ in seen]
    assert sorted(set(stages), key=stages.index) == ["import", "embed", "fit", "evaluate"]
    assert all(0 <= done <= total for _, done, total in seen)


@pytest.mark.slow
def test_the_same_seed_and_data_give_the_same_head(home: Settings, drawn: Path, weights: Path) -> None:
    options = TrainOptions(backbone=str(weights), seed=3, **FAST)
    heads = [train(drawn, home, options).version.load_head() for _ in range(2)]
    for name in vars(heads[0]):
        assert (getattr(heads[0], name) == getattr(heads[1], name)).all()
    other = train(drawn, home, TrainOptions(backbone=str(weights), seed=4, **FAST)).version.load_head()
    assert (other.hidden_weights != heads[0].hidden_weights).any()


@pytest.mark.parametrize("counts", [{"cats": 9, "dogs": 30}, {"cats": 30}])
def test_too_little_data_is_refused_and_nothing_is_written(
    settings: Settings, weights: Path, tmp_path: Path, counts: dict[str, int]
) -> None:
    for name, count in counts.items():
        write_pictures(tmp_path / "few" / name, name.rstrip("s"), count)
    with pytest.raises(DatasetError, match=r"At least \d+ .* Found in .*: cats: \d+"):
        train(tmp_path / "few", settings, TrainOptions(backbone=str(weights)))
    assert not settings.home.exists()


def test_an_unknown_backbone_is_refused(settings: Settings, drawn: Path) -> None:
    with pytest.raises(BackboneError, match="Unknown backbone 'resnet'"):
        train(drawn, settings, TrainOptions(backbone="resnet"))


def test_the_backbone_of_a_version_can_be_used_again(home: Settings, drawn: Path) -> None:
    result = train(drawn, home, TrainOptions(backbone="1", **FAST))
    assert result.embedded == 0
    assert result.version.metadata["backbone"] == ModelStore(home.models_dir).get(1).metadata["backbone"]


def test_limit_bounds_training_images_per_class(home: Settings, drawn: Path, weights: Path) -> None:
    result = train(drawn, home, TrainOptions(backbone=str(weights), limit=5, **FAST))
    assert result.version.metadata["data"]["counts"]["train"] == {"cats": 5, "dogs": 5}
    assert result.images["test"] == 20


@pytest.mark.slow
def test_a_trial_is_promoted_only_on_request(home: Settings, drawn: Path, weights: Path) -> None:
    tried = train(drawn, home, TrainOptions(backbone=str(weights), limit=5, **FAST))
    assert (tried.promoted, ModelStore(home.models_dir).champion()) == (False, 1)
    assert f"--limit); to use it, run `catdog models promote {tried.version.number}`" in tried.reason
    meant = train(drawn, home, TrainOptions(backbone=str(weights), limit=5, promote=True, **FAST))
    assert (meant.promoted, ModelStore(home.models_dir).champion()) == (True, meant.version.number)


@pytest.mark.slow
def test_a_trial_leaves_the_bundled_model_in_use(settings: Settings, drawn: Path, weights: Path) -> None:
    first = train(drawn, settings, TrainOptions(backbone=str(weights), limit=5, **FAST))
    assert not first.promoted
    ensure_champion(settings.models_dir)
    store = ModelStore(settings.models_dir)
    assert store.champion() == first.version.number + 1
    assert store.history()[-1].reason == "the bundled model"


@pytest.mark.slow
@pytest.mark.parametrize("why", ["too little", "backbone"])
def test_a_refused_archive_leaves_no_image(
    settings: Settings, drawn: Path, weights: Path, tmp_path: Path, why: str
) -> None:
    write_pictures(tmp_path / "few" / "cats", "cat", 3)
    write_pictures(tmp_path / "few" / "birds", "dog", 3)
    refused = Path(
        shutil.make_archive(str(tmp_path / "few"), "zip", tmp_path / "few" if why == "too little" else drawn)
    )
    with pytest.raises(CatdogError):
        train(refused, settings, TrainOptions(backbone="no such" if why == "backbone" else str(weights), **FAST))
    assert list(settings.home.rglob("*.jpg")) == []
    archive = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", drawn))
    assert train(archive, settings, TrainOptions(backbone=str(weights), **FAST)).version.classes == ("cats", "dogs")


@pytest.mark.slow
def test_a_worse_version_is_kept_but_not_promoted(home: Settings, weights: Path) -> None:
    # Trained on swapped labels, tested on right ones: wrong nearly always.
    data = home.home / "swapped"
    write_pictures(data / "train" / "cats", "dog", 30)
    write_pictures(data / "train" / "dogs", "cat", 30)
    for animal in ("cat", "dog"):
        write_pictures(data / "test" / f"{animal}s", animal, 10, first=10_000)
    result = train(data, home, TrainOptions(backbone=str(weights), epochs=60, views=1, batch=4))
    assert not result.promoted
    assert "significantly worse than version 1" in result.reason
    assert ModelStore(home.models_dir).champion() == 1
    forced = train(data, home, TrainOptions(backbone=str(weights), promote=True, **FAST))
    assert ModelStore(home.models_dir).champion() == forced.version.number


def test_no_promote_leaves_the_champion(home: Settings, drawn: Path, weights: Path) -> None:
    result = train(drawn, home, TrainOptions(backbone=str(weights), promote=False, **FAST))
    assert not result.promoted
    assert ModelStore(home.models_dir).champion() == 1


def test_other_classes_do_not_replace_the_champion(home: Settings, weights: Path, tmp_path: Path) -> None:
    for name, animal in (("siamese", "cat"), ("beagle", "dog"), ("tabby", "cat2")):
        write_pictures(tmp_path / "breeds" / name, animal, 12)
    result = train(tmp_path / "breeds", home, TrainOptions(backbone=str(weights), **FAST))
    assert not result.promoted
    assert "other classes" in result.reason
    assert result.version.classes == ("beagle", "siamese", "tabby")
    assert result.metrics["n"] >= 6  # held out by hash, since the data has no test folder


def test_an_archive_is_imported_first(home: Settings, drawn: Path, weights: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", drawn))
    result = train(archive, home, TrainOptions(backbone=str(weights), **FAST))
    assert result.images["train"] == 60
    assert len(list((home.data_dir / "train" / "cats").glob("*.jpg"))) == 30


def test_how_the_folders_were_read_is_kept_and_a_retraining_reads_them_so(
    home: Settings, weights: Path, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "pets")
    (data / "train").rename(data / "foo")
    (data / "test").rename(data / "bar")
    said = Layout.parse("splits/classes", ["train=foo", "test=bar"])
    result = train(data, home, TrainOptions(backbone=str(weights), promote=True, layout=said, **FAST))
    assert result.version.classes == ("cats", "dogs")
    assert result.images["test"] == 20
    base = select(Uploads(home, open_database(home))).base
    assert sorted((p.path.parts[-3], p.split) for p in base if p.split == "test") == [("bar", "test")] * 20
    assert len(base) == 80


def test_an_archive_is_read_with_the_given_layout(home: Settings, weights: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "pets")
    for split in ("train", "test"):
        (data / split).rename(data / f"{split}ing day")
    archive = Path(shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path, "pets"))
    said = Layout.parse(None, ["train=testing day", "skip=training day"])
    result = train(archive, home, TrainOptions(backbone=str(weights), layout=said, **FAST))
    assert sum(result.images[split] for split in ("train", "test")) == 20
    assert any("--split-names" in remark for remark in result.as_dict()["remarks"])


def test_classes_that_are_named_like_splits_are_trained_on_when_stated(
    home: Settings, weights: Path, tmp_path: Path
) -> None:
    for i, name in enumerate(("training day", "testing day")):
        write_pictures(tmp_path / "films" / name, "cat", 12, first=700 + 20 * i)
    archive = Path(shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path, "films"))
    result = train(archive, home, TrainOptions(backbone=str(weights), layout=Layout.parse("classes"), **FAST))
    assert result.version.classes == ("testing day", "training day")


@pytest.mark.slow
def test_interrupting_keeps_what_was_computed(
    settings: Settings, drawn: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catdog.features.embedding.FLUSH_EVERY", 8)

    def interrupt(stage: str, done: int, _total: int) -> None:
        if stage == "embed" and done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(drawn, settings, TrainOptions(backbone=str(weights), **FAST), interrupt)
    assert ModelStore(settings.models_dir).numbers() == []
    again = train(drawn, settings, TrainOptions(backbone=str(weights), **FAST))
    assert again.embedded == 80 - 20


def test_the_result_is_a_document(home: Settings, drawn: Path, weights: Path) -> None:
    (home.home / "junk.txt").write_text("x")
    document = json.loads(json.dumps(train(drawn, home, TrainOptions(backbone=str(weights), **FAST)).as_dict()))
    assert {"version", "promoted", "images", "seconds", "metrics"} <= document.keys()
    assert {"train", "test", "rejected", "duplicates"} <= document["images"].keys()
    assert {"import", "embed", "fit", "evaluate", "total"} == document["seconds"].keys()


@pytest.mark.slow
@pytest.mark.shared
def test_real_photographs_reach_the_promised_accuracy_on_a_share(settings: Settings, shared: Path) -> None:
    weights = shared / "weights" / "mobilenet_v2_imagenet_no_top.weights.h5"
    options = TrainOptions(backbone=str(weights), views=1, limit=400)
    result = train(shared / "cat-and-dog", settings, options)
    assert result.metrics["n"] > 950
    assert result.metrics["accuracy"] > 0.97
    assert result.images["rejected"] == 0  # a stray _DS_Store in each class folder is passed over
    assert dataset.read_folder(shared / "cat-and-dog" / "test", settings).manifest.classes == ("cats", "dogs")


@pytest.mark.slow
def test_the_backbone_can_be_tuned_first(home: Settings, drawn: Path, weights: Path) -> None:
    tuning = FineTuneOptions(blocks=1, epochs=1, batch_size=16, image_size=32, teacher_share=0.0)
    seen = []
    result = train(
        drawn,
        home,
        TrainOptions(backbone=str(weights), fine_tune=tuning, **FAST),
        lambda stage, done, total: seen.append((stage, done, total)),
    )
    before, after = (ModelStore(home.models_dir).get(number) for number in (1, result.version.number))
    assert after.metadata["backbone"] != before.metadata["backbone"]
    assert after.metadata["image_size"] == before.metadata["image_size"] == 224
    assert after.metadata["parameters"]["fine_tune"]["blocks"] == 1
    assert result.seconds["fine_tune"] > 0
    assert result.embedded == 80  # features of another backbone
    assert ("fine_tune", 3, 3) in seen
    assert Predictor(result.version, settings=home).predict(sorted(drawn.rglob("*.jpg"))[0]).model_version == 2


@pytest.mark.parametrize(("layers", "blocks"), [("all", None), ("3", 3)])
def test_fine_tune_values_are_parsed(layers: str, blocks: int | None) -> None:
    options = parse_fine_tuning(layers, 7, 1, 256)
    assert options is not None
    assert (options.blocks, options.epochs, options.seed, options.image_size) == (blocks, 7, 1, 224)
    assert parse_fine_tuning(None, 7, 1, 224) is None


@pytest.mark.parametrize("layers", ["none", "0", "18", "-1", ""])
def test_invalid_values_for_fine_tune_are_refused(layers: str) -> None:
    with pytest.raises(BackboneError, match=r"`all` or a number of blocks from 1 to 17"):
        parse_fine_tuning(layers, 5, 42, 224)
