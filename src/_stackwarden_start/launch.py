"""``stackwarden run`` and ``stackwarden exec``: programs in whose processes foreign code is interposed.

Promises: the command takes the place of this process, so signals and exit status are its own; it finds all as a
shell would leave it; whatever stands behind the first word that is no option is the command's.
"""

import _signal  # type: ignore[import-not-found]  # signal itself needs enum, a millisecond
import os
import sys

from _stackwarden_start.environment import ISOLATIONS, interposed, why_not_interposed

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from typing import NoReturn

USAGE_ERROR = 2

_HELP = """\
Usage: stackwarden {name} [--isolation=none|frames] [--] {what} [ARGUMENTS]...

  {summary}

Options:
  --isolation=none|frames  Whether a switch that is seen takes Python's execution state along.  [default: none]
  -h, --help               Show this message and exit.

Example: stackwarden {name} {example}
"""

_COMMANDS = {
    "run": {
        "what": "SCRIPT",
        "summary": "Run a Python script with this Python, interposed.",
        "example": "script.py --its-own-options",
    },
    "exec": {
        "what": "COMMAND",
        "summary": "Run any command, interposed with all the processes that it starts.",
        "example": "--isolation=frames -- ray start --head",
    },
}
SUMMARIES = {name: facts["summary"] for name, facts in _COMMANDS.items()}


def launch(name: str, words: list[str]) -> "NoReturn":
    """Do what the command `name` is told; does not come back."""
    isolation, command = _split(name, words)
    if not command:
        _refuse_usage(name, f"{_COMMANDS[name]['what']} is missing")
    _become([sys.executable, *command] if name == "run" else command, isolation)


def _split(name: str, words: list[str]) -> tuple[str, list[str]]:
    """The options, which stand first, and the command."""
    isolation, rest = "none", list(words)
    while rest and rest[0].startswith("-"):
        option, equals, value = rest.pop(0).partition("=")
        if option == "--" and not equals:
            break
        if option in ("-h", "--help"):
            print(_HELP.format(name=name, **_COMMANDS[name]), end="")
            raise SystemExit(0)
        if option != "--isolation":
            _refuse_usage(name, f"there is no option {option}")
        if not equals:
            value = rest.pop(0) if rest else ""
        if value not in ISOLATIONS:
            _refuse_usage(name, f"--isolation={value}: must be one of {', '.join(ISOLATIONS)}")
        isolation = value
    return isolation, rest


def _refuse_usage(name: str, what: str) -> "NoReturn":
    text = f"stackwarden {name}: {what}; 'stackwarden {name} --help' has all of it"
    print(text, file=sys.stderr)
    raise SystemExit(USAGE_ERROR)


def _become(command: list[str], isolation: str) -> "NoReturn":
    reason = why_not_interposed()
    if reason is not None:
        sys.exit(f"stackwarden: {reason}")
    found = _environment()
    try:
        _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)  # Python's start ignores both
        _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
        os.execvpe(command[0], command, found | interposed(found, isolation))
    except OSError as error:
        sys.exit(f"stackwarden: {command[0]}: {error.strerror}")


def _environment() -> dict[str, str]:
    """Without the LC_CTYPE that Python sets at its start in the locale C (PEP 538)."""
    found = dict(os.environ)
    try:
        with open("/proc/self/environ", "rb") as given:  # noqa: PTH123 (pathlib costs import time)
            if b"\0LC_CTYPE=" not in b"\0" + given.read():
                found.pop("LC_CTYPE", None)
    except OSError:
        pass  # then nobody can say whose it is
    return found
