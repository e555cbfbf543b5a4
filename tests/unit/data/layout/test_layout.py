"""How trees of folders from the wild are read, by names only."""

import unicodedata
from collections.abc import Iterable
from typing import Literal

import pytest

from catdog.data.layout.reading import Layout, Reading, read_layout
from catdog.data.layout.split_words import split_of
from catdog.data.layout.view import lines, rows
from catdog.data.layout.vocabulary import SPLIT_OF
from catdog.errors import DatasetError

PETS = ("cats", "dogs")
Expected = dict[str, set[str]]
"""Classes with files by split; "" if there is no split."""


def tree(*branches: str) -> list[str]:
    """Expand `{train,test}/{cats,dogs}` to three files in each folder; `x/` is an empty folder."""
    files: list[str] = []
    for branch in branches:
        if branch.endswith("/"):
            files.append(branch)
        else:
            files += [f"{folder}/{i}.jpg" for folder in expand(branch) for i in range(3)]
    return files


def expand(pattern: str) -> list[str]:
    before, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    inner, _, after = rest.partition("}")
    return [f"{before}{choice}{end}" for choice in inner.split(",") for end in expand(after)]


def read(names: Iterable[str], layout: str | None = None, *split_names: str) -> Reading:
    files = [tuple(name.split("/")) for name in names if not name.endswith("/")]
    folders = [tuple(name.strip("/").split("/")) for name in names if name.endswith("/")]
    return read_layout(files, folders, Layout.parse(layout, split_names))


def found(reading: Reading) -> Expected:
    result: Expected = {}
    for place in reading.places.values():
        result.setdefault(place.split or "", set()).add(place.folder)
    return result


def passed_over(reading: Reading) -> set[str]:
    return {"/".join(parts) for parts, role in reading.roles.items() if role.kind == "passed over"}


def classes(*splits: str, of: Iterable[str] = PETS) -> Expected:
    return {split: set(of) for split in splits}


