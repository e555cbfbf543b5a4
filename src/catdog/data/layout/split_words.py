"""Recognition of folder names such as splits, in any case and with any separator."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import takewhile
from typing import Final

from catdog.data.layout.vocabulary import CONTAINED, ENDINGS, EVALUATION, SCRIPT_ENDINGS, SHORT, SPLIT_OF, Split, words

SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")

_NEUTRAL: Final = words(
    "set sets data dataset datasets image images imgs img picture pictures pics pic photo photos folder folders dir "
    "directory directories split splits file files seg subset subsets the my our new final raw full all small large "
    "jpg jpeg png resized cropped original originals aug augmented balanced real public private out held hold "
    "class classes classification daten datensatz bilder bild satz menge ordner fotos foto aufnahmen donnees datos "
    "dati dados dane gegevens beelden imagenes immagini imagens jeu conjunto zbior "
    "выборка данные набор ds gen datagen generator"
) | frozenset(SCRIPT_ENDINGS)
"""Words next to a split's that aren't part of the class: `train_images`, `hold-out set`."""

_WRAPPERS: Final = words("archive download downloads repo main master input inputs root content base kaggle")
_STRAY: Final = words(
    "single predict prediction predictions pred preds sample samples example examples unlabelled unlabeled unlabel "
    "unsup unsupervised submission submissions inference infer demo demos doc docs documentation asset assets figure "
    "figures screenshot screenshots result results output outputs notebook notebooks src code script scripts "
    "meta metadata misc logs trash deleted backup models checkpoints runs venv wandb mlruns tensorboard"
)
_LEFTOVERS: Final = words(
    "results outputs models checkpoints runs logs venv node modules site packages wandb mlruns tensorboard predictions"
)
_VARIANTS: Final = words(
    "original originals augmented augmentation augmentations aug raw processed preprocessed resized cropped flipped "
    "rotated color colour grayscale greyscale gray grey segmented normalized normalised clean cleaned"
)
_FOLDS: Final = words("fold folds kfold cv xval repeat split")
_GROUPS: Final = words(
    "fold folds kfold cv part parts partition batch chunk shard session run day week camera cam site round"
)
_HOLDERS: Final = words(
    "image images img imgs picture pictures pic pics photo photos data dataset datasets set sets subset subsets split "
    "archive zip folder files bilder daten"
)
_VERSIONS: Final = words(
    "old new main backup bak copy kopie copie copia current previous latest older newer version v orig original kept"
)
_COPY: Final = re.compile(
    r"(?P<name>.+?)(?:"
    r"\s*[-_ ]\s*(?:copy|kopie|copie|copia|cópia|kopia|копия|コピー|副本|bak|backup)(?:\s*\(?\d+\)?)?|\s*\(\d+\))"
    r"|(?:copy of|kopie von|copie de|copia de|copia di) (?P<of>.+)",
    re.IGNORECASE,
)
_IMAGES: Final = words("image images img imgs picture pictures photo photos jpegimages")
_LABELS: Final = words(
    "label labels mask masks annotation annotations annots annot bbox bboxes xml xmls trimaps groundtruth segmentation "
    "segmentations"
)
_PIECES: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_ANY: Final = "|".join(sorted(map(re.escape, SPLIT_OF), key=len, reverse=True))
_JOINED: Final = (
    re.compile(rf"({_ANY})s?({'|'.join(sorted(ENDINGS, key=len, reverse=True))})"),
    re.compile(rf"({_ANY})(?:の|的)?({'|'.join(SCRIPT_ENDINGS)})"),
)
_YEARS: Final = re.compile(r"(19|20)\d\d([-_.]?\d\d){0,2}")


@cache
def words_of(name: str) -> tuple[str, ...]:
    """Return a folder name's words in lower case, without accents: `01_TrainSet` is 01, train, set."""
    found: list[str] = []
    for piece in _PIECES.findall(_plain(name)):
        lower = piece.casefold()
        whole = lower in SPLIT_OF
        joined = None if whole else next((match for form in _JOINED if (match := form.fullmatch(lower))), None)
        found.extend(joined.groups() if joined else [lower])
    return tuple(found)


