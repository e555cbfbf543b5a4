"""Write the table of settings in docs/reference.md, from the settings themselves.

python docs/make_settings.py
"""

import re
from pathlib import Path
from typing import Final

from catdog.settings import Settings, variable_name

PAGE: Final = Path(__file__).parent / "reference.md"
HEAD: Final = ["| Variable | Default | Meaning |", "| --- | --- | --- |"]
MARK: Final = "<!-- python docs/make_settings.py writes this table. -->"


def main() -> None:
    """Replace the table if it is out of date."""
    before = PAGE.read_text(encoding="utf-8")
    after = with_table(before)
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
    print(f"docs/reference.md: {len(rows())} settings, {'up to date' if after == before else 'updated'}")


def rows() -> list[str]:
    """Return the rows of the table, one per setting, in the order of the class."""
    made = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "not set" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        made.append(f"| `{variable_name(name)}` | {shown} | {field.description} |")
    return made


def with_table(page: str) -> str:
    """Return a page with the table below its mark replaced.

    Raises:
        SystemExit: the page has no such mark with a table.
    """
    made, count = re.subn(
        rf"({re.escape(MARK)}\n\n)(\|.*\n)+", lambda found: found[1] + "\n".join([*HEAD, *rows()]) + "\n", page
    )
    if count != 1:
        raise SystemExit(f"docs/reference.md needs one line {MARK!r} with a table below. It has {count}.")
    return made


if __name__ == "__main__":
    main()
