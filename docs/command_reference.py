"""The reference of the commands as Markdown, from the command line itself: nothing in it is written by hand."""

from collections.abc import Iterator
from typing import Any


def render() -> str:
    """Return every command with its arguments and options."""
    from typer.main import get_command

    from catdog.cli.app import app

    lines: list[str] = []
    for name, command in _leaves("catdog", get_command(app)):
        anchor = name.replace(" ", "-")
        lines += [f"### {name} {{#{anchor}}}", "", " ".join((command.help or "").split()), "", *_table(command.params)]
    return "\n".join(lines)


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield each command that is no group, by its whole name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for inner, found in sorted(command.commands.items()):
        yield from _leaves(f"{name} {inner}", found)


def _table(parameters: list[Any]) -> list[str]:
    shown = [one for one in parameters if one.name != "help" and getattr(one, "help", None)]
    rows = [f"| {_name(one)} | {_default(one)} | {one.help.replace('|', '&#124;')} |" for one in shown]
    return ["| Parameter | Default | Meaning |", "| --- | --- | --- |", *rows, ""] if rows else []


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    return f"`{default}`" if isinstance(default, int | float | str) and not isinstance(default, bool) else ""