def _plain(name: str) -> str:
    """Return a name without accents and letter variants, of the same length as in NFC."""
    return "".join(map(_base, unicodedata.normalize("NFC", name)))


@cache
def _base(character: str) -> str:
    bare = [c for c in unicodedata.normalize("NFKD", character) if not "\u0300" <= c <= "\u036f"]
    return bare[0] if len(bare) == 1 else character


def split_of(name: str) -> Split | None:
    """Return the split in a folder's name; None if there is none, or several as in `train_test_split`."""
    words = words_of(name)
    named = {SPLIT_OF[word] for word in words if word in SPLIT_OF}
    if {"held", "out"} <= set(words) or {"hold", "out"} <= set(words):
        named.add("test")
    if named == {"train", "validation"} and "test" not in words:
        return "train"  # train_val: for training and model selection
    return next(iter(named)) if len(named) == 1 else None


def paired_splits(names: Sequence[str], *, alike: bool) -> dict[str, Split]:
    """Return the splits of names that are splits only in pairs: `tr` and `te`, `mytrain` and `mytest`.

    Args:
        names: of sibling folders.
        alike: whether they contain the same folders, which allows other text in the names.
    """
    short = {name: SHORT.get("".join(words_of(name))) or split_of(name) for name in names}
    named = {name: split for name, split in short.items() if split}
    if len(set(named.values())) > 1 and not all(map(split_of, named)) and (alike or _are_short(names)):
        return named
    found: dict[str, tuple[Split, str]] = {}
    for name in names:
        text = "".join(words_of(name))
        held = [(word, split) for word, split in CONTAINED if word in text]
        if len(held) == 1:
            found[name] = (held[0][1], text.replace(held[0][0], "", 1))
    rests = {rest for _, rest in found.values()}
    splits = {split for split, _ in found.values()}
    told = "train" in splits and len(splits) > 1 and (alike or (len(rests) == 1 and len(found) == len(names)))
    return {name: split for name, (split, _) in found.items()} if told else {}


def _are_short(names: Iterable[str]) -> bool:
    return all(name.casefold() in ("tr", "te", "ts", "va", "vl") for name in names)


def is_evaluation(name: str) -> bool:
    """Return whether a split is named `eval` or similar, which is validation if another folder is the test split."""
    return any(word in EVALUATION for word in words_of(name))


def rest_of(name: str) -> tuple[str, ...]:
    """Return the words of a split's name except splits, neutral words and numbers: cats in `train_cats`."""
    return tuple(w for w in words_of(name) if w not in SPLIT_OF and w not in _NEUTRAL and not w.isdigit())


def beside_split(name: str) -> tuple[str, ...]:
    """Return all words of a split's name except the split: fold, 0 in `Fold0_train`."""
    return tuple(word for word in words_of(name) if word not in SPLIT_OF)


def is_fold(name: str) -> bool:
    """Return whether a folder is named like one of several splits of the same images: `fold0_train`, `train_cv1`."""
    words = words_of(name)
    return not _FOLDS.isdisjoint(words) and any(map(_is_number, words))


def rest_label(name: str) -> str:
    """Return the words of `rest_of` as written, as a class name."""
    rest, text = set(rest_of(name)), unicodedata.normalize("NFC", name)
    pieces = [(found.group().casefold(), found.span()) for found in _PIECES.finditer(_plain(name))]
    return "_".join(text[start:end] for piece, (start, end) in pieces if piece in rest)


def is_stray(name: str) -> bool:
    """Return whether a folder has a name common next to splits: `single_prediction`, `sample_images`, `docs`."""
    return _made_of(name, _STRAY, _STRAY | _NEUTRAL)


def is_leftover(name: str) -> bool:
    """Return whether a folder is named like a tool's output: `results`, `models`, `node_modules`."""
    return _made_of(name, _LEFTOVERS, _LEFTOVERS)


