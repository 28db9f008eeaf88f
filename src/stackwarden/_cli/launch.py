"""``stackwarden run`` and ``stackwarden exec``: programs in whose processes foreign code is interposed."""

import os
import sys

import click

from stackwarden import InterpositionError, interposed_environment

_isolation = click.option(
    "--isolation",
    type=click.Choice(["none", "frames"]),
    default="none",
    show_default=True,
    help="Whether a switch that is seen takes Python's execution state along.",
)
_as_it_stands = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(context_settings=_as_it_stands)
@_isolation
@click.argument("script", type=click.Path())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(isolation: str, script: str, arguments: tuple[str, ...]) -> None:
    """Run a Python script with this Python, interposed."""
    _become([sys.executable, script, *arguments], isolation)


@click.command("exec", context_settings=_as_it_stands)
@_isolation
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def execute(isolation: str, command: tuple[str, ...]) -> None:
    """Run any command, interposed with all the processes that it starts."""
    _become(list(command), isolation)


def _become(command: list[str], isolation: str) -> None:
    """The command takes the place of this process: signals and exit status are its own."""
    try:
        environment = os.environ | interposed_environment(isolation=isolation)  # type: ignore[arg-type]
        os.execvpe(command[0], command, environment)
    except InterpositionError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{command[0]}: {error.strerror}") from error
