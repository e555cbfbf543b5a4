"""Layouts given by the user level by level: `splits/classes`, `classes/splits`, `*/classes`."""

from typing import Final

from catdog.data.layout.folder_tree import Folder, all_folders
from catdog.data.layout.roles import Role, Roles
from catdog.data.layout.split_words import is_wrapper
from catdog.text import listed

EXAMPLES: Final = "classes, splits/classes, classes/splits, */classes, splits/**/classes, splits/names or names"
_LEVELS: Final = {"splits", "classes", "names", "*", "**"}


def parse_levels(text: str) -> tuple[str, ...]:
    """Parse a layout such as `splits/*/classes`.

    `*` is any folder, `**` any number of levels, and `names` means classes in file names (`cat.0.jpg`).

    Raises:
        ValueError: it is invalid; says what is allowed.
    """
    levels = tuple(level.strip().casefold() for level in text.strip("/ ").split("/"))
    labels = [level for level in levels if level in ("classes", "names")]
    deep = [i for i, level in enumerate(levels) if level == "**"]
    fits = set(levels) <= _LEVELS and len(labels) == 1 and levels.count("splits") <= 1
    if not fits or ("names" in levels[:-1]) or any(levels[i + 1 :] != ("classes",) for i in deep):
        raise ValueError(f"--layout must be one of {EXAMPLES}, or similar: {text!r}.")
    return levels


def follow_levels(top: Folder, levels: tuple[str, ...], roles: Roles, *, may_be_wrapped: bool = True) -> None:
    """Give each folder the role of its level; a folder that contains all others isn't a level."""
    node = top
    if may_be_wrapped and levels[0] not in ("*", "**"):
        node = _unwrapped(top, levels, roles)
    _follow(node, levels, roles)


def _follow(folder: Folder, levels: tuple[str, ...], roles: Roles) -> None:
    level, rest = levels[0], levels[1:]
    if level == "names":
        before = roles.of.get(folder.parts, Role("wrapper"))
        roles.set(folder, Role(before.kind, before.split, by_name=True))
    elif level == "**":
        for inner in all_folders(folder)[1:]:
            if inner.files:
                roles.set(inner, Role("class"))
    else:
        for inner in folder.full:
            _follow_one(inner, level, rest, roles)
        if level == "classes":
            roles.note_empty(folder.empty)


def _follow_one(folder: Folder, level: str, rest: tuple[str, ...], roles: Roles) -> None:
    if level == "classes":
        roles.set(folder, Role("class"))
    elif level == "*":
        roles.set(folder, Role("group"))
    elif split := roles.split(folder):
        roles.set(folder, Role("split", split))
    elif "classes" not in rest and rest != ("names",):  # in classes/splits, an image in no split still has a class
        roles.remark(f"{listed([folder.shown])} isn't named like a split; its images are in none.")
    else:
        roles.pass_over(folder, "isn't named like a split; --split-names train=NAME makes it one")
        return
    if rest:
        inner = _unwrapped(folder, rest, roles) if level == "splits" and rest[0] not in ("*", "**") else folder
        _follow(inner, rest, roles)


def _unwrapped(folder: Folder, levels: tuple[str, ...], roles: Roles) -> Folder:
    """Enter single folders, as long as the rest has enough levels."""
    inside_split = folder.parts in roles.of
    while len(inner := roles.inside(folder)) == 1 and inner[0].full:
        if inside_split and not (roles.split(inner[0]) or is_wrapper(inner[0].name)):
            break
        if levels[0] == "splits" and roles.split(inner[0]) and not all(map(roles.split, inner[0].full)):
            break
        folder = inner[0]
        roles.set(folder, Role("wrapper"))
    if levels[0] == "names" and len(inner) == 1 and not folder.files:
        folder = inner[0]
        roles.set(folder, Role("wrapper"))
    return folder