def is_wrapper(name: str) -> bool:
    """Return whether a folder is named like a whole data set: `dataset`, `images`, `repo-main`."""
    return _made_of(name, _NEUTRAL | _WRAPPERS, _NEUTRAL | _WRAPPERS)


def is_variant(name: str) -> bool:
    """Return whether a folder is named like a version of the same images (`augmented`) or a date (`2020`)."""
    return bool(_YEARS.fullmatch(name)) or _made_of(name, _VARIANTS, _VARIANTS | _NEUTRAL)


def is_date(name: str) -> bool:
    """Return whether a folder is named like a year, a month or a day."""
    return bool(_YEARS.fullmatch(name))


def is_group(name: str) -> bool:
    """Return whether a folder is named like one of several parts: `fold_0`, `batch-3`, `session1`."""
    words = words_of(name)
    numbers = sum(1 for _ in takewhile(_is_number, reversed(words)))
    return 0 < numbers < len(words) and words[-numbers - 1] in _GROUPS


def _is_number(word: str) -> bool:
    return word.isdigit() or len(word) == 1


def are_parts(names: Sequence[str]) -> bool:
    """Return whether names are those of parts and differ only in numbers: `pets_part_1`, `images_001`, `set2`."""
    stems = {tuple(word for word in words_of(name) if not _is_number(word)) for name in names}
    numbered = len(names) > 1 and all(words_of(name) and _is_number(words_of(name)[-1]) for name in names)
    stem = next(iter(stems)) if len(stems) == 1 else ()
    return numbered and bool(stem) and (stem[-1] in _GROUPS or set(stem) <= _HOLDERS)


def copy_of(name: str) -> str | None:
    """Return the original's name from that of a copy: `cats` for `cats - Copy`; None for other names."""
    found = _COPY.fullmatch(name)
    return (found["name"] or found["of"]).strip() if found else None


def is_version(name: str) -> bool:
    """Return whether a folder is named like a version of another: `old`, `main`, `backup`, `v2`."""
    return _made_of(name, _VERSIONS, _VERSIONS | _NEUTRAL)


def stem_of(name: str) -> tuple[str, ...]:
    """Return a name's words without its numbers: patient in `patient_012`; none if it has no number."""
    words = words_of(name)
    return tuple(word for word in words if not word.isdigit()) if any(map(str.isdigit, words)) else ()


def is_images(name: str) -> bool:
    """Return whether a folder is named like the images of a data set with separate labels."""
    return bool(words_of(name)) and words_of(name)[-1] in _IMAGES


def is_labels(name: str) -> bool:
    """Return whether a folder is named like the labels or masks of a data set."""
    return bool(words_of(name)) and words_of(name)[-1] in _LABELS


def folded(name: str) -> str:
    """Return a name normalised for comparison: NFC, without case and outer spaces."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def parse_split_names(texts: Iterable[str]) -> Mapping[str, Split | None]:
    """Parse `train=foo,test=bar` into splits by folder; `skip=foo` becomes None.

    Raises:
        ValueError: the form is invalid, or a folder is named twice; says what is allowed.
    """
    kinds: dict[str, Split | None] = {"train": "train", "test": "test", "skip": None}
    kinds |= dict.fromkeys(("validation", "val", "valid"), "validation")
    named: dict[str, Split | None] = {}
    for part in (part for text in texts for part in text.split(",") if part.strip()):
        kind, equals, folder = part.partition("=")
        key = folded(folder.strip().strip("/"))
        if not equals or not key or kind.strip().casefold() not in kinds:
            raise ValueError(
                f"--split-names must be SPLIT=FOLDER pairs such as train=foo,test=bar, where SPLIT is train, "
                f"validation, test or skip: {part.strip()!r}."
            )
        split = kinds[kind.strip().casefold()]
        if named.setdefault(key, split) != split:
            raise ValueError(f"--split-names has the folder {folder.strip()!r} twice.")
    return named


def _made_of(name: str, needed: frozenset[str], allowed: frozenset[str]) -> bool:
    words = words_of(name)
    return bool(needed & set(words)) and all(word in allowed or word.isdigit() for word in words)
