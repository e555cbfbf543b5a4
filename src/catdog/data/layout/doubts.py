"""Remarks on folders that may not be classes, with the option to read them otherwise."""

import unicodedata
from collections.abc import Sequence

from catdog.data.layout.folder_tree import Folder
from catdog.data.layout.roles import Roles, option
from catdog.data.layout.split_words import (
    copy_of,
    folded,
    is_date,
    is_group,
    is_leftover,
    is_stray,
    is_variant,
    stem_of,
)
from catdog.text import listed


def without_leftovers(inner: Sequence[Folder], roles: Roles) -> list[Folder]:
    """Skip folders written by tools next to two or more classes: `results`, `models`, `node_modules`."""
    left = [one for one in inner if is_leftover(one.name)]
    kept = [one for one in inner if one not in left]
    if len(kept) < 2:
        return list(inner)
    for one in left:
        roles.pass_over(one, "is named like a tool's output, not like a class; --layout classes makes it one")
    return kept


def without_copies(inner: Sequence[Folder], roles: Roles) -> list[Folder]:
    """Skip copies of a folder with the same folders in them, and remark on copies with only images."""
    inner = _without_nested_copies(inner, roles)
    known = {folded(one.name): one for one in inner}
    kept = []
    for one in inner:
        original = known.get(folded(copy_of(one.name) or ""))
        if original is None or original is one:
            kept.append(one)
        elif original.full and {folded(x.name) for x in original.full} == {folded(x.name) for x in one.full}:
            roles.pass_over(one, f"looks like a copy of {original.shown}")
        else:
            kept.append(one)
            roles.remark(
                f"{listed([one.shown])} looks like a copy of {listed([original.shown])} and is read as a separate "
                f"class; {option('--split-names', f'skip={one.name}')} skips it."
            )
    return kept


def _without_nested_copies(inner: Sequence[Folder], roles: Roles) -> list[Folder]:
    """Skip a folder that contains only a copy of a sibling: `faces/` and `archive/faces/`."""
    names = {one.name: {below.name for below in one.full} for one in inner}
    again = [
        one
        for one in inner
        if len(one.full) == 1
        and one.full[0].name in names.keys() - {one.name}
        and {below.name for below in one.full[0].full} == names[one.full[0].name] != set()
    ]
    for one in again:
        roles.pass_over(one, f"contains a copy of {listed([f'{one.full[0].name}/'])}")
    return [one for one in inner if one not in again]


def remark_on_classes(node: Folder, inner: Sequence[Folder], roles: Roles) -> None:
    """Add remarks on folders read as classes."""
    _remark_on_strays(inner, roles)
    _remark_on_hidden_letters(inner, roles)
    _remark_on_splits_within(inner, roles)
    numbered = len({stem_of(one.name) for one in inner} - {()}) == 1  # patient1/benign, patient2/malignant
    holders = [one for one in inner if len(_possible_classes(roles.inside(one), roles)) > (0 if numbered else 1)]
    same = len({frozenset(folded(below.name) for below in roles.inside(one)) for one in holders}) == 1
    if len(inner) > 1 and 2 * len(holders) >= len(inner) and not (same and len(holders) > 1):
        roles.remark(
            f"{listed([one.shown for one in inner])} are read as the classes, including their subfolders; "
            f"{option('--layout', layout_at(node, roles, 1))} makes the subfolders the classes."
        )


def layout_at(node: Folder, roles: Roles, below: int) -> str:
    """Return the `--layout` with the classes `below` levels under the folders in `node`."""
    kinds = [roles.of[node.parts[:i]].kind for i in range(1, len(node.parts) + 1) if node.parts[:i] in roles.of]
    if "split" in kinds:
        inside = len(kinds) - 1 - kinds.index("split")
        return "/".join(("splits", *["*"] * (inside + below), "classes"))
    return "/".join((*["*"] * ((len(node.parts) if below else 0) + below), "classes"))


def _possible_classes(folders: Sequence[Folder], roles: Roles) -> list[Folder]:
    """Return the folders that may be classes, not splits, versions, numbers or parts."""
    return [
        one
        for one in folders
        if not (
            roles.split(one)
            or is_variant(one.name)
            or is_date(one.name)
            or is_group(one.name)
            or any(map(str.isdigit, one.name))
        )
    ]


def _remark_on_strays(inner: Sequence[Folder], roles: Roles) -> None:
    strays = [one for one in inner if is_stray(one.name)]
    if strays and len(inner) - len(strays) > 1:
        names = ",".join(f"skip={one.name}" for one in strays)
        roles.remark(
            f"{listed([one.shown for one in strays])} may not be a class but is read as one; "
            f"{option('--split-names', names)} skips it."
        )


def _remark_on_hidden_letters(inner: Sequence[Folder], roles: Roles) -> None:
    seen: dict[str, Folder] = {}
    for one in inner:
        bare = "".join(c for c in folded(one.name) if unicodedata.category(c) not in ("Cf", "Cc"))
        if bare in seen and folded(one.name) != folded(seen[bare].name):
            roles.remark(
                f"{listed([seen[bare].shown, one.shown])} differ only in invisible characters and are read as two "
                "classes."
            )
        seen.setdefault(bare, one)


def _remark_on_splits_within(inner: Sequence[Folder], roles: Roles) -> None:
    divided = [one for one in inner if len({roles.split(below) for below in roles.inside(one)} - {None}) > 1]
    if divided:
        roles.remark(
            f"Only {listed([one.shown for one in divided])} contain folders named like splits, which are not read as "
            "splits; --layout classes/splits reads them as such."
        )
