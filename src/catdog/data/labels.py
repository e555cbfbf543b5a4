"""Names of classes: how a folder's name is stored, shown, keyed, and found again by what a person writes."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from catdog.errors import ClassNameError
from catdog.text import listed

RESERVED: Final = ("neither", "unsure")
"""What a verdict says in place of a class."""

_SHOWN_AS: Final = {"cats": "Cat", "dogs": "Dog"}


def class_name(folder: str) -> str:
    """Return the name under which a folder's class is stored.

    It is text in NFC, without spaces at its ends or dots behind it, which Windows drops. Bytes that aren't UTF-8 are
    read as Windows-1252, the usual cause.
    """
    text = folder
    if not is_text(folder):
        raw = folder.encode("utf-8", "surrogateescape")
        text = "".join(bytes([byte]).decode("cp1252", "replace") if byte > 127 else chr(byte) for byte in raw)
    name = unicodedata.normalize("NFC", text)
    return name.strip().rstrip(" .") or name


def is_text(name: str) -> bool:
    """Tell whether a file system's name is UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def display_name(folder: str) -> str:
    """Return a class's name for people: `cats` is Cat, `dogs` is Dog, any other folder keeps its name."""
    return _SHOWN_AS.get(folder, folder)


def probability_key(folder: str) -> str:
    """Return a class's name in documents for machines: `cats` is `cat`, `dogs` is `dog`, any other keeps its name."""
    return _SHOWN_AS[folder].lower() if folder in _SHOWN_AS else folder


def match_class(name: str, classes: Sequence[str]) -> int | None:
    """Find the class that a person means by `name`; None if there is none.

    The exact name of a folder counts first, then an exact shown name or key, then any of them in any case.

    Raises:
        ClassNameError: more than one class is meant.
    """
    wanted = class_name(name)
    tiers = (
        [i for i, folder in enumerate(classes) if wanted == class_name(folder)],
        [i for i, folder in enumerate(classes) if wanted in (display_name(folder), probability_key(folder))],
        [i for i, folder in enumerate(classes) if wanted.casefold() in _lenient(folder)],
    )
    found = next((tier for tier in tiers if tier), [])
    if len(found) > 1:
        raise ClassNameError(f"{name!r} may mean {listed([classes[i] for i in found])}; write the name exactly.")
    return found[0] if found else None


def match_all(names: Sequence[str], classes: Sequence[str]) -> list[int | None]:
    """Find the class of each name, as `match_class` does, but no class twice.

    Raises:
        ClassNameError: two names mean one class, or a name means more than one.
    """
    known = {class_name(folder): i for i, folder in enumerate(classes)}
    exact = {name: known[class_name(name)] for name in names if class_name(name) in known}
    # What another folder is called exactly is that folder's class, and no second one's.
    matched = [exact[name] if name in exact else match_class(name, classes) for name in names]
    for index in {index for index in matched if index is not None and matched.count(index) > 1}:
        same = [name for name, found in zip(names, matched, strict=True) if found == index]
        raise ClassNameError(
            f"The folders {listed(same)} would all count as the model's class {classes[index]}. Rename or merge them."
        )
    return matched


def require_distinct(classes: Iterable[str]) -> None:
    """Check that classes can be told apart wherever their names are shown or used as keys.

    Raises:
        ClassNameError: a name is reserved, or two are shown or keyed alike.
    """
    taken: dict[str, str] = {}
    for name in classes:
        if name.casefold() in RESERVED:
            raise ClassNameError(
                f"A class can't be called {name}: catdog answers {listed(RESERVED)} itself. Rename the folder. Images "
                "of other things aren't a class; measure with them: catdog evaluate --other."
            )
        for alias in {display_name(name), probability_key(name)}:
            if alias in taken:
                raise ClassNameError(
                    f"Classes need names of their own, and {taken[alias]} and {name} are both shown as {alias}. "
                    "Rename or merge the folders."
                )
        taken |= dict.fromkeys((display_name(name), probability_key(name)), name)


def _lenient(folder: str) -> set[str]:
    return {name.casefold() for name in (class_name(folder), display_name(folder), probability_key(folder))}
