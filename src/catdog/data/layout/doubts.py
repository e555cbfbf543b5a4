"""What looks odd among folders that are read as classes, each in one sentence with the way to read it otherwise."""

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
    """Pass over folders that tools write beside two classes or more: `results`, `models`, `node_modules`."""
    left = [one for one in inner if is_leftover(one.name)]
    kept = [one for one in inner if one not in left]
    if len(kept) < 2:
        return list(inner)
    for one in left:
        roles.pass_over(one, "is named like what tools write, not like a class; --layout classes makes it one")
    return kept


def without_copies(inner: Sequence[Folder], roles: Roles) -> list[Folder]:
    """Pass over a copy of a folder that holds the same folders; remark on one that holds images alone."""
    inner = _without_held_again(inner, roles)
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
                f"{listed([one.shown])} looks like a copy of {listed([original.shown])} and is read as a class of its "
                f"own; {option('--split-names', f'skip={one.name}')} leaves it out."
            )
    return kept


def _without_held_again(inner: Sequence[Folder], roles: Roles) -> list[Folder]:
    """Pass over a folder that holds nothing but one beside it again: `faces/` and `archive/faces/`."""
    names = {one.name: {below.name for below in one.full} for one in inner}
    again = [
        one
        for one in inner
        if len(one.full) == 1
        and one.full[0].name in names.keys() - {one.name}
        and {below.name for below in one.full[0].full} == names[one.full[0].name] != set()
    ]
    for one in again:
        roles.pass_over(one, f"holds {listed([f'{one.full[0].name}/'])} again")
    return [one for one in inner if one not in again]


def remark_on_classes(node: Folder, inner: Sequence[Folder], roles: Roles) -> None:
    """Say what is odd about folders that are read as classes."""
    _remark_on_strays(inner, roles)
    _remark_on_hidden_letters(inner, roles)
    _remark_on_splits_within(inner, roles)
    numbered = len({stem_of(one.name) for one in inner} - {()}) == 1  # patient1/benign, patient2/malignant
    holders = [one for one in inner if len(_told_apart(roles.inside(one), roles)) > (0 if numbered else 1)]
    same = len({frozenset(folded(below.name) for below in roles.inside(one)) for one in holders}) == 1
    if len(inner) > 1 and 2 * len(holders) >= len(inner) and not (same and len(holders) > 1):
        roles.remark(
            f"{listed([one.shown for one in inner])} are read as the classes, with the folders in them; "
            f"{option('--layout', layout_at(node, roles, 1))} makes those in them the classes instead."
        )


def layout_at(node: Folder, roles: Roles, below: int) -> str:
    """Write the layout with the classes so many levels below the folders in `node`."""
    kinds = [roles.of[node.parts[:i]].kind for i in range(1, len(node.parts) + 1) if node.parts[:i] in roles.of]
    if "split" in kinds:
        inside = len(kinds) - 1 - kinds.index("split")
        return "/".join(("splits", *["*"] * (inside + below), "classes"))
    return "/".join((*["*"] * ((len(node.parts) if below else 0) + below), "classes"))


def _told_apart(folders: Sequence[Folder], roles: Roles) -> list[Folder]:
    """Return folders that may be classes: neither splits nor versions nor numbers nor parts."""
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
            f"{listed([one.shown for one in strays])} may be no class and is read as one; "
            f"{option('--split-names', names)} leaves it out."
        )


def _remark_on_hidden_letters(inner: Sequence[Folder], roles: Roles) -> None:
    seen: dict[str, Folder] = {}
    for one in inner:
        bare = "".join(c for c in folded(one.name) if unicodedata.category(c) not in ("Cf", "Cc"))
        if bare in seen and folded(one.name) != folded(seen[bare].name):
            roles.remark(
                f"{listed([seen[bare].shown, one.shown])} look the same and differ in letters that aren't shown; they "
                "are read as two classes."
            )
        seen.setdefault(bare, one)


def _remark_on_splits_within(inner: Sequence[Folder], roles: Roles) -> None:
    divided = [one for one in inner if len({roles.split(below) for below in roles.inside(one)} - {None}) > 1]
    if divided:
        roles.remark(
            f"Folders named like splits lie in {listed([one.shown for one in divided])} and not in the others; they "
            "are not read as splits. --layout classes/splits reads them so."
        )
