"""What MkDocs does beside reading `docs/`: pages of the repository's root, the reference of commands and API, links.

Links are written as they work on GitHub, relative to their file. The site has the root's pages beside those of `docs/`,
under the names below, and links are changed to match.
"""

import re
import sys
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))

import api_reference  # noqa: E402
import command_reference  # noqa: E402

ROOT_PAGES: Final = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting.md",
}
ASSETS: Final = {
    "LICENSE": "LICENSE.txt",
    "src/catdog/web/static/icon.svg": "images/icon.svg",
    "notebook/cat_dog_classification.ipynb": "cat_dog_classification.ipynb",
}
REFERENCE: Final = "reference.md"
COMMANDS: Final = "<!-- The site lists every command here. -->"
ROUTES: Final = "<!-- The site lists every route and schema here. -->"

_LIGHT: Final = re.compile(r"!\[([^]]*)\]\((images/[\w-]+)-light\.png\)")
_LINK: Final = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages, with their links changed, and files that pages lead to."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=_from_root((ROOT / name).read_text(encoding="utf-8"))))
    for name, asset in ASSETS.items():
        files.append(File.generated(config, asset, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Lead links out of `docs/` to the root's pages, fill in the reference, and show dark screenshots in the dark."""
    if page.file.src_uri == REFERENCE:
        markdown = _fill(markdown, COMMANDS, command_reference.render())
        markdown = _fill(markdown, ROUTES, api_reference.render(api_reference.read_document()))
    if page.file.src_uri not in ROOT_PAGES.values():
        markdown = _LIGHT.sub(r"![\1](\2-light.png#only-light)![\1](\2-dark.png#only-dark)", markdown)
    return _LINK.sub(_to_root, markdown)


def _fill(markdown: str, mark: str, text: str) -> str:
    if mark not in markdown:
        raise SystemExit(f"docs/{REFERENCE} needs the line {mark!r}.")
    return markdown.replace(mark, text)


def _to_root(link: re.Match[str]) -> str:
    before, path, anchor, after = link.groups()
    name = path.removeprefix("../")
    return f"{before}{(ROOT_PAGES | ASSETS).get(name, name) if name != path else path}{anchor or ''}{after}"


def _from_root(markdown: str) -> str:
    def change(link: re.Match[str]) -> str:
        before, path, anchor, after = link.groups()
        return f"{before}{(ROOT_PAGES | ASSETS).get(path, path.removeprefix('docs/'))}{anchor or ''}{after}"

    return _LINK.sub(change, markdown)
