"""Distinguishes class folders from groups with the same classes, such as patients, folds or domains."""

from collections.abc import Sequence, Set
from typing import Final, Literal

from catdog.data.layout.doubts import without_copies, without_leftovers
from catdog.data.layout.folder_tree import Folder
from catdog.data.layout.roles import Role
from catdog.data.layout.shapes import Shapes, are_alike
from catdog.data.layout.split_words import folded, is_group, is_variant, is_version, paired_splits, stem_of
from catdog.data.layout.vocabulary import Split

Level = Literal["this", "this, but", "below"]
"""Level of the classes: the folders themselves, the same with a remark, or the folders in them."""

MOST_SIBLINGS: Final = 50
"""Maximum number of siblings among which to look for pairs of splits."""
SHARED: Final = 0.5
"""Minimum share of a split's folders that another split must have on the level of the classes."""


class Groups(Shapes):
    """Distinguishes groups from classes by their names and common folders."""

    def level(self, inner: Sequence[Folder]) -> Level:
        """Return the level of the classes."""
        names = [self.names_of(self.enter(one)) for one in inner]
        if len(inner) < 2 or not all(names):
            return "this"
        if self._are_numbered(inner) and _recur(names):
            return "below"
        if min(map(len, names)) < 2 or not are_alike(names):
            return "this"
        if all(is_group(one.name) or is_variant(one.name) or is_version(one.name) for one in inner):
            return "below"
        below = [one for folder in inner for one in self.roles.inside(self.enter(folder))]
        if all(is_variant(one.name) or is_group(one.name) for one in below):
            return "this"
        if max(map(len, names)) <= len(inner) or (self._are_numbered(below) and not _are_labels(below)):
            return "this, but"
        return "below"

    def levels(self, splits: Sequence[Sequence[Folder]]) -> list[Level]:
        """Return the level of the classes in each split; splits have their classes in common."""
        found = [self.level(inner) for inner in splits]
        these = [{name for one in inner for name in self.names_of(one, own=True)} for inner in splits]
        those = [{name for one in inner for name in self.names_of(self.enter(one))} for inner in splits]
        if len(splits) < 2 or not _have_common_names(these) or found == ["this"] * len(found):
            return found
        if _have_common_names(those) and (len(set(found)) == 1 or (are_alike(those) and not are_alike(these))):
            return ["below"] * len(found) if "below" in found else found
        return ["this" if level == "this" else "this, but" for level in found]

    def names_of(self, folder: Folder, *, own: bool = False) -> set[str]:
        """Return the normalised names of the folders in a folder, or of the folder itself."""
        return {_normalised(one) for one in ([folder] if own else self.roles.inside(folder))}

    def pair_splits(self, folders: Sequence[Folder]) -> None:
        """Find folders in the whole tree that are splits only in pairs: `mytrain` next to `mytest`."""
        for folder in folders:
            inner = folder.full
            if 2 <= len(inner) <= MOST_SIBLINGS and not all(map(self.roles.split, inner)):
                self.roles.paired |= self._pairs(inner)

    def missing_split(self, beside: Folder) -> Split:
        """Return the split that a folder may be: the first not taken by a sibling."""
        taken = {role.split for parts, role in self.roles.of.items() if parts[:-1] == beside.parts[:-1]}
        wanted: tuple[Split, ...] = ("train", "test", "validation")
        return next((split for split in wanted if split not in taken), "train")

    def without_doubles(self, node: Folder) -> Folder:
        """Skip duplicates in a folder, and enter it if a single folder is left."""
        before = self.roles.inside(node)
        after = self._without_repeated(before)
        return node if len(after) == len(before) else self.enter(node)

    def _without_repeated(self, inner: Sequence[Folder]) -> list[Folder]:
        """Skip copies, and a folder that contains copies of its siblings, as in some archives on Kaggle."""
        inner = without_copies(without_leftovers(inner, self.roles), self.roles)
        names = {folded(one.name) for one in inner}
        again = [one for one in inner if len(inner) > 2 and are_alike([names - {folded(one.name)}, self.names_in(one)])]
        for one in again:
            self.roles.pass_over(one, "contains copies of the folders next to it")
        return [one for one in inner if one not in again]

    def left(self, folders: Sequence[Folder]) -> list[Folder]:
        """Return the folders that aren't skipped."""
        return [one for one in folders if self.roles.of.get(one.parts, Role("wrapper")).kind != "passed over"]

    def _pairs(self, inner: Sequence[Folder]) -> dict[tuple[str, ...], Split]:
        names = [one.name for one in inner]
        pairs = paired_splits(names, alike=True)
        held = [{_normalised(below) for below in _unwrapped(one).full} for one in inner if one.name in pairs]
        if not (pairs and are_alike(held)):
            pairs = paired_splits(names, alike=False)
        return {one.parts: pairs[one.name] for one in inner if one.name in pairs and not self.roles.split(one)}

    def _are_numbered(self, folders: Sequence[Folder]) -> bool:
        """Return whether folders are numbered parts: patient_1, patient_2; fold_0; 8863."""
        stems = {stem_of(one.name) for one in folders}
        numbered = len(stems) == 1 and () not in stems and stems.isdisjoint({("class",), ("label",), ("category",)})
        return numbered or all(is_group(one.name) or one.name.isdigit() for one in folders)


def _normalised(folder: Folder) -> str:
    return folded(folder.name)


def _unwrapped(folder: Folder) -> Folder:
    while len(folder.full) == 1 and folder.full[0].full:
        folder = folder.full[0]
    return folder


def _recur(names: Sequence[Set[str]]) -> bool:
    """Return whether a few names recur, though not in every folder, as those of classes do."""
    together = set().union(*names)
    return (
        2 <= len(together) <= len(names)
        and sum(map(len, names)) >= 2 * len(together)
        and not _are_single_and_equal(names)
    )


def _are_single_and_equal(names: Sequence[Set[str]]) -> bool:
    return all(len(found) == 1 for found in names) and len(set().union(*names)) == 1


def _are_labels(folders: Sequence[Folder]) -> bool:
    """Return whether names are numbers from 0 without leading zeros, like labels; sessions begin with 1."""
    names = {one.name for one in folders}
    return names == {str(number) for number in range(len(names))}


def _have_common_names(names: Sequence[Set[str]]) -> bool:
    return all(len(names[0] & one) >= SHARED * max(1, min(len(names[0]), len(one))) for one in names[1:])
