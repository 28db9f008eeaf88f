"""Tables for people: coloured on a terminal, aligned plain text where the output goes elsewhere.

Promises: the plain form is ASCII when its cells are, and has no escape sequences.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text


class Cell(NamedTuple):
    """A text, and its colour on a terminal (a style of rich)."""

    text: str
    style: str = ""


def show_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table. A row whose first cell has a text begins a group."""
    if console.is_terminal:
        console.print(_coloured(columns, rows))
    else:
        for line in _plain_lines(columns, rows):
            print(line, file=console.file)


def _coloured(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for row in rows:
        table.add_row(*(Text(cell.text, cell.style) for cell in row))
    return table


def _plain_lines(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    lines = [list(columns), *([cell.text for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
