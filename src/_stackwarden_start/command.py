"""The command ``stackwarden``, which is ``python -m stackwarden`` too.

Promises: the flags, the help, the version, `run` and `exec` need the standard library alone, and `run` and `exec`
import no core. The other commands (stackwarden/_cli) need the extra [cli].
"""

import sys

from _stackwarden_start.launch import SUMMARIES, USAGE_ERROR, launch

_COMMANDS = SUMMARIES | {
    "demo": "Show what breaks on a foreign stack, and that it is mended.",
    "disable": "Undo `enable`.",
    "doctor": "Show what protects this interpreter, its adapters, and the stacks that have a record.",
    "enable": "Have this environment's Python do what STACKWARDEN and -X stackwarden ask for.",
}
_FLAGS = {
    "--includes": "Print the compiler's flags for Python's headers and for stackwarden's.",
    "--cmakedir": "Print the folder for stackwarden_DIR.",
    "--pkgconfigdir": "Print the folder for PKG_CONFIG_PATH.",
}
_OPTIONS = {"--version": "Show the version and exit.", "-h, --help": "Show this message and exit."}


def main() -> None:
    """Print build flags, or run a command."""
    words = sys.argv[1:]
    if words and words[0] in SUMMARIES:
        launch(words[0], words[1:])
    elif not words or words[0] in ("-h", "--help"):
        print(_help(), end="", file=sys.stdout if words else sys.stderr)
        sys.exit(0 if words else USAGE_ERROR)
    elif words[0] == "--version":
        from stackwarden import __version__

        print(f"stackwarden, version {__version__}")
    elif all(word in _FLAGS for word in words):
        print(" ".join(map(_value_of, words)))
    elif words[0] in _COMMANDS:
        _run_pretty(words)
    else:
        print(f"stackwarden: there is no {words[0]}; 'stackwarden --help' has all", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def _help() -> str:
    """All commands and options, in lines that fit a screen."""
    lines = [
        "Usage: stackwarden [OPTIONS] COMMAND [ARGUMENTS]...",
        "",
        "  Keep CPython safe on stacks that the operating system did not make.",
    ]
    for title, table in {"Commands": _COMMANDS, "Build flags": _FLAGS, "Options": _OPTIONS}.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:<14}  {what}" for name, what in sorted(table.items())]
    return "\n".join([*lines, ""])


def _value_of(flag: str) -> str:
    import sysconfig

    from stackwarden import get_cmake_dir, get_include, get_pkgconfig_dir

    if flag == "--includes":
        return f"-I{sysconfig.get_path('include')} -I{get_include()}"
    return get_cmake_dir() if flag == "--cmakedir" else get_pkgconfig_dir()


def _run_pretty(words: list[str]) -> None:
    try:
        import click
        import rich
    except ImportError as missing:
        sys.exit(f"stackwarden: {words[0]} needs {missing.name}: pip install 'stackwarden[cli]'")
    del click, rich
    from stackwarden._cli import commands

    commands(words, prog_name="stackwarden")
