"""``stackwarden enable`` and ``stackwarden disable``: a file that has Python look at STACKWARDEN.

CPython 3.15 reads entry points from .start files and deprecates import lines in .pth files (PEP 829);
older ones know .pth files alone.
"""

import sys
import sysconfig
from pathlib import Path

import click

_IMPORT_LINE = (
    'import os, sys; (os.environ.get("STACKWARDEN") or "stackwarden" in sys._xoptions) '
    'and __import__("_stackwarden_start.begin", fromlist=["begin"]).begin()\n'
)
_ENTRY_POINT = "_stackwarden_start.begin:begin\n"


def _file() -> tuple[Path, str]:
    """The file, and what belongs into it."""
    folder = Path(sysconfig.get_path("purelib"))
    if sys.version_info >= (3, 15):
        return folder / "stackwarden.start", _ENTRY_POINT
    return folder / "stackwarden.pth", _IMPORT_LINE


@click.command()
def enable() -> None:
    """Have this environment's Python do what STACKWARDEN and -X stackwarden ask for."""
    path, text = _file()
    try:
        path.write_text(text)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    click.echo(f"wrote {path}")


@click.command()
def disable() -> None:
    """Undo `enable`."""
    path, _ = _file()
    try:
        path.unlink()
    except FileNotFoundError:
        click.echo(f"there is no {path}")
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    else:
        click.echo(f"removed {path}")
