"""``python -m stackwarden doctor``: what protects this interpreter, its adapters, and the stacks it knows."""

import contextlib
import json
from typing import Any

import click
from rich.console import Console

import stackwarden
from stackwarden import adapters  # type: ignore[attr-defined]  # it comes from adapters/
from stackwarden._cli.tables import Cell, show_table
from stackwarden._types import meanings

_OF_A_STACK = (
    *("name", "system", "base", "size", "bounds_from", "policy"),
    *("thread", "switches", "high_water"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def doctor(as_json: bool) -> None:
    """Show what protects this interpreter, its adapters, and the stacks that have a record."""
    findings = _findings()
    if as_json:
        click.echo(json.dumps(findings, indent=2))
        return
    console = Console(highlight=False)
    meaning = meanings()
    status = [
        (Cell(name), _cell(name, value), Cell(meaning[name], "dim"))
        for name, value in findings["status"].items()
    ]
    show_table(console, ("status", "", ""), status)
    console.print()
    states = [(Cell(name), Cell(state)) for name, state in findings["adapters"].items()]
    show_table(console, ("adapter", ""), states)
    console.print()
    for stack in findings["stacks"]:
        facts = [(Cell(name), _cell(name, value)) for name, value in stack.items()]
        show_table(console, ("stack", ""), facts)


def _findings() -> dict[str, Any]:
    with contextlib.suppress(stackwarden.NotRunningError):  # no compiled core: status() says so
        stackwarden.current_stack()  # from now on the native stack has a record
    stacks = [
        {name: getattr(stack, name) for name in _OF_A_STACK} for stack in stackwarden.stacks()
    ]
    installed = adapters.installed()
    return {
        "status": stackwarden.status(),
        "adapters": {
            name: "installed" if name in installed else "not installed"
            for name in adapters.available()
        },
        "stacks": stacks,
    }


def _cell(name: str, value: object) -> Cell:
    if value is None:
        return Cell("-", "dim")
    if name == "base":
        return Cell(f"{value:#x}")
    if name == "mechanism":
        return Cell(str(value), "bold red" if value == "none" else "bold green")
    if isinstance(value, tuple):
        return Cell(", ".join(value))
    return Cell(str(value))
