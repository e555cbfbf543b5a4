"""Files and folders that lie beside images and are nobody's images: system files, labels, readmes.

Every command passes over the same ones. A file that a person names is read, whatever it is called.
"""

from pathlib import PurePosixPath
from typing import Final

_FOLDERS: Final = {
    "__macosx",
    "__pycache__",
    "lost+found",
    "@eadir",
    "@recycle",
    "#recycle",
    "$recycle.bin",
    "system volume information",
}
_TOOLS: Final = {
    *(".git", ".github", ".svn", ".hg", ".dvc", ".venv", ".cache", ".idea", ".vscode", ".ipynb_checkpoints"),
    *(".trash", ".trashes", ".thumbnails", ".spotlight-v100", ".fseventsd", ".temporaryitems", ".mypy_cache"),
    *(".pytest_cache", ".ruff_cache", ".tox", ".cargo", ".config", ".local"),
}
_FILES: Final = {
    *("_ds_store", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r"),
    *("readme", "license", "licence", "copying", "notice", "authors", "source", "changelog", "md5sums", "sha256sums"),
}
_SUFFIXES: Final = {
    *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg"),
    *(".md", ".markdown", ".rst", ".rtf", ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".log"),
    *(".py", ".ipynb", ".lnk", ".url", ".db"),
}


def is_clutter_folder(name: str) -> bool:
    """Tell whether a folder is hidden or a system's own."""
    return name.startswith(".") or name.casefold() in _FOLDERS


def is_hidden_folder(name: str) -> bool:
    """Tell whether a folder is hidden and no tool's own: `.cats` may be meant as a class, `.git` isn't."""
    return name.startswith(".") and name.casefold() not in _TOOLS


def is_clutter_file(name: str) -> bool:
    """Tell by its name whether a file is hidden, a system's own, a label or a document."""
    folded = name.casefold()
    return name.startswith(".") or folded in _FILES or PurePosixPath(folded).suffix in _SUFFIXES


def is_clutter(path: str) -> bool:
    """Tell whether a file is clutter or lies in a clutter folder; `path` is that of a member of an archive."""
    *folders, name = PurePosixPath(path.replace("\\", "/")).parts or ("",)
    inner = [folder for folder in folders if folder not in (".", "..")]
    return is_clutter_file(name) or any(map(is_clutter_folder, inner))
