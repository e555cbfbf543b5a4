"""Views of how a data set's folders were read, as text lines and JSON rows."""

from collections.abc import Iterator
from typing import Any, Final

from catdog.data.layout.folder_tree import Folder
from catdog.data.layout.reading import Reading
from catdog.data.layout.roles import Role
from catdog.text import counted, visible

CLASSES_SHOWN: Final = 5
"""Maximum classes listed per split."""


def rows(reading: Reading) -> list[dict[str, Any]]:
    """Return the role of each folder for JSON."""
    found = []
    for parts, role in sorted(reading.roles.items()):
        if parts:
            row: dict[str, Any] = {"folder": "/".join(parts), "read_as": role.kind}
            row |= {"split": role.split} if role.split else {}
            row |= {"why": role.why} if role.why else {}
            found.append(row)
    return found


def lines(reading: Reading) -> list[str]:
    """Return the tree down to its classes: one line per folder, with its role."""
    return list(_below(reading.top, reading, ""))


def _below(folder: Folder, reading: Reading, indent: str) -> Iterator[str]:
    known = [(inner, reading.roles[inner.parts]) for inner in folder.folders.values() if inner.parts in reading.roles]
    classes = [(inner, role) for inner, role in known if role.kind == "class"]
    hidden = {inner.parts for inner, _ in classes[CLASSES_SHOWN:] if len(classes) > CLASSES_SHOWN + 1}
    for inner, role in known:
        if inner.parts not in hidden:
            yield f"{indent}{visible(inner.name)}/  {_describe(inner, role)}"
            if role.kind != "passed over":
                yield from _below(inner, reading, f"{indent}  ")
    if hidden:
        images = sum(inner.total for inner, _ in classes if inner.parts in hidden)
        yield f"{indent}… {len(hidden):,} more classes, {counted(images, 'file')}"
    if folder.folders and not known and not folder.parts:
        yield f"{indent}no folder is read as a class"


def _describe(folder: Folder, role: Role) -> str:
    files = counted(folder.total, "file")
    split = f"{role.split} split" if role.split else ""
    if role.kind == "class":
        return f"class{f' {visible(role.label)}' if role.label else ''}{f', {split}' if split else ''}, {files}"
    if role.kind == "passed over":
        return f"skipped, {files}: {role.why}"
    by_name = ", classes in the file names" if role.by_name else ""
    what = {"wrapper": "contains the data set", "group": "contains a part", "split": split}[role.kind]
    return f"{what}{by_name}"
