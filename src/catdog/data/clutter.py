"""Files and folders besides images that all commands skip: system files, labels, readmes."""

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
    """Return whether a folder is hidden or a system folder."""
    return name.startswith(".") or name.casefold() in _FOLDERS


def is_hidden_folder(name: str) -> bool:
    """Return whether a folder is hidden but not a tool's: `.cats` may be a class, `.git` isn't."""
    return name.startswith(".") and name.casefold() not in _TOOLS


def is_clutter_file(name: str) -> bool:
    """Return whether a file is hidden, a system file, a label or a document, by its name."""
    folded = name.casefold()
    return name.startswith(".") or folded in _FILES or PurePosixPath(folded).suffix in _SUFFIXES


def is_clutter(path: str) -> bool:
    """Return whether an archive's member is clutter or in a clutter folder."""
    *folders, name = PurePosixPath(path.replace("\\", "/")).parts or ("",)
    inner = [folder for folder in folders if folder not in (".", "..")]
    return is_clutter_file(name) or any(map(is_clutter_folder, inner))
