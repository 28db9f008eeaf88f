"""``python -m stackwarden``: build flags, which need no other package, and the commands of the extra [cli]."""

import sys
import sysconfig

from stackwarden import get_cmake_dir, get_include, get_pkgconfig_dir

_FLAGS = {
    "--includes": lambda: f"-I{sysconfig.get_path('include')} -I{get_include()}",
    "--cmakedir": get_cmake_dir,
    "--pkgconfigdir": get_pkgconfig_dir,
}


def main() -> None:
    """Print build flags, or run a command."""
    arguments = sys.argv[1:]
    if arguments and all(argument in _FLAGS for argument in arguments):
        print(" ".join(_FLAGS[argument]() for argument in arguments))
        return
    try:
        import click
        import rich
    except ImportError as missing:
        sys.exit(f"stackwarden: this command needs {missing.name}: pip install 'stackwarden[cli]'")
    del click, rich
    from stackwarden._cli import commands

    commands(prog_name="stackwarden")


if __name__ == "__main__":
    main()
