"""Guessing of layouts, from the names of folders and the folders they have in common."""

from collections.abc import Iterable, Sequence, Set

from catdog.data.layout.doubts import layout_at, remark_on_classes, without_copies
from catdog.data.layout.file_prefixes import prefixes
from catdog.data.layout.folder_tree import Folder, all_folders
from catdog.data.layout.groups import Groups, Level
from catdog.data.layout.roles import Role, option
from catdog.data.layout.shapes import are_alike
from catdog.data.layout.split_words import (
    are_parts,
    beside_split,
    folded,
    is_date,
    is_evaluation,
    is_fold,
    is_group,
    is_stray,
    is_variant,
    rest_label,
    rest_of,
)
from catdog.data.layout.vocabulary import Split
from catdog.text import listed


class Rules(Groups):
    """Guesses the role of each folder in a tree."""

    def read(self, top: Folder) -> None:
        """Give roles to the folders of a tree.

        Raises:
            DatasetError: folders look like splits but contain no classes.
        """
        self.pair_splits(all_folders(top))
        node = self.enter(top)
        inner = self.roles.inside(node)
        if not inner:
            self._by_file_names(node)
        elif not (
            self._joined_names(inner)
            or self._splits(node, inner)
            or self._groups_of_splits(inner)
            or self._classes_first(inner)
        ):
            self._classes(node)

    # Splits

    def _splits(self, node: Folder, inner: Sequence[Folder]) -> bool:
        named = [one for one in inner if self.roles.split(one)]
        others = [one for one in inner if not self.roles.split(one)]
        stated = any(map(self.roles.is_named, named))
        filled = [one for one in named if self.is_filled_split(one)]
        if not named:
            return False
        if not filled:
            return self._splits_without_classes(named, others, stated=stated)
        if not (stated or self._are_splits(filled, others)):
            self._remark_on_names(named)
            return False
        if any(one.parts in self.roles.paired for one in named):
            self.roles.remark(
                f"{listed([one.shown for one in named])} are read as splits, as they are next to each other; "
                f"{option('--layout', layout_at(node, self.roles, 0))} makes them the classes."
            )
        named, filled = self._one_fold(named, filled)
        names = {one.parts: self.names_in(one) for one in filled}
        cores = []
        for one, split in self._splits_of(named).items():
            if one not in filled:
                self.roles.pass_over(one, "contains images but no class folders")
                continue
            self.roles.set(one, Role("split", split))
            cores += self._enter_split(one, {name for at, found in names.items() if at != one.parts for name in found})
        self._read_classes(cores)
        known = set().union(*names.values())
        if "train" not in map(self.roles.split, filled):
            others = self._find_training(others, known)
        self._read_siblings(others, known)
        self.roles.note_empty(one for one in node.empty if self.roles.split(one))
        return True

    def _one_fold(self, named: list[Folder], filled: list[Folder]) -> tuple[list[Folder], list[Folder]]:
        """Keep one of several folds, such as fold0_train, fold0_test, fold1_train; other sets are merged."""
        sets: dict[tuple[str, ...], list[Folder]] = {}
        for one in filled:
            sets.setdefault(beside_split(one.name), []).append(one)
        if len(sets) < 2 or any(len({self.roles.split(one) for one in found}) < 2 for found in sets.values()):
            return named, filled
        first, *others = sets.values()
        if all(is_fold(one.name) for one in filled):
            for one in (one for found in others for one in found):
                self.roles.pass_over(one, f"splits the same images in another way than {first[0].shown}")
            return [one for one in named if one not in filled or one in first], first
        self.roles.remark(f"{listed([one.shown for one in filled])} are merged by their splits.")
        return named, filled

    def _enter_split(self, folder: Folder, elsewhere: Set[str]) -> list[Folder]:
        """Enter a split and return the folder with its classes; none if it contains splits itself, which are read."""
        core = self.core(folder)
        for depth in range(len(folder.parts) + 1, len(core.parts) + 1):
            self.roles.of[core.parts[:depth]] = Role("wrapper")
        inner = self.roles.inside(core)
        if len({self.roles.split(one) for one in inner if self.is_filled_split(one)}) > 1:
            self._splits(core, inner)
            return []
        return [self.enter(core, elsewhere)]

    def _splits_of(self, named: Sequence[Folder]) -> dict[Folder, Split]:
        """Return the split of each folder; `eval` is validation if another folder is the test split."""
        splits = {one: split for one in named if (split := self.roles.split(one))}
        loose = [one for one in splits if is_evaluation(one.name) and not self.roles.is_named(one)]
        tests = [one for one, split in splits.items() if split == "test" and one not in loose]
        if tests and "validation" not in splits.values():
            splits |= dict.fromkeys(loose, "validation")
        return splits

    def _are_splits(self, filled: Sequence[Folder], others: Sequence[Folder]) -> bool:
        """Return whether folders named like splits are splits, from their contents and siblings."""
        names = [self.names_in(one) for one in filled]
        if len({self.roles.split(one) for one in filled}) > 1:
            return len({rest_of(one.name) for one in filled}) == 1 or are_alike(names) or not others
        known = set().union(*names)
        strange = [one for one in others if not is_stray(one.name) and folded(one.name) not in known]
        if not strange or all(are_alike([known, self.names_in(one)]) for one in strange):
            return True
        more = sum(one.total for one in filled) > sum(one.total for one in strange)
        return more and self.roles.split(filled[0]) == "train"

    def _find_training(self, others: Sequence[Folder], classes: Set[str]) -> list[Folder]:
        """Read the only folder with the held-out splits' classes as the training split: rps/ for rps-test-set/."""
        alike = [one for one in others if not is_stray(one.name) and are_alike([classes, self.names_in(one)])]
        if len(alike) != 1:
            return list(others)
        self.roles.set(alike[0], Role("split", "train"))
        self._read_classes(self._enter_split(alike[0], classes))
        self.roles.remark(
            f"{listed([alike[0].shown])} is read as the train split, as it has the same class folders as the others."
        )
        return [one for one in others if one is not alike[0]]

    def _read_siblings(self, others: Iterable[Folder], classes: Set[str]) -> None:
        """Read siblings of splits as classes without a split, or skip them."""
        for one in others:
            if folded(one.name) in classes:
                self.roles.set(one, Role("class"))
            elif are_alike([classes, self.names_in(one)]):
                self.roles.pass_over(
                    one,
                    "has the same class folders as the splits but isn't named like one; "
                    f"{option('--split-names', f'{self.missing_split(one)}={one.name}')} makes it one",
                )
            else:
                self.roles.pass_over(one, "is next to the splits but isn't one")

    def _splits_without_classes(self, named: Sequence[Folder], others: Sequence[Folder], *, stated: bool) -> bool:
        others = [one for one in others if not is_stray(one.name)]
        splits = {self.roles.split(one) for one in named}
        rests = {rest_of(one.name) for one in named}
        paired = any(one.parts in self.roles.paired for one in named)
        told_apart = not paired and () not in rests and len(rests) == len(named) > 1  # bullet_train, test_tube
        if not stated and (
            told_apart or (others and (len(splits) == 1 or (() not in rests and len(others) > len(named))))
        ):
            self._remark_on_names(named)
            return False
        cores = {one: self.core(one) for one in named}
        counts = {one: prefixes(core.files) for one, core in cores.items()}
        known = set(counts[max(named, key=lambda one: counts[one].total())])
        if not known or others:
            self.roles.refuse(named, "splits")
        for one in named:
            if known & set(counts[one]):
                self.roles.set(one, Role("split", self.roles.split(one), by_name=True))
            else:
                self.roles.pass_over(one, "contains images without class names")
        self._remark_on_prefixes(known)
        return True

    def _remark_on_names(self, named: Iterable[Folder]) -> None:
        for one in named:
            self.roles.remark(
                f"{listed([one.shown])} is read as a class, as the folders next to it aren't named like splits. "
                f"{option('--split-names', f'skip={one.name}')} skips it."
            )

    def _groups_of_splits(self, inner: Sequence[Folder]) -> bool:
        """Read folders that each contain train and test: folds, of which one is used, or parts, which are merged."""
        strong = [one for one in inner if self.has_splits(one)]
        if len(strong) < 2 or any(self.roles.inside(one) for one in inner if one not in strong):
            return False
        strong = without_copies(strong, self.roles)
        folds = all(is_fold(one.name) for one in strong)
        if not folds and len(strong) > 1:
            self.roles.remark(f"{listed([one.shown for one in strong])} are merged by the splits in them.")
        for one in self.left(inner):
            if one not in strong:
                self.roles.pass_over(one, "contains images but no class folders")
            elif folds and one is not strong[0]:
                self.roles.pass_over(one, f"splits the same images in another way than {strong[0].shown}")
            else:
                self.roles.set(one, Role("group"))
                core = self.enter(one)
                self._splits(core, self.roles.inside(core))
        return True

    # Classes

    def _joined_names(self, inner: Sequence[Folder]) -> bool:
        """Read names with both split and class: train_cats, test_cats, train_dogs, test_dogs; trainA, testA."""
        inner = [one for one in inner if not is_stray(one.name)]
        split_of = {one: self.roles.split(one) for one in inner}
        found: dict[tuple[str, ...], set[Split | None]] = {}
        for one, split in split_of.items():
            found.setdefault(rest_of(one.name), set()).add(split)
        fits = len(found) > 1 and () not in found and all(len(splits) > 1 for splits in found.values())
        if not fits or None in split_of.values() or any(self.roles.inside(one) for one in inner):
            return False
        for one, split in split_of.items():
            self.roles.set(one, Role("class", split, rest_label(one.name)))
        self.roles.remark("The folder names are read as split and class.")
        return True

    def _classes_first(self, inner: Sequence[Folder]) -> bool:
        """Read classes with splits in them: cats/train, cats/test, dogs/train, dogs/test."""
        divided = [one for one in inner if (below := self.roles.inside(one)) and all(map(self.roles.split, below))]
        splits = {self.roles.split(below) for one in divided for below in self.roles.inside(one)}
        if len(divided) < 2 or 2 * len(divided) <= len(inner) or len(splits) < 2:
            return False
        for one in inner:
            self.roles.set(one, Role("class"))
            if one in divided:
                for inside, split in self._splits_of(self.roles.inside(one)).items():
                    self.roles.set(inside, Role("split", split))
        return True

    def _classes(self, node: Folder) -> None:
        self._read_classes([node])

    def _read_classes(self, nodes: Sequence[Folder]) -> None:
        """Read the folders in each node as classes or as groups of the same classes."""
        nodes = [self.without_doubles(node) for node in nodes]
        found = {node: self.roles.inside(node) for node in nodes}
        full = [node for node in nodes if found[node]]
        for node in nodes:
            if node not in full:
                self._by_file_names(node)
        for node, level in zip(full, self.levels([found[node] for node in full]), strict=True):
            self._read_level(node, found[node], level)

    def _read_level(self, node: Folder, inner: Sequence[Folder], level: Level) -> None:
        shown = listed([one.shown for one in inner])
        if level != "below":
            if level == "this, but":
                self.roles.remark(
                    f"{shown} have the same subfolders and are read as the classes; "
                    f"{option('--layout', layout_at(node, self.roles, 1))} makes the subfolders the classes."
                )
            self._set_classes(node)
            return
        for one in inner:
            self.roles.set(one, Role("group"))
            self._set_classes(self.enter(one))
        self.roles.remark(
            f"The subfolders of {shown}, which they have in common, are read as the classes; "
            f"{option('--layout', layout_at(node, self.roles, 0))} makes the outer folders the classes."
        )

    def _set_classes(self, node: Folder) -> None:
        inner = self.roles.inside(node)
        if len(inner) > 1 and not any(self.roles.inside(one) for one in inner):
            if all(is_group(one.name) for one in inner) or are_parts([one.name for one in inner]):
                self.roles.refuse(inner, "parts of one data set, such as folds")
            if all(is_variant(one.name) and not is_date(one.name) for one in inner):
                self.roles.refuse(inner, "versions of the same images")
        for one in inner:
            self.roles.set(one, Role("class"))
        remark_on_classes(node, inner, self.roles)
        self.roles.note_empty(node.empty)

    def _by_file_names(self, node: Folder) -> None:
        known = prefixes(node.files)
        if known:
            before = self.roles.of.get(node.parts, Role("wrapper"))
            self.roles.set(node, Role(before.kind, before.split, by_name=True))
            self._remark_on_prefixes(set(known))

    def _remark_on_prefixes(self, names: Set[str]) -> None:
        self.roles.remark(f"The classes are read from the file names: {listed(sorted(names))}.")
