"""What the demo says: while it runs, in a table at the end, or as JSON.

Promises: on a terminal colours and a moving bar; elsewhere plain lines, progress on standard error.
"""

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from stackwarden._cli.demo_runs import JOBS, Job, Runs, Tell
from stackwarden._cli.tables import Cell, show_table
from stackwarden.testing import child

COLUMNS = ("work on a foreign stack", "stack", "CPython alone", "with stackwarden", "")


def introduce(console: Console, facts: dict[str, Any], stack_size: int) -> None:
    """Say on what this runs, and what will be seen."""
    console.print(
        f"[bold]CPython {facts['python']}[/], stackwarden {facts['stackwarden']}, "
        f"mechanism {facts['mechanism']}, stacks of {_size_in_words(stack_size)}",
        soft_wrap=True,
    )
    if stack_size < facts["exact_stack_size"]:
        exact = _size_in_words(facts["exact_stack_size"])
        console.print(
            f"[yellow]On stacks under {exact} this CPython is protected by estimate: not "
            "every workload is covered.[/]",
            soft_wrap=True,
        )
    console.print(
        "Each process runs Python on a stack that the operating system did not make.\n"
        "Right: RecursionError when recursion runs away, and memory that is freed.\n"
    )


@contextmanager
def progress(console: Console, *, silent: bool) -> Iterator[Tell]:
    """What to call with each child that has ended."""
    if silent:
        yield lambda job, end: None
    elif console.is_terminal:
        columns = (SpinnerColumn(), BarColumn(20), MofNCompleteColumn())
        last = TextColumn("{task.description}", markup=False)
        with Progress(*columns, last, console=console, transient=True) as bar:
            task = bar.add_task("", total=len(JOBS))
            yield lambda job, end: bar.update(task, advance=1, description=str(job))
    else:
        count = iter(range(1, len(JOBS) + 1))
        yield lambda job, end: click.echo(
            f"[{next(count):2}/{len(JOBS)}] {job}: {_in_words(job, end)}", err=True
        )


def show(console: Console, runs: Runs) -> None:
    """Print the table, the sums, and what protected children said that went wrong."""
    protected = [job for job in runs if job.protected]
    show_table(console, COLUMNS, [_row(job, runs) for job in protected])
    alone = [runs[job] for job in runs if not job.protected]
    died = sum("outcome" not in end.report for end in alone)
    leaked = sum(end.outcome == "leaked" for end in alone)
    right = sum(map(runs.is_right, protected))
    style = "bold green" if runs.all_right() else "bold red"
    console.print(
        f"CPython alone: {died} of {len(alone)} died, {leaked} leaked. "
        f"[{style}]With stackwarden: {right} of {len(protected)} right.[/]"
    )
    for job in protected:
        if not runs.is_right(job) and runs[job].errors:
            console.print(f"\n{job}:\n{runs[job].errors}", markup=False, soft_wrap=True)


def _row(job: Job, runs: Runs) -> list[Cell]:
    alone = job._replace(protected=False)
    right = runs.is_right(job)
    return [
        Cell(job.workload.title if job.placement == child.PLACEMENTS[0] else ""),
        Cell(job.placement),
        Cell(_in_words(alone, runs[alone]), "dim" if runs.is_right(alone) else "bold red"),
        Cell(_in_words(job, runs[job]), "green" if right else "bold red"),
        Cell("ok", "green") if right else Cell("WRONG", "bold red"),
    ]


def _in_words(job: Job, end: child.End) -> str:
    if "outcome" not in end.report or job.workload.expected != "freed":
        return end.outcome
    before, after = (end.report[name] >> 20 for name in ("resident_before", "resident_after"))
    return f"{end.outcome} {before}->{after} MiB"


def _size_in_words(size: int) -> str:
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def as_json(facts: dict[str, Any], stack_size: int, runs: Runs) -> dict[str, Any]:
    """All that is known, for programs: sizes in bytes."""
    return {
        "python": facts["python"],
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "stackwarden": facts["stackwarden"],
        "mechanism": facts["mechanism"],
        "stack_size": stack_size,
        "exact_stack_size": facts["exact_stack_size"],
        "rows": [_row_as_json(job, runs) for job in runs if job.protected],
        "right": runs.all_right(),
    }


def _row_as_json(job: Job, runs: Runs) -> dict[str, Any]:
    return {
        "workload": job.name,
        "title": job.workload.title,
        "placement": job.placement,
        "expected": job.workload.expected,
        "unprotected": _end_as_json(runs[job._replace(protected=False)]),
        "protected": _end_as_json(runs[job]),
        "right": runs.is_right(job),
    }


def _end_as_json(end: child.End) -> dict[str, Any]:
    return {
        "outcome": end.outcome,
        "resident_before": end.report.get("resident_before"),
        "resident_after": end.report.get("resident_after"),
    }
