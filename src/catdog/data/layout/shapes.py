"""Recognises wrappers and splits by the folders in them."""

from collections.abc import Sequence, Set
from typing import Final

from catdog.data.layout.file_prefixes import prefixes
from catdog.data.layout.folder_tree import Folder
from catdog.data.layout.roles import Role, Roles
from catdog.data.layout.split_words import folded, is_date, is_stray, is_variant, is_wrapper
from catdog.text import listed

ALIKE: Final = 0.8
"""Minimum share of common folders for two sets of folders to count as the same."""


class Shapes:
    """Queries on the contents of folders; entering a folder sets its role."""

    def __init__(self, roles: Roles) -> None:
        self.roles = roles

    def enter(self, folder: Folder, stop: Set[str] = frozenset()) -> Folder:
        """Enter wrapper folders, up to one named in `stop`, and skip their siblings."""
        while (wrapped := self.wrapped(folder)) and folded(wrapped.name) not in stop:
            self.roles.set(wrapped, Role("wrapper"))
            for beside in self.roles.inside(folder):
                if beside is not wrapped:
                    self.roles.pass_over(beside, f"is next to {listed([wrapped.shown])}, which contains the data set")
            folder = wrapped
        return folder

    def wrapped(self, folder: Folder) -> Folder | None:
        """Return the folder in another that contains the whole data set; None if there is none."""
        inner = self.roles.inside(folder)
        if len(inner) == 1:
            return inner[0] if self._is_wrapper(folder, inner[0]) else None
        strong = [one for one in inner if self.has_splits(one)]
        others = [one for one in inner if one not in strong]
        if len(strong) == 1:
            return None if any(self.is_filled_split(one) for one in others) else strong[0]
        holders = [one for one in inner if len(self.roles.inside(one)) > 1]
        if strong or len(holders) != 1 or any(self.is_filled_split(one) for one in inner):
            return None
        named = is_wrapper(holders[0].name) and not is_variant(holders[0].name)
        strays = all(is_stray(one.name) or self.roles.split(one) for one in inner if one is not holders[0])
        return holders[0] if named or strays else None

    def _is_wrapper(self, folder: Folder, only: Folder) -> bool:
        """Return whether the only folder in another contains the classes and isn't one itself."""
        inner = self.roles.inside(only)
        if not inner:  # images/Abyssinian_1.jpg
            return is_wrapper(only.name) and not self.roles.split(only) and bool(prefixes(only.files))
        if len(folder.files) > only.total:
            return False
        if self.roles.split(only) or self.roles.is_named(only):
            return self.has_splits(only)
        return any(map(self._may_be_class_or_more, inner))

    def _may_be_class_or_more(self, folder: Folder) -> bool:
        inner = self.roles.inside(folder)
        if is_date(folder.name):  # 2020/cats, but not cats/2020/05
            return any(not one.name.isdigit() and not is_variant(one.name) for one in inner)
        return not is_variant(folder.name) or bool(inner)

    def core(self, folder: Folder) -> Folder:
        """Return the folder with a split's contents: the split itself, or its only subfolder with a similar name."""
        while len(inner := self.roles.inside(folder)) == 1 and (
            folded(inner[0].name) == folded(folder.name)
            or self.roles.split(inner[0]) == self.roles.split(folder)
            or is_wrapper(inner[0].name)
        ):
            folder = inner[0]
        return folder

    def is_filled_split(self, folder: Folder) -> bool:
        """Return whether a folder is named like a split and contains folders with images."""
        return bool(self.roles.split(folder) and self.roles.inside(self.core(folder)))

    def has_splits(self, folder: Folder) -> bool:
        """Return whether a folder contains two or more splits with class folders."""
        while len(inner := self.roles.inside(folder)) == 1 and not self.roles.split(inner[0]):
            folder = inner[0]
        return len({self.roles.split(one) for one in inner if self.is_filled_split(one)}) > 1

    def names_in(self, folder: Folder) -> set[str]:
        """Return the normalised names of a split's potential classes."""
        core = self.core(folder)
        while (wrapped := self.wrapped(core)) is not None:
            core = wrapped
        return {folded(one.name) for one in self.roles.inside(core)}


def are_alike(names: Sequence[Set[str]]) -> bool:
    """Return whether sets of names are mostly the same."""
    together = set().union(*names)
    return bool(together) and sum(map(len, names)) >= ALIKE * len(names) * len(together)
