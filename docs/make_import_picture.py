"""Draw docs/images/imports.svg: which module of catdog imports which, as the source says.

    python docs/make_import_picture.py

Rows are the layers that tests/test_architecture.py holds the imports to. An import that follows from others is left
out: where A imports B, and B imports C, no line says that A imports C, too. Lines to one module run together where they
pass a row. In the opened picture a pointer on a module shows its lines. It is drawn in the way of Sugiyama, Tagawa and
Toda (https://doi.org/10.1109/TSMC.1981.4308636): rows are ordered by the middle of their neighbours, then moved apart.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from sklearn.isotonic import isotonic_regression

ROOT: Final = Path(__file__).parents[1]
sys.path += [str(ROOT / "tests"), str(ROOT / "benchmarks")]

from test_architecture import LAYERS, imports, modules  # noqa: E402

PICTURE: Final = ROOT / "docs" / "images" / "imports.svg"
LETTER, PADDING, BOX, ROW, GAP, MARGIN = 7.3, 9, 24, 58, 12, 24
SWEEPS: Final = 24

Edge = tuple[str, str]
Node = tuple[str, int]
"""A module in its row, or where lines to it pass another row."""

STYLE: Final = """
  svg { color-scheme: light dark }
  svg { --ground: #f5f5f2; --box: #fff; --line: #85898f; --text: #1c2126; --accent: #2b4fc0; --other: #c25a12 }
  @media (prefers-color-scheme: dark) {
    svg { --ground: #14171a; --box: #1d2125; --line: #7d858e; --text: #e8eaec; --accent: #93adff; --other: #f09a57 }
  }
  .ground { fill: var(--ground) }
  path { fill: none; stroke: var(--line); stroke-width: 1; opacity: .75 }
  rect.box { fill: var(--box); stroke: var(--line) }
  text { fill: var(--text); text-anchor: middle; font: 12px ui-monospace, Menlo, "DejaVu Sans Mono", monospace }
  g:hover rect.box { stroke: var(--accent); stroke-width: 2 }
"""


def main() -> None:
    """Write the picture."""
    edges = needed(all_imports())
    PICTURE.write_text(draw(edges), encoding="utf-8")
    print(f"docs/images/imports.svg: {len(modules())} modules, {len(edges)} lines")


def all_imports() -> set[Edge]:
    """List who imports whom, from the source."""
    return {(name, target) for name, paths in modules().items() for path in paths for target in imports(path) - {name}}


def needed(edges: set[Edge]) -> set[Edge]:
    """Leave out what follows from the others (the transitive reduction of a graph without circles)."""
    targets: dict[str, set[str]] = defaultdict(set)
    for source, target in edges:
        targets[source].add(target)
    reached: dict[str, set[str]] = {}
    for layer in reversed(LAYERS):  # what is below is known before what is above
        for name in layer:
            reached[name] = targets[name].union(*(reached[target] for target in targets[name]))
    return {(a, b) for a, b in edges if not any(b in reached[other] for other in targets[a] - {b})}


def draw(edges: set[Edge]) -> str:
    """Make the picture of imports."""
    level = {name: row for row, layer in enumerate(LAYERS) for name in layer}
    lines = route(edges, level)
    rows = order(lines, level)
    middle = place(rows, lines, level)
    width = round(max(x + width_of(node, level) / 2 for node, x in middle.items())) + MARGIN
    height = 2 * MARGIN + BOX + ROW * (len(LAYERS) - 1)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Which module imports which: from the top, cli and web, down to errors</title>",
        f"<style>{STYLE}{''.join(highlight(name) for name in sorted(level))}</style>",
        f'<rect class="ground" width="{width}" height="{height}" rx="12"/>',
        *(curve(line, users, middle) for line, users in sorted(lines.items())),
        *(box(name, level, middle, edges) for name in sorted(level)),
        "</svg>",
    ]
    return "\n".join(drawn) + "\n"


def route(edges: set[Edge], level: dict[str, int]) -> dict[tuple[Node, Node], set[str]]:
    """Cut each import into pieces from row to row; gives for each piece the modules whose imports it is part of."""
    lines: dict[tuple[Node, Node], set[str]] = defaultdict(set)
    for source, target in sorted(edges):
        here: Node = (source, level[source])
        for row in range(level[source] + 1, level[target] + 1):
            there = (target, row)
            lines[here, there].add(source)
            here = there
    return lines


def order(lines: Iterable[tuple[Node, Node]], level: dict[str, int]) -> list[list[Node]]:
    """Order each row so that few lines cross."""
    nodes = {node for line in lines for node in line} | set(level.items())
    rows = [sorted(node for node in nodes if node[1] == row) for row in range(len(LAYERS))]
    near = neighbours(lines)
    for sweep in range(SWEEPS):
        place_in_row = {node: (number + 0.5) / len(row) for row in rows for number, node in enumerate(row)}
        for row in rows if sweep % 2 else reversed(rows):
            row.sort(key=lambda node: float(np.mean([place_in_row[other] for other in near[node]] or [0.5])))
            place_in_row |= {node: (number + 0.5) / len(row) for number, node in enumerate(row)}
    return rows


def place(rows: list[list[Node]], lines: Iterable[tuple[Node, Node]], level: dict[str, int]) -> dict[Node, float]:
    """Move each node to the middle of its neighbours, as far as its row leaves room; gives the middles."""
    near = neighbours(lines)
    middle = {node: 0.0 for row in rows for node in row}
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            widths = np.array([width_of(node, level) for node in row])
            # From one middle to the next there must be half of both widths and a gap.
            apart = np.concatenate([[0.0], np.cumsum((widths[1:] + widths[:-1]) / 2 + GAP)])
            wished = np.array([np.mean([middle[other] for other in near[node]] or [0.0]) for node in row])
            found = isotonic_regression(wished - apart + apart.mean()) + apart - apart.mean()
            middle |= dict(zip(row, map(float, found), strict=True))
    left = min(x - width_of(node, level) / 2 for node, x in middle.items())
    return {node: x - left + MARGIN for node, x in middle.items()}


def neighbours(lines: Iterable[tuple[Node, Node]]) -> dict[Node, list[Node]]:
    """List what each node has a line to or from."""
    near: dict[Node, list[Node]] = defaultdict(list)
    for one, other in lines:
        near[one].append(other)
        near[other].append(one)
    return near


def width_of(node: Node, level: dict[str, int]) -> float:
    """Give the pixels that a node takes: a box with its name, or a line that passes."""
    name, row = node
    return LETTER * len(name) + 2 * PADDING if level[name] == row else 1.0


def curve(line: tuple[Node, Node], users: set[str], middle: dict[Node, float]) -> str:
    """Draw a piece of a line, from row to row."""
    (_, upper), (target, lower) = line
    x, y = middle[line[0]], MARGIN + BOX / 2 + ROW * upper
    right, down = middle[line[1]], MARGIN + BOX / 2 + ROW * lower
    names = " ".join([f"to-{target}", *(f"from-{name}" for name in sorted(users))])
    half = (y + down) / 2
    return (
        f'<path class="{names}" d="M{x:.0f} {y:.0f}C{x:.0f} {half:.0f} {right:.0f} {half:.0f} {right:.0f} {down:.0f}"/>'
    )


def box(name: str, level: dict[str, int], middle: dict[Node, float], edges: set[Edge]) -> str:
    """Draw a module; the picture's readers and its test find the lines from it in `data-imports`."""
    node = (name, level[name])
    width, top = width_of(node, level), MARGIN + ROW * level[name]
    x = middle[node]
    targets = " ".join(sorted(target for source, target in edges if source == name))
    return (
        f'<g id="{name}" data-imports="{targets}"><rect class="box" x="{x - width / 2:.0f}" y="{top}" '
        f'width="{width:.0f}" height="{BOX}" rx="5"/><text x="{x:.0f}" y="{top + 16}">{name}</text></g>'
    )


def highlight(name: str) -> str:
    """Write the rules that show a module's lines while a pointer is on it: what it imports, and who imports it."""
    return (
        f"  svg:has(#{name}:hover) .from-{name} {{ stroke: var(--accent); stroke-width: 2.5; opacity: 1 }}\n"
        f"  svg:has(#{name}:hover) .to-{name} {{ stroke: var(--other); stroke-width: 2.5; opacity: 1 }}\n"
    )


if __name__ == "__main__":
    main()