TREES: dict[str, tuple[list[str], Expected]] = {
    "classes alone": (tree("{cats,dogs}"), classes("")),
    "one class alone": (tree("cats"), classes("", of=["cats"])),
    "splits": (tree("{train,test}/{cats,dogs}"), classes("train", "test")),
    "three splits": (tree("{train,val,test}/{cats,dogs}"), classes("train", "validation", "test")),
    "one split": (tree("test/{cats,dogs}"), classes("test")),
    "one split, one class": (tree("test/cats"), classes("test", of=["cats"])),
    "upper case": (tree("{TRAIN,Test}/{cats,dogs}"), classes("train", "test")),
    "Keras": (tree("{train,validation}/{cats,dogs}"), classes("train", "validation")),
    "Roboflow": (
        ["README.dataset", *tree("{train,valid,test}/{cats,dogs}")],
        classes("train", "validation", "test"),
    ),
    "Kaggle's doubled folders": (
        tree("training_set/training_set/{cats,dogs}", "test_set/test_set/{cats,dogs}"),
        classes("train", "test"),
    ),
    "Intel": (
        tree("seg_train/seg_train/{sea,forest}", "seg_test/seg_test/{sea,forest}", "seg_pred/seg_pred"),
        classes("train", "test", of=["sea", "forest"]),
    ),
    "Intel, flat": (tree("{seg_train,seg_test}/{sea,forest}"), classes("train", "test", of=["sea", "forest"])),
    "data as a suffix": (
        tree("{train_data,test_data,val_data}/{cats,dogs}"),
        classes("train", "test", "validation"),
    ),
    "words with a space": (tree("{Training Data,Testing Data}/{cats,dogs}"), classes("train", "test")),
    "images as a suffix": (tree("{train-images,test-images}/{cats,dogs}"), classes("train", "test")),
    "joined words": (tree("{traindata,testset,valset}/{cats,dogs}"), classes("train", "test", "validation")),
    "camel case": (tree("{trainSet,testSet}/{cats,dogs}"), classes("train", "test")),
    "the data set's name before": (tree("{pets_train,pets_test}/{cats,dogs}"), classes("train", "test")),
    "the data set's name and dots": (tree("{pets.v1.train,pets.v1.test}/{cats,dogs}"), classes("train", "test")),
    "numbered": (tree("{01_train,02_val,03_test}/{cats,dogs}"), classes("train", "validation", "test")),
    "numbers behind": (tree("{train2017,val2017}/{cats,dogs}"), classes("train", "validation")),
    "brackets": (tree("{(train),[test]}/{cats,dogs}"), classes("train", "test")),
    "plurals": (tree("{trainings,validations,tests}/{cats,dogs}"), classes("train", "validation", "test")),
    "eval is the test split": (tree("{train,eval}/{cats,dogs}"), classes("train", "test")),
    "evaluation": (tree("{training,evaluation}/{cats,dogs}"), classes("train", "test")),
    "eval beside test": (tree("{train,eval,test}/{cats,dogs}"), classes("train", "validation", "test")),
    "holdout": (tree("{train,holdout}/{cats,dogs}"), classes("train", "test")),
    "hold-out set": (tree("{train set,hold-out set}/{cats,dogs}"), classes("train", "test")),
    "dev": (tree("{train,dev,test}/{cats,dogs}"), classes("train", "validation", "test")),
    "validate": (tree("{train,validate}/{cats,dogs}"), classes("train", "validation")),
    "train_val": (tree("{train_val,test}/{cats,dogs}"), classes("train", "test")),
    "one wrapper": (tree("PetImages/{Cat,Dog}"), classes("", of=["Cat", "Dog"])),
    "two wrappers": (tree("petimages/PetImages/{Cat,Dog}"), classes("", of=["Cat", "Dog"])),
    "the same wrapper twice": (tree("dataset/dataset/{cats,dogs}"), classes("")),
    "five wrappers": (tree("a/b/c/d/e/{cats,dogs}"), classes("")),
    "a drive of Windows": (tree("C_/pets/{cats,dogs}"), classes("")),
    "a repository": (tree("repo-main/images/{cats,dogs}", "repo-main/docs"), classes("")),
    "a repository with more": (
        tree("repo-main/data/{train,test}/{cats,dogs}", "repo-main/{src,assets}"),
        classes("train", "test"),
    ),
    "wrapped splits": (
        tree("chest_xray/{train,test,val}/{ill,well}"),
        classes("train", "test", "validation", of=["ill", "well"]),
    ),
    "the data set again beside its splits": (
        tree("xray/{train,test}/{ill,well}", "xray/xray/{train,test}/{ill,well}"),
        classes("train", "test", of=["ill", "well"]),
    ),
    "a wrapper named like a split": (tree("train_test_split/{train,test}/{cats,dogs}"), classes("train", "test")),
    "a split's name around all splits": (tree("training/{train,test}/{cats,dogs}"), classes("train", "test")),
    "wrappers within splits": (tree("{train,test}/images/{cats,dogs}"), classes("train", "test")),
    "stray images in a wrapper": (
        ["PetImages/cover.jpg", *tree("PetImages/{Cat,Dog}")],
        classes("", of=["Cat", "Dog"]),
    ),
    "a folder to predict on": (
        tree("dataset/{training_set,test_set}/{cats,dogs}", "dataset/single_prediction"),
        classes("train", "test"),
    ),
    "samples": (tree("{train,test}/{cats,dogs}", "sample_images"), classes("train", "test")),
    "several strays": (tree("{train,test}/{cats,dogs}", "{docs,unlabelled,Figures}"), classes("train", "test")),
    "an unlabelled test folder": (tree("train/{cats,dogs}", "test"), classes("train")),
    "an unlabelled test1": (tree("train/{cats,dogs}", "test1"), classes("train")),
    "an unlabelled test folder, doubled": (tree("train/{cats,dogs}", "test/test"), classes("train")),
    "strays around the only split": (tree("train/{cats,dogs}", "sample", "predict"), classes("train")),
    "a class beside the splits": (tree("test/{cats,dogs}", "{cats,dogs}"), classes("test", "")),
    "classes first": (tree("{cats,dogs}/{train,test}"), classes("train", "test")),
    "classes first, wrapped": (tree("pets/{cats,dogs}/{Training,Validation}"), classes("train", "validation")),
    "split and class in one name": (tree("{train,test}_{cats,dogs}"), classes("train", "test")),
    "split and class, the other way": (tree("{cats,dogs}-{train,val}"), classes("train", "validation")),
    "domains": (tree("{trainA,trainB,testA,testB}"), classes("train", "test", of="AB")),
    "folds": (tree("fold_{0,1,2}/{cats,dogs}"), classes("")),
    "folds in words": (tree("{Fold 1,Fold 2}/{cats,dogs}"), classes("")),
    "folds of splits": (tree("fold{1,2}/{train,test}/{cats,dogs}"), classes("train", "test")),
    "parts in a split": (tree("train/part{1,2}/{cats,dogs}", "test/{cats,dogs}"), classes("train", "test")),
    "years around classes": (tree("{2019,2020}/{cats,dogs}"), classes("")),
    "versions around classes": (tree("{original,augmented}/{cats,dogs}"), classes("")),
    "versions of many classes": (tree("{color,grayscale,segmented}/{a,b,c,d,e}"), classes("", of="abcde")),
    "versions around splits": (tree("{raw,augmented}/{train,test}/{cats,dogs}"), classes("train", "test")),
    "versions within classes": (
        tree("train/{cats,dogs}/{original,augmented}", "test/{cats,dogs}"),
        classes("train", "test"),
    ),
    "dates within classes": (tree("{cats,dogs}/{2019,2020}/{05,06}"), classes("")),
    "dates within one class": (tree("cats/2020/{05,06}"), classes("", of=["cats"])),
    "the same folders within classes": (tree("{cats,dogs}/{young,old}"), classes("")),
    "two levels of classes": (tree("cats/{siamese,persian}", "dogs/{beagle,boxer}"), classes("")),
    "two levels and images between": (tree("cats", "cats/siamese", "dogs", "dogs/beagle"), classes("")),
    "one level around": (tree("animals/{cats,dogs}"), classes("")),
    "numbers": (tree("{0,1,2,10}"), classes("", of=["0", "1", "2", "10"])),
    "numbers in splits": (tree("{train,test}/{0,1,2}"), classes("train", "test", of="012")),
    "a class called test": (tree("{test,control}"), classes("", of=["test", "control"])),
    "a class called train": (tree("{train,car,ship}"), classes("", of=["train", "car", "ship"])),
    "a class called train in splits": (tree("{train,test}/{train,car}"), classes("train", "test", of=["train", "car"])),
    "a class called train with folders": (
        tree("train/{steam,diesel}", "car/{red,blue,green}", "ship"),
        classes("", of=["train", "car", "ship"]),
    ),
    "valid and invalid": (tree("{valid,invalid}"), classes("", of=["valid", "invalid"])),
    "words of splits in names of classes": (
        tree("{bullet_train,test_tube}"),
        classes("", of=["bullet_train", "test_tube"]),
    ),
    "masks as classes": (tree("{with_mask,without_mask}"), classes("", of=["with_mask", "without_mask"])),
    "Food-101": (["meta/", *tree("food-101/images/{pie,soup}"), "food-101/meta/"], classes("", of=["pie", "soup"])),
    "a class in the test split only": (
        tree("train/{cats,dogs}", "test/{cats,dogs,birds}"),
        {**classes("train"), "test": {*PETS, "birds"}},
    ),
    "one class of several in a split": (
        tree("train/{cats,dogs}", "test/cats/{a,b}"),
        {**classes("train"), "test": {"cats"}},
    ),
    "dogs against cats": (
        [f"train/{c}.{i}.jpg" for c in ("cat", "dog") for i in range(9)],
        classes("train", of=["cat", "dog"]),
    ),
    "dogs against cats, with a test folder": (
        [*(f"train/train/{c}.{i}.jpg" for c in ("cat", "dog") for i in range(9)), *tree("test1/test1")],
        classes("train", of=["cat", "dog"]),
    ),
    "Oxford's pets": (
        [f"images/{c}_{i}.jpg" for c in ("Abyssinian", "american_bulldog") for i in range(9)] + ["annotations/"],
        classes("", of=["Abyssinian", "american_bulldog"]),
    ),
    "names with numbers in brackets": (
        [f"{c} ({i}).jpg" for c in ("cat", "dog") for i in range(9)],
        classes("", of=["cat", "dog"]),
    ),
    "labels beside images of classes": (tree("images/{cats,dogs}", "labels/{cats,dogs}"), classes("")),
    "spellings in two splits": (
        tree("train/{Cats,Dogs}", "test/{cats,DOGS}"),
        classes("train", "test", of=["Cats", "Dogs"]),
    ),
    "spellings side by side": (tree("{train,test}/{A,a}"), classes("train", "test", of="Aa")),
    "composed and decomposed": (
        tree("train/{caf\u00e9,the}", "test/{cafe\u0301,the}"),
        classes("train", "test", of=["caf\u00e9", "the"]),
    ),
    "spaces and dots at the end": (tree("train/{cats,dogs}", "test/{cats ,dogs.}"), classes("train", "test")),
    "not UTF-8": (tree("{caf\udce9,dogs}"), classes("", of=["caf\u00e9", "dogs"])),
    "the classes again beside them": (
        tree("PlantVillage/{ill,well}", "PlantVillage/PlantVillage/{ill,well}"),
        classes("", of=["ill", "well"]),
    ),
    "a training split without a name": (tree("rps/rps/{rock,paper}", "rps-test-set/rps-test-set/{rock,paper}"),
        classes("train", "test", of=["rock", "paper"])),
    "development and holdout": (tree("{development,holdout}/{cats,dogs}"), classes("train", "test")),
    "patients": (tree("patient_{1,2,3}/{benign,malignant}"), classes("", of=["benign", "malignant"])),
    "classes first, but for one": (
        tree("{cats,dogs}/{train,val}", "birds"),
        {**classes("train", "validation"), "": {"birds"}},
    ),
    "images and their segmentations": (tree("CUB/{images,segmentations}/{cats,dogs}"), classes("")),
    "two training folders": (tree("{train_1,train_2,test}/{cats,dogs}"), classes("train", "test")),
    "copies of folders": (tree("{train,train - Copy,test (1)}/{cats,dogs}"), classes("train", "test")),
    "an unknown name beside the training split": (tree("{Training,Quiz}/{cats,dogs}"), classes("train")),
    "an unknown name beside two splits": (tree("{train,test,Quiz}/{cats,dogs}"), classes("train", "test")),
    "pairs of short names": (tree("{tr,va,te}/{cats,dogs}"), classes("train", "validation", "test")),
    "pairs of short names, with digits": (tree("{tr,te}/{0,1,2,3}"), classes("train", "test", of="0123")),
    "pairs by parts of names": (tree("{mytrain,mytest}/{cats,dogs}"), classes("train", "test")),
    "pairs by parts of names, with digits": (tree("{xtrain,xtest}/{0,1,2}"), classes("train", "test", of="012")),
    "pairs by parts of names, unlike": (tree("{pettrain1,mytestx}/{cats,dogs}"), classes("train", "test")),
    "three parts of names": (tree("{xtrain,xvalid,xtest}/{a,b}"), classes("train", "validation", "test", of="ab")),
    "generators": (tree("{traindatagen,testdatagen}/{cats,dogs}"), classes("train", "test")),
    "query and gallery": (tree("{query,gallery}/{001,002}"), classes("train", "test", of=["001", "002"])),
    "unknown names around digits": (tree("{foo,bar}/{0,1,2,3}"), classes("", of="0123")),
    "unknown names around padded numbers": (tree("{foo,bar}/{0001,0002,0003}"), classes("", of=["foo", "bar"])),
    "numbers from 1 within classes": (tree("{cats,dogs}/{1,2,3}"), classes("")),
    "patients that have one class each": (
        tree("patient1/benign", "patient2/malignant"),
        classes("", of=["patient1", "patient2"]),
    ),
    "domains of which one split lacks some": (
        tree("train/{web,cam}/{a,b,c}", "test/web/{a,b,c}"),
        classes("train", "test", of="abc"),
    ),
    "breeds in one split only": (tree("train/{cats,dogs}/{x,y,z}", "test/{cats,dogs}"), classes("train", "test")),
    "sessions within classes": (tree("{cats,dogs}/session_{1,2,3}"), classes("")),
    "patients within classes": (tree("{AD,CN}/patient{0,1,2}"), classes("", of=["AD", "CN"])),
    "patients within the classes of splits": (
        tree("train/{AD,CN}/patient{0,1,2}", "test/{AD,CN}/patient{3,4}"),
        classes("train", "test", of=["AD", "CN"]),
    ),
    "other breeds in each split": (
        tree("train/{cats,dogs}/{a,b,c}", "test/{cats,dogs}/{d,e}"),
        classes("train", "test"),
    ),
    "patients that have some of the classes": (
        tree("patient_01/benign", "patient_02/malignant", "patient_03/{benign,malignant}", "patient_04/benign"),
        classes("", of=["benign", "malignant"]),
    ),
    "the classes of one animal divided": (tree("cats/{train,test}", "dogs"), classes("")),
    "a hierarchy": (tree("animals/{cats,dogs}", "vehicles/{car,bus}"), classes("", of=["animals", "vehicles"])),
    "what tools write": (
        tree("{cats,dogs,results,models,runs,logs,checkpoints}", "venv/lib", "node_modules/x"),
        classes(""),
    ),
    "a stray name": (tree("{cats,dogs,docs}"), classes("", of=["cats", "dogs", "docs"])),
    "a copy of the whole": (tree("{data,data - Kopie}/{cats,dogs}"), classes("")),
    "a copy of the splits": (tree("{data,data (1)}/{train,test}/{cats,dogs}"), classes("train", "test")),
    "copies of classes": (tree("{cats,cats - Copy,dogs}"), classes("", of=["cats", "cats - Copy", "dogs"])),
    "the whole again, wrapped": (tree("faces/{fake,real}", "all/faces/{fake,real}"), classes("", of=["fake", "real"])),
    "old and new": (tree("{old,new}/{cats,dogs}"), classes("")),
    "main and backup": (tree("{main,backup}/{cats,dogs}"), classes("")),
    "folds in names of splits": (tree("Fold{0,1,2}_{train,test}/{cats,dogs}"), classes("train", "test")),
    "folds behind splits": (tree("{train,test}_fold_{0,1}/{cats,dogs}"), classes("train", "test")),
    "sets in names of splits": (tree("set{1,2}_{train,test}/{cats,dogs}"), classes("train", "test")),
    "cameras of splits": (tree("{roof,yard}/{train,test}/{cats,dogs}"), classes("train", "test")),
    "letters that aren't shown": (tree("{cats,cats\u200b,dogs}"), classes("", of=["cats", "cats\u200b", "dogs"])),
    "pieces for domain adaptation": (tree("{amazon,webcam}/images/{a,b,c}"), classes("", of="abc")),
    "one split has other classes": (
        tree("train/{cats,dogs}", "test/{a,b}"),
        {**classes("train"), **classes("test", of="ab")},
    ),
    "nothing": ([], {}),
}  # fmt: skip

