"""Class and split of each image, from the names of its folders.

`rules` guesses which level is splits and which is classes; a `Layout` overrides the guess.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from catdog.data.labels import class_name, is_text
from catdog.data.layout.file_prefixes import prefix_of
from catdog.data.layout.folder_tree import Folder, Parts, all_folders, build_tree
from catdog.data.layout.levels import follow_levels, parse_levels
from catdog.data.layout.roles import Role, Roles
from catdog.data.layout.rules import Rules
from catdog.data.layout.split_words import folded, parse_split_names
from catdog.data.layout.vocabulary import Split
from catdog.errors import DatasetError, SplitNameError
from catdog.text import listed

NO_CLASS: Final = "It isn't in a class folder."


@dataclass(frozen=True)
class Layout:
    """How the user asks to read a data set's folders.

    Attributes:
        levels: meaning of each level, such as `splits/classes`; empty to guess.
        split_names: split by folder name; None skips a folder.
        is_own: whether it is catdog's own `data/`, which has no outer folders.
    """

    levels: tuple[str, ...] = ()
    split_names: Mapping[str, Split | None] = field(default_factory=dict)
    is_own: bool = False

    @classmethod
    def parse(cls, levels: str | None = None, split_names: Iterable[str] = ()) -> "Layout":
        """Parse `--layout` and `--split-names`.

        Raises:
            ValueError: one of them is invalid; says what is allowed.
        """
        return cls(parse_levels(levels) if levels else (), parse_split_names(split_names))

    def as_dict(self) -> dict[str, Any]:
        """Return the form stored in a version; empty if the layout is guessed."""
        names = [f"{split or 'skip'}={name}" for name, split in self.split_names.items()]
        kept = {"layout": "/".join(self.levels), "split_names": names}
        return {name: value for name, value in kept.items() if value}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Layout":
        """Return the layout stored in a version; a guessed one if that is damaged."""
        try:
            return cls.parse(kept.get("layout"), kept.get("split_names", ()))
        except (ValueError, TypeError, AttributeError):
            return cls()


GUESSED: Final = Layout()
"""The default: the meaning of folders is guessed."""

OWN: Final = Layout(("splits", "classes"), is_own=True)
"""Layout of catdog's own `data/`."""


@dataclass(frozen=True)
class Place:
    """Class folder and split of a file; the split is None if it has none."""

    folder: str
    split: Split | None


@dataclass(frozen=True)
class Reading:
    """How a tree was read.

    Attributes:
        places: class and split of each file in a class.
        stray: files without a class.
        roles: role of each folder.
        remarks: sentences on skipped folders and on doubtful readings.
        top: the tree.
    """

    places: dict[Parts, Place]
    stray: tuple[Parts, ...]
    roles: Mapping[Parts, Role]
    remarks: tuple[str, ...]
    top: Folder = field(compare=False)


def read_layout(files: Sequence[Parts], folders: Iterable[Parts] = (), layout: Layout = GUESSED) -> Reading:
    """Read a tree, given as relative paths of its files and folders.

    Raises:
        DatasetError: folders look like splits without classes, or don't fit `layout`; says what to do.
    """
    top = build_tree(files, folders)
    _require_named(top, layout)
    roles = Roles(layout.split_names)
    if layout.levels:
        follow_levels(top, layout.levels, roles, may_be_wrapped=not layout.is_own)
    else:
        Rules(roles).read(top)
    names = _class_names(roles)
    places, stray = _place(top, roles, names)
    if layout.levels and files and not (places or layout.is_own):
        raise DatasetError(f"No images match --layout {'/'.join(layout.levels)}. Run `catdog data check` without it.")
    return Reading(places, tuple(sorted(stray)), roles.of, tuple(roles.remarks), top)


def _place(top: Folder, roles: Roles, names: Mapping[Parts, str]) -> tuple[dict[Parts, Place], list[Parts]]:
    """Return class and split of each file by its folders, and the files without a class; ignores skipped folders."""
    places: dict[Parts, Place] = {}
    stray: list[Parts] = []
    waiting: list[tuple[Folder, Split | None, str, bool]] = [(top, None, "", False)]
    while waiting:
        folder, split, label, by_name = waiting.pop()
        role = roles.of.get(folder.parts, Role("wrapper"))
        if role.kind == "passed over":
            continue
        split, label, by_name = role.split or split, label or names.get(folder.parts, ""), by_name or role.by_name
        for name in folder.files:
            found = label or (class_name(prefix_of(name) or "") if by_name else "")
            if found:
                places[*folder.parts, name] = Place(found, split)
            else:
                stray.append((*folder.parts, name))
        waiting.extend((inner, split, label, by_name) for inner in folder.full)
    return places, stray


def _require_named(top: Folder, layout: Layout) -> None:
    if layout.split_names:
        missing = set(layout.split_names) - {folded(folder.name) for folder in all_folders(top)}
        if missing:
            raise SplitNameError(f"--split-names has folders that don't exist: {listed(sorted(missing))}.")


def _class_names(roles: Roles) -> dict[Parts, str]:
    """Return each class folder's class; names that differ only in case are one class unless they are siblings."""
    names = {parts: class_name(role.label or parts[-1]) for parts, role in roles.of.items() if role.kind == "class"}
    alike: dict[str, dict[str, set[Parts]]] = defaultdict(lambda: defaultdict(set))
    for parts, name in names.items():
        alike[name.casefold()][name].add(parts[:-1])
        if not is_text(parts[-1]):
            roles.remark(f"The folder name {listed([parts[-1]])} isn't UTF-8; its class is called {name}.")
    instead: dict[str, str] = {}
    for spellings in alike.values():
        parents = [parent for holders in spellings.values() for parent in holders]
        if len(spellings) > 1 and len(parents) == len(set(parents)):
            chosen = max(spellings, key=lambda name: _training_first(spellings[name], roles))
            instead |= dict.fromkeys(spellings, chosen)
            roles.remark(f"{listed(sorted(spellings))} differ only in case and are read as one class, {chosen}.")
    return {parts: instead.get(name, name) for parts, name in names.items()}


def _training_first(parents: Iterable[Parts], roles: Roles) -> tuple[bool, int]:
    splits = [roles.of[parts[:i]].split for parts in parents for i in range(1, len(parts) + 1) if parts[:i] in roles.of]
    return "train" in splits, len(splits)
