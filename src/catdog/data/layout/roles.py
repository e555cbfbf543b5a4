"""What each folder of a data set was taken for, gathered while its layout is read."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

from catdog.data.layout.folder_tree import Folder, Parts
from catdog.data.layout.split_words import folded, is_images, is_labels, split_of
from catdog.data.layout.vocabulary import Split
from catdog.errors import DatasetError
from catdog.text import listed, visible

Kind = Literal["wrapper", "group", "split", "class", "passed over"]


@dataclass(frozen=True)
class Role:
    """What a folder is.

    Attributes:
        kind: `wrapper` holds a whole data set or split, `group` one of several parts with the same classes.
        split: of a split.
        label: name of a class, if it isn't the folder's.
        by_name: whether the classes of files in it are in their names.
        why: why it was passed over.
    """

    kind: Kind
    split: Split | None = None
    label: str | None = None
    by_name: bool = False
    why: str = ""


def option(name: str, value: str) -> str:
    """Write an option as it is typed in a shell, which would take `*` for files: `--layout '*/classes'`."""
    return f"{name} {shlex.quote(visible(value))}"


class Roles:
    """What was found so far: a role for each folder, and remarks."""

    def __init__(self, split_names: Mapping[str, Split | None]) -> None:
        self.of: dict[Parts, Role] = {}
        self.remarks: list[str] = []
        self.has_labels = False
        self.paired: dict[Parts, Split] = {}
        self._split_names = split_names

    def split(self, folder: Folder) -> Split | None:
        """Return the split that a folder's name names, as a person said or by the vocabulary."""
        key = folded(folder.name)
        if key in self._split_names:
            return self._split_names[key]
        return split_of(folder.name) or self.paired.get(folder.parts)

    def is_named(self, folder: Folder) -> bool:
        """Tell whether a person said what split a folder is."""
        return self._split_names.get(folded(folder.name)) is not None

    def inside(self, folder: Folder) -> list[Folder]:
        """Return the folders in a folder that hold images, without those of labels and those to be passed over."""
        full = []
        for inner in folder.full:
            if inner.parts in self.of and self.of[inner.parts].kind == "passed over":
                continue
            if folded(inner.name) in self._split_names and not self.is_named(inner):
                self.pass_over(inner, "is to be skipped, as --split-names says")
            else:
                full.append(inner)
        names = list(folder.folders)
        if any(map(is_images, names)) and any(map(is_labels, names)):
            self.has_labels = True
            if all(is_images(inner.name) or is_labels(inner.name) for inner in full):
                for inner in full:
                    if is_labels(inner.name):
                        self.pass_over(inner, "holds labels or masks, not images of a class")
                full = [inner for inner in full if not is_labels(inner.name)]
        return full

    def set(self, folder: Folder, role: Role) -> None:
        """Say what a folder is."""
        self.of[folder.parts] = role

    def pass_over(self, folder: Folder, why: str) -> None:
        """Leave a folder and all below it out, with a remark."""
        self.set(folder, Role("passed over", why=why))
        self.remark(f"{listed([folder.shown])} is passed over: it {why}.")

    def remark(self, sentence: str) -> None:
        """Keep a remark, once."""
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def note_empty(self, folders: Iterable[Folder]) -> None:
        """Remark on folders that hold no images."""
        names = [folder.shown for folder in folders]
        if names:
            self.remark(f"Without images: {listed(names)}.")

    def refuse(self, folders: Iterable[Folder], looks_like: str) -> NoReturn:
        """Raise the error for folders that hold images but no classes."""
        names = [folder.shown for folder in folders]
        looks, holds = ("looks", "holds") if len(names) == 1 else ("look", "hold")
        more = ""
        if self.has_labels:
            more = (
                " Folders of labels lie beside those of images, as for object detection or segmentation; catdog "
                "classifies whole images."
            )
        raise DatasetError(
            f"{listed(names, most=5)} {looks} like {looks_like}, but {holds} no class folders.{more} Sort the images "
            "into one folder per class in each, such as train/cats/ and train/dogs/. If these folders are the classes, "
            "use --layout classes."
        )
