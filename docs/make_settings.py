"""Write the table of docs/settings.md anew, from the settings themselves.

python docs/make_settings.py
"""

from pathlib import Path
from typing import Final

from catdog.settings import Settings, variable_name

PAGE: Final = Path(__file__).parent / "settings.md"
HEAD: Final = ["| Variable | Default | Meaning |", "| --- | --- | --- |"]


def main() -> None:
    """Replace the table where it is out of date."""
    before = PAGE.read_text(encoding="utf-8")
    after = with_table(before)
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
    print(f"docs/settings.md: {len(rows())} settings, {'was up to date' if after == before else 'written anew'}")


def rows() -> list[str]:
    """Make the rows of the table, one a setting, in the order of the class."""
    made = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "not set" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        made.append(f"| `{variable_name(name)}` | {shown} | {field.description} |")
    return made


def with_table(page: str) -> str:
    """Give a page with its table, the lines that begin with a bar, replaced.

    Raises:
        SystemExit: the page has no such table, or several.
    """
    lines = page.splitlines()
    table = [number for number, line in enumerate(lines) if line.startswith("|")]
    if not table or table[-1] - table[0] + 1 != len(table):
        raise SystemExit(f"docs/settings.md needs one table. Received: {len(table)} lines of tables.")
    return "\n".join([*lines[: table[0]], *HEAD, *rows(), *lines[table[-1] + 1 :]]) + "\n"


if __name__ == "__main__":
    main()
