"""Roles of a data set's folders, collected while its layout is read."""

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
    """Role of a folder.

    Attributes:
        kind: `wrapper` contains a whole data set or split, `group` one of several parts with the same classes.
        split: of a split.
        label: name of a class, if it isn't the folder's.
        by_name: whether file names in it contain the classes.
        why: why it was skipped.
    """

    kind: Kind
    split: Split | None = None
    label: str | None = None
    by_name: bool = False
    why: str = ""


def option(name: str, value: str) -> str:
    """Return an option quoted for a shell: `--layout '*/classes'`."""
    return f"{name} {shlex.quote(visible(value))}"


class Roles:
    """The roles of folders, and remarks."""

    def __init__(self, split_names: Mapping[str, Split | None]) -> None:
        self.of: dict[Parts, Role] = {}
        self.remarks: list[str] = []
        self.has_labels = False
        self.paired: dict[Parts, Split] = {}
        self._split_names = split_names

    def split(self, folder: Folder) -> Split | None:
        """Return the split of a folder by the user's names or by the vocabulary; None if it is none."""
        key = folded(folder.name)
        if key in self._split_names:
            return self._split_names[key]
        return split_of(folder.name) or self.paired.get(folder.parts)

    def is_named(self, folder: Folder) -> bool:
        """Return whether the user named a folder's split."""
        return self._split_names.get(folded(folder.name)) is not None

    def inside(self, folder: Folder) -> list[Folder]:
        """Return the folders in a folder that contain images, except skipped ones and those of labels."""
        full = []
        for inner in folder.full:
            if inner.parts in self.of and self.of[inner.parts].kind == "passed over":
                continue
            if folded(inner.name) in self._split_names and not self.is_named(inner):
                self.pass_over(inner, "is excluded by --split-names")
            else:
                full.append(inner)
        names = list(folder.folders)
        if any(map(is_images, names)) and any(map(is_labels, names)):
            self.has_labels = True
            if all(is_images(inner.name) or is_labels(inner.name) for inner in full):
                for inner in full:
                    if is_labels(inner.name):
                        self.pass_over(inner, "contains labels or masks, not images of a class")
                full = [inner for inner in full if not is_labels(inner.name)]
        return full

    def set(self, folder: Folder, role: Role) -> None:
        """Set a folder's role."""
        self.of[folder.parts] = role

    def pass_over(self, folder: Folder, why: str) -> None:
        """Skip a folder and everything in it, with a remark."""
        self.set(folder, Role("passed over", why=why))
        self.remark(f"{listed([folder.shown])} is skipped: it {why}.")

    def remark(self, sentence: str) -> None:
        """Add a remark once."""
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def note_empty(self, folders: Iterable[Folder]) -> None:
        """Add a remark on folders without images."""
        names = [folder.shown for folder in folders]
        if names:
            self.remark(f"Without images: {listed(names)}.")

    def refuse(self, folders: Iterable[Folder], looks_like: str) -> NoReturn:
        """Raise the error for folders that contain images but no classes."""
        names = [folder.shown for folder in folders]
        looks, has = ("looks", "has") if len(names) == 1 else ("look", "have")
        more = ""
        if self.has_labels:
            more = (
                " There are folders of labels next to those of images, as for object detection or segmentation; catdog "
                "classifies whole images."
            )
        raise DatasetError(
            f"{listed(names, most=5)} {looks} like {looks_like} but {has} no class folders.{more} Sort the images into "
            "one folder per class in each, such as train/cats/ and train/dogs/. If these folders are the classes, use "
            "--layout classes."
        )
