"""How people name the folders of a split: a vocabulary, in any case and with any separator."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final, Literal

Split = Literal["train", "validation", "test"]

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train", "trains", "training", "trainings", "trn", "trainval"),
    "validation": ("val", "vals", "valid", "validate", "validating", "validation", "validations", "dev", "devel"),
    "test": ("test", "tests", "testing", "tst", "heldout", "holdout"),
}
_EVALUATION: Final = ("eval", "evals", "evaluate", "evaluation")
_SPLIT_OF: Final[dict[str, Split]] = {
    **{word: split for split, words in _WORDS.items() for word in words},
    **dict.fromkeys(_EVALUATION, "test"),
}
_NEUTRAL: Final = _words(
    "set sets data dataset datasets image images imgs img picture pictures pics pic photo photos folder folders dir "
    "directory directories split splits file files seg subset subsets the my our new final raw full all small large "
    "jpg jpeg png resized cropped original originals aug augmented balanced real public private out held hold "
    "class classes classification"
)
"""Words beside a split's that say nothing about the class: `train_images`, `hold-out set`."""

_WRAPPERS: Final = _words("archive download downloads repo main master input inputs root content base kaggle")
_STRAY: Final = _words(
    "single predict prediction predictions pred preds sample samples example examples unlabelled unlabeled unlabel "
    "unsup unsupervised submission submissions inference infer demo demos doc docs documentation asset assets figure "
    "figures screenshot screenshots result results output outputs notebook notebooks src code script scripts "
    "meta metadata misc logs trash deleted backup"
)
_VARIANTS: Final = _words(
    "original originals augmented augmentation augmentations aug raw processed preprocessed resized cropped flipped "
    "rotated color colour grayscale greyscale gray grey segmented normalized normalised clean cleaned"
)
_GROUPS: Final = _words(
    "fold folds kfold cv part parts partition batch chunk shard session run day week camera cam site round"
)
_IMAGES: Final = _words("image images img imgs picture pictures photo photos jpegimages")
_LABELS: Final = _words(
    "label labels mask masks annotation annotations annots annot bbox bboxes xml xmls trimaps groundtruth segmentation "
    "segmentations"
)
_PIECES: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_JOINED: Final = re.compile(
    r"(train|training|test|testing|val|valid|validation|dev|eval|evaluation)"
    r"(set|sets|data|dataset|image|images|img|imgs|pics|pictures|photos|folder|dir|files|split)"
)
_YEARS: Final = re.compile(r"(19|20)\d\d([-_.]?\d\d){0,2}")


@cache
def words_of(name: str) -> tuple[str, ...]:
    """Split a folder's name into words in lower case: `01_TrainSet` is 01, train, set."""
    found: list[str] = []
    for piece in _PIECES.findall(unicodedata.normalize("NFC", name)):
        joined = _JOINED.fullmatch(piece.lower())
        found.extend(joined.groups() if joined else [piece.casefold()])
    return tuple(found)


def split_of(name: str) -> Split | None:
    """Return the split that a folder's name names; None if none, or more than one: `train_test_split`."""
    words = words_of(name)
    named = {_SPLIT_OF[word] for word in words if word in _SPLIT_OF}
    if {"held", "out"} <= set(words) or {"hold", "out"} <= set(words):
        named.add("test")
    if named == {"train", "validation"} and "test" not in words:
        return "train"  # train_val: what is trained on and chosen with
    return next(iter(named)) if len(named) == 1 else None


def is_evaluation(name: str) -> bool:
    """Tell whether the split is named `eval` or the like: validation where another folder is the test split."""
    return any(word in _EVALUATION for word in words_of(name))


def rest_of(name: str) -> tuple[str, ...]:
    """Return the words of a split's folder that are neither a split's, neutral, nor numbers: cats of `train_cats`."""
    return tuple(w for w in words_of(name) if w not in _SPLIT_OF and w not in _NEUTRAL and not w.isdigit())


def rest_label(name: str) -> str:
    """Return the same words as they are written, as a class's name."""
    rest = set(rest_of(name))
    return "_".join(piece for piece in _PIECES.findall(name) if piece.casefold() in rest)


def is_stray(name: str) -> bool:
    """Tell whether a folder is named like what lies beside splits: `single_prediction`, `sample_images`, `docs`."""
    return _made_of(name, _STRAY, _STRAY | _NEUTRAL)


def is_wrapper(name: str) -> bool:
    """Tell whether a folder is named like one that holds a whole data set: `dataset`, `images`, `repo-main`."""
    return _made_of(name, _NEUTRAL | _WRAPPERS, _NEUTRAL | _WRAPPERS)


def is_variant(name: str) -> bool:
    """Tell whether a folder is named like a version of the same images (`augmented`) or a date (`2020`)."""
    return bool(_YEARS.fullmatch(name)) or _made_of(name, _VARIANTS, _VARIANTS | _NEUTRAL)


def is_date(name: str) -> bool:
    """Tell whether a folder is named like a year, a month or a day."""
    return bool(_YEARS.fullmatch(name))


def is_group(name: str) -> bool:
    """Tell whether a folder is named like one of several parts: `fold_0`, `batch-3`, `session1`."""
    words = words_of(name)
    numbered = len(words) > 1 and all(word.isdigit() or len(word) == 1 for word in words[1:])
    return numbered and words[0] in _GROUPS


def stem_of(name: str) -> tuple[str, ...]:
    """Return a name's words without its numbers: patient of `patient_012`; none if it has no number."""
    words = words_of(name)
    return tuple(word for word in words if not word.isdigit()) if any(map(str.isdigit, words)) else ()


def is_images(name: str) -> bool:
    """Tell whether a folder is named like the images of a data set that has labels in another."""
    return bool(words_of(name)) and words_of(name)[-1] in _IMAGES


def is_labels(name: str) -> bool:
    """Tell whether a folder is named like the labels or masks of a data set."""
    return bool(words_of(name)) and words_of(name)[-1] in _LABELS


def folded(name: str) -> str:
    """Return a name as it is compared: NFC, without case and outer spaces."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def parse_split_names(texts: Iterable[str]) -> Mapping[str, Split | None]:
    """Read `train=foo,test=bar` into what each folder is; `skip=foo` passes one over, which is None.

    Raises:
        ValueError: another form, or a folder named twice; says what is allowed.
    """
    kinds: dict[str, Split | None] = {"train": "train", "test": "test", "skip": None}
    kinds |= dict.fromkeys(("validation", "val", "valid"), "validation")
    named: dict[str, Split | None] = {}
    for part in (part for text in texts for part in text.split(",") if part.strip()):
        kind, equals, folder = part.partition("=")
        key = folded(folder.strip().strip("/"))
        if not equals or not key or kind.strip().casefold() not in kinds:
            raise ValueError(
                f"--split-names takes SPLIT=FOLDER pairs such as train=foo,test=bar, with train, validation, test or "
                f"skip on the left; {part.strip()!r} isn't one."
            )
        split = kinds[kind.strip().casefold()]
        if named.setdefault(key, split) != split:
            raise ValueError(f"--split-names names the folder {folder.strip()!r} twice.")
    return named


def _made_of(name: str, needed: frozenset[str], allowed: frozenset[str]) -> bool:
    words = words_of(name)
    return bool(needed & set(words)) and all(word in allowed or word.isdigit() for word in words)