SPOKEN = [
    *("Trainingsdaten|Testdaten", "Trainingsbilder|Testbilder", "trainieren|testen", "Training|Prüfung", "Lernen|Test"),
    *("Trainingsdatensatz|Validierungsdatensatz", "TRAINIEREN|TESTEN", "01_Training|02_Prüfung", "prüfung|Training"),
    *("apprentissage|essai", "entraînement|test", "entrainement|test", "apprentissage|évaluation"),
    *("Donnees_entrainement|Donnees_test", "entrenamiento|prueba", "addestramento|prova", "treino|teste"),
    *(
        "treinamento|validação",
        "trening|test",
        "обучение|тест",
        "訓練|テスト",
        "学習データ|評価データ",
        "学習用|検証用",
    ),
    *("обучающая выборка|тестовая выборка", "Übung|Test"),
    *("训练集|测试集", "訓練|測試", "训练|验证", "훈련|테스트", "학습데이터|검증"),
]


@pytest.mark.parametrize("below", ["cats,dogs", "0,1,2,3"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("names", SPOKEN)
def test_splits_are_recognised_in_many_languages(names: str, form: Literal["NFC", "NFD"], below: str) -> None:
    one, other = unicodedata.normalize(form, names).split("|")
    reading = found(read(tree(f"{{{one},{other}}}/{{{below}}}")))
    assert "train" in reading
    assert len(reading) == 2
    assert all(split in ("train", "validation", "test") for split in reading)
    assert set().union(*reading.values()) == set(below.split(","))


@pytest.mark.parametrize("word", sorted(SPLIT_OF))
def test_every_word_of_the_vocabulary_is_recognised_alone_and_in_names(word: str) -> None:
    names = (word, word.upper(), f"01_{word}", f"{word} (2)")
    assert [split_of(name) for name in names] == [SPLIT_OF[word]] * len(names)


@pytest.mark.parametrize("names", [*SPOKEN, "tr|te", "mytrain|mytest", "traindatagen|testdatagen", "pettrain|petvalid"])
def test_splits_without_classes_are_rejected_in_any_language(names: str) -> None:
    with pytest.raises(DatasetError, match="look like splits"):
        read(tree(*names.split("|")))


BELOW = [
    *("the same folders within classes", "a hierarchy", "patients within classes"),
    *("patients within the classes of splits", "unknown names around padded numbers"),
]


@pytest.mark.parametrize("name", BELOW)
@pytest.mark.parametrize("wrapper", ["", "archive/", "a/b/"])
def test_the_layout_in_a_remark_reads_the_level_below(name: str, wrapper: str) -> None:
    files = [f"{wrapper}{file}" for file in TREES[name][0]]
    reading = read(files)
    (named,) = {said.split("--layout '")[1].split("'")[0] for said in reading.remarks}
    below = {file.split("/")[-2] for file in files}
    assert set().union(*found(read(files, named)).values()) == below


@pytest.mark.parametrize("name", TREES)
def test_options_in_remarks_are_quoted_for_a_shell(name: str) -> None:
    for said in read(TREES[name][0]).remarks:
        for word in ("--layout ", "--split-names "):
            for rest in said.split(word)[1:]:
                assert rest.startswith("'") or not set(rest.split()[0]) & set("*() ")


@pytest.mark.parametrize("name", TREES)
def test_common_trees(name: str) -> None:
    files, expected = TREES[name]
    assert found(read(files)) == expected


@pytest.mark.parametrize("name", [name for name, (files, _) in TREES.items() if files])
def test_another_wrapper_changes_nothing(name: str) -> None:
    files, expected = TREES[name]
    if name not in ("dates within one class",):
        assert found(read(f"archive/{file}" for file in files)) == expected


REFUSED = {
    "splits without classes": (tree("{train,test}"), "look like splits but have no class folders"),
    "a split without classes": (tree("train"), "train/ looks like splits but has no class folders"),
    "with a folder of samples": (tree("train", "sample_images"), "looks like splits"),
    "with one stray more": (tree("{train,test,other}"), "look like splits"),
    "wrapped": (tree("data/data/{Training Data,Testing Data}"), "look like splits"),
    "doubled": (tree("train/train", "test1/test1"), "look like splits"),
    "names of a camera": ([f"{s}/IMG_{i}.jpg" for s in ("train", "test") for i in range(9)], "look like splits"),
    "YOLO": (tree("{images,labels}/{train,val}"), "object detection"),
    "YOLO, splits first": (tree("{train,valid}/{images,labels}"), "object detection"),
    "YOLO as it is, labels skipped": ([*tree("images/{train,val}"), "labels/train/", "labels/val/"], "object det"),
    "segmentation": (tree("{train,test}/{images,masks}"), "object detection or segmentation"),
    "folds without classes": (tree("fold_{0,1,2}"), "such as folds"),
    "batches": (tree("batch{1,2}"), "parts of one data set"),
    "parts with the data set's name before": (tree("HAM10000_images_part_{1,2}"), "parts of one data set"),
    "numbered images": (tree("images_00{1,2,3}"), "parts of one data set"),
    "classes beside splits without any": (tree("{cats,dogs,birds,train,test}"), "look like splits"),
    "versions": (tree("{original,augmented}"), "versions of the same images"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_folders_without_classes_are_rejected_with_advice(name: str) -> None:
    files, message = REFUSED[name]
    with pytest.raises(DatasetError, match=rf"{message}.*--layout classes"):
        read(files)


def test_labels_next_to_images_are_not_a_class() -> None:
    reading = read(tree("{images,masks}"))
    assert passed_over(reading) == {"masks"}
    assert len(found(reading).get("", set())) < 2


PASSED_OVER = {
    "a folder to predict on": {"dataset/single_prediction"},
    "samples": {"sample_images"},
    "several strays": {"docs", "unlabelled", "Figures"},
    "an unlabelled test folder": {"test"},
    "an unlabelled test1": {"test1"},
    "Intel": {"seg_pred"},
    "the data set again beside its splits": {"xray/xray"},
    "folds of splits": {"fold2"},
    "dogs against cats, with a test folder": {"test1"},
    "labels beside images of classes": {"labels"},
    "a repository": {"repo-main/docs"},
    "what tools write": {"results", "models", "runs", "logs", "checkpoints", "venv", "node_modules"},
    "a copy of the whole": {"data - Kopie"},
    "a copy of the splits": {"data (1)"},
    "the whole again, wrapped": {"all"},
    "folds in names of splits": {f"Fold{i}_{split}" for i in (1, 2) for split in ("train", "test")},
}


@pytest.mark.parametrize("name", PASSED_OVER)
def test_skipped_folders_are_reported(name: str) -> None:
    reading = read(TREES[name][0])
    assert passed_over(reading) == PASSED_OVER[name]
    for folder in PASSED_OVER[name]:
        assert any(remark.startswith(f"{folder}/ is skipped: ") for remark in reading.remarks)
        assert any("skipped, " in line and f"{folder.split('/')[-1]}/" in line for line in lines(reading))
        assert {"folder": folder, "read_as": "passed over"}.items() <= next(
            row for row in rows(reading) if row["folder"] == folder
        ).items()


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("a training split without a name", "rps/ is read as the train split"),
        ("an unknown name beside the training split", "--split-names test=Quiz"),
        ("an unknown name beside two splits", "--split-names validation=Quiz"),
        ("pairs of short names", "--layout classes"),
        ("pairs by parts of names", "--layout classes"),
        ("query and gallery", "--layout classes"),
        ("unknown names around digits", "--layout classes"),
        ("unknown names around padded numbers", "--layout '*/classes'"),
        ("patients that have some of the classes", "--layout classes"),
        ("the classes of one animal divided", "--layout classes/splits"),
        ("a hierarchy", "--layout '*/classes'"),
        ("numbers from 1 within classes", "--layout '*/classes'"),
        ("patients that have one class each", "--layout '*/classes'"),
        ("breeds in one split only", "train/cats/, train/dogs/ have the same subfolders"),
        ("a stray name", "--split-names skip=docs"),
        ("copies of classes", "--split-names 'skip=cats - Copy'"),
        ("old and new", "--layout classes"),
        ("main and backup", "--layout classes"),
        ("sets in names of splits", "are merged"),
        ("cameras of splits", "are merged"),
        ("letters that aren't shown", "differ only in invisible characters"),
        ("the classes again beside them", "contains copies of the folders next to it"),
        ("patients", "--layout classes"),
        ("a class called test", "--split-names skip=test"),
        ("folds", "--layout classes"),
        ("the same folders within classes", "--layout '*/classes'"),
        ("versions of many classes", "--layout classes"),
        ("dogs against cats", "from the file names: cat, dog"),
        ("spellings in two splits", "differ only in case"),
        ("not UTF-8", "isn't UTF-8"),
        ("split and class in one name", "read as split and class"),
        ("words of splits in names of classes", "--split-names skip=test_tube"),
    ],
)
def test_ambiguous_readings_are_reported(name: str, remark: str) -> None:
    assert any(remark in said for said in read(TREES[name][0]).remarks), read(TREES[name][0]).remarks


@pytest.mark.parametrize("name", ["splits", "classes alone", "three splits", "two wrappers", "Intel, flat", "numbers"])
def test_clear_layouts_have_no_remarks(name: str) -> None:
    assert read(TREES[name][0]).remarks == ()


def test_empty_class_folders_are_reported() -> None:
    assert read([*tree("{cats,dogs}"), "birds/"]).remarks == ("Without images: birds/.",)
    reading = read([*tree("{train,test}/{cats,dogs}"), "train/birds/", "test/birds/"])
    assert reading.remarks == ("Without images: test/birds/.", "Without images: train/birds/.")


# What a person says


@pytest.mark.parametrize(
    ("files", "layout", "expected"),
    [
        (tree("{train,test}"), "classes", classes("", of=["train", "test"])),
        (tree("{test,control}/{a,b}"), "classes", classes("", of=["test", "control"])),
        (tree("fold_{0,1}/{cats,dogs}"), "classes", classes("", of=["fold_0", "fold_1"])),
        (tree("{cats,dogs}/{young,old}"), "*/classes", classes("", of=["young", "old"])),
        (tree("cats/{siamese,persian}", "dogs/beagle"), "*/classes", classes("", of=["siamese", "persian", "beagle"])),
        (tree("{train,test}/Fruit/{Kiwi,Lime}", "train/Packages/Milk/{A,B}"), "splits/**/classes",
         {"train": {"Kiwi", "Lime", "A", "B"}, "test": {"Kiwi", "Lime"}}),
        (tree("{train,test}/Fruit/{Kiwi,Lime}", "{train,test}/Veg/Leek"), "splits/*/classes",
         classes("train", "test", of=["Kiwi", "Lime", "Leek"])),
        (tree("{cats,dogs}/{train,test}"), "classes/splits", classes("train", "test")),
        (tree("{cats,dogs}/{train,test}"), "classes", classes("")),
        (tree("wrap/{train,test}/{cats,dogs}"), "splits/classes", classes("train", "test")),
        (tree("{train,test}/{train,test}/{cats,dogs}"), "*/splits/classes", classes("train", "test")),
        ([f"{c}_{i}.jpg" for c in PETS for i in (1, 2)], "names", classes("")),
        ([f"train/x_{i}.jpg" for i in (1, 2)] + ["train/y1.jpg"], "splits/names", classes("train", of="xy")),
    ],
)  # fmt: skip
def test_an_explicit_layout_is_followed(files: list[str], layout: str, expected: Expected) -> None:
    assert found(read(files, layout)) == expected


@pytest.mark.parametrize(
    ("files", "names", "expected"),
    [
        (tree("{foo,bar}/{cats,dogs}"), ["train=foo,test=bar"], classes("train", "test")),
        (tree("{foo,bar,baz}/{cats,dogs}"), ["train=foo", "test=Bar, train=baz/"], classes("train", "test")),
        (tree("{train,test}/{cats,dogs}"), ["validation=test"], classes("train", "validation")),
        (tree("{cats,dogs,test}"), ["skip=test"], classes("")),
        (tree("{train,test,extra}/{cats,dogs}"), ["train=extra"], classes("train", "test")),
        (tree("{train,test}/{cats,dogs}"), ["skip=test"], classes("train")),
    ],
)
def test_explicit_split_names_are_followed(files: list[str], names: list[str], expected: Expected) -> None:
    assert found(read(files, None, *names)) == expected
    if "skip" not in names[0]:
        assert found(read(files, "splits/classes", *names)) == expected


@pytest.mark.parametrize("layout", ["", "class", "splits", "classes/classes", "names/classes", "splits/splits/classes",
                                    "classes/**", "a/b", "splits\\classes"])  # fmt: skip
def test_an_invalid_layout_is_rejected(layout: str) -> None:
    if layout:
        with pytest.raises(ValueError, match="--layout must be one of classes, splits/classes"):
            Layout.parse(layout)
    else:
        assert Layout.parse(layout) == Layout()


@pytest.mark.parametrize("names", ["train", "foo=bar", "train=", "=foo", "train=foo,test=foo", "train==", "train foo"])
def test_invalid_split_names_are_rejected(names: str) -> None:
    with pytest.raises(ValueError, match="--split-names"):
        Layout.parse(None, [names] if names != "train==" else ["train=/"])


def test_a_missing_folder_in_split_names_is_an_error() -> None:
    with pytest.raises(DatasetError, match="don't exist: foo"):
        read(tree("{train,test}/{cats,dogs}"), None, "train=foo")


@pytest.mark.parametrize("layout", ["splits/classes", "*/*/*/classes"])
def test_a_layout_without_matches_is_an_error(layout: str) -> None:
    with pytest.raises(DatasetError, match=r"No images match --layout"):
        read(tree("{cats,dogs}"), layout)


def test_an_explicit_layout_is_stored_and_restored() -> None:
    said = Layout.parse("splits/*/classes", ["train=foo,skip=bar"])
    assert Layout.from_dict(said.as_dict()) == said
    assert Layout().as_dict() == {}
    for damaged in ({"layout": 3}, {"layout": "x"}, {"split_names": 7}, {"split_names": [None]}):
        assert Layout.from_dict(damaged) == Layout()


# What it looks like


def test_the_reading_is_shown_as_a_tree() -> None:
    files = tree("pets/{train,test}/{cats,dogs}", "pets/single_prediction")
    assert lines(read(files)) == [
        "pets/  contains the data set",
        "  single_prediction/  skipped, 3 files: is next to the splits but isn't one",
        "  test/  test split",
        "    cats/  class, 3 files",
        "    dogs/  class, 3 files",
        "  train/  train split",
        "    cats/  class, 3 files",
        "    dogs/  class, 3 files",
    ]


def test_many_classes_are_shown_in_few_lines() -> None:
    drawn = lines(
        read([f"{split}/{i:03}/{j}.jpg" for split in ("train", "test") for i in range(200) for j in range(2)])
    )
    assert len(drawn) == 14
    assert "  … 195 more classes, 390 files" in drawn


def test_names_of_folders_cannot_move_the_cursor() -> None:
    reading = read(tree("{a\nb,c\x1b[2J,d\u202e}", "x"))
    assert "".join(lines(reading)).isprintable()
    assert "a\\nb/  class, 3 files" in lines(reading)


def test_files_outside_class_folders_are_reported() -> None:
    reading = read(["cover.jpg", "PetImages/b.jpg", *tree("PetImages/{Cat,Dog}")])
    assert reading.stray == (("PetImages", "b.jpg"), ("cover.jpg",))


def test_a_deep_tree_is_read() -> None:
    deep = "/".join(["x"] * 1500)
    assert len(read([f"cats/{deep}/1.jpg", f"dogs/{deep}/1.jpg"]).places) == 2
    assert len(read([f"{deep}/{name}/1.jpg" for name in PETS]).places) == 2


def test_large_trees_are_read_quickly() -> None:
    files = [f"{s}/{c:03}/{i}.jpg" for s in ("train", "val", "test") for c in range(300) for i in range(40)]
    reading = read(files)
    assert len(reading.places) == 36_000
    assert found(reading) == classes("train", "validation", "test", of=[f"{c:03}" for c in range(300)])
