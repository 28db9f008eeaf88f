"""``python -m stackwarden demo``: what breaks on a foreign stack, and that it is mended.

Promises: whatever a child process does, the command itself ends well, and its exit status is 0 only
if every protected child came out right.
"""

import json
import sys
from importlib import import_module

import click
from rich.console import Console

import stackwarden
from stackwarden.errors import StackRangeError
from stackwarden.sizes import size_of

USUAL_STACK_SIZE = 256 * 1024
MOST_STACK_SIZE = 1 << 30


def _size(_context: click.Context, _option: click.Parameter, value: str | None) -> int:
    """Bytes, from what was given for a size."""
    status = stackwarden.status()
    if value is None:
        return max(USUAL_STACK_SIZE, int(status["exact_stack_size"]))
    least = status["least_stack_size"]
    try:
        size = size_of(value, "stack_size")
    except StackRangeError as refused:
        raise click.BadParameter(
            f"{refused} (here {least} to {MOST_STACK_SIZE} bytes)"
        ) from refused
    if not least <= size <= MOST_STACK_SIZE:
        raise click.BadParameter(f"{value}: must be from {least} to {MOST_STACK_SIZE} bytes")
    return size


@click.command()
@click.option(
    "--stack-size",
    callback=_size,
    metavar="SIZE",
    help="Size of the foreign stacks: bytes, or 256K, or 1M.  [default: 256K, or the least that is "
    "protected exactly: 512K on CPython 3.11 to 3.13]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def demo(stack_size: int, as_json: bool) -> None:
    """Show what breaks on a foreign stack, and that it is mended.

    Each workload runs in child processes of its own, with CPython alone and with stackwarden, on a
    stack below and on one above the thread's own.
    """
    _refuse_where_nothing_can_be_shown()
    from stackwarden._cli import demo_report, demo_runs  # which cannot be had without a core

    console = Console(highlight=False)
    facts = {**stackwarden.status(), "stackwarden": stackwarden.__version__}
    if not as_json:
        demo_report.introduce(console, facts, stack_size)
    with demo_report.progress(console, silent=as_json) as tell:
        runs = demo_runs.run_all(stack_size, tell)
    if as_json:
        click.echo(json.dumps(demo_report.as_json(facts, stack_size, runs), indent=2))
    else:
        demo_report.show(console, runs)
    sys.exit(0 if runs.all_right() else 1)


def _refuse_where_nothing_can_be_shown() -> None:
    status = stackwarden.status()
    if status["mechanism"] == "none":
        reason = status["reason"] or "STACKWARDEN_MECHANISM=none is set"
        raise click.ClickException(f"nothing protects this interpreter: {reason}")
    try:
        import_module("stackwarden.adapters.ucontext")
    except ImportError as error:
        raise click.ClickException(
            "the demo makes its stacks with stackwarden.adapters.ucontext, which cannot be "
            f"had on {sys.platform}: {error}"
        ) from error
