"""What the environment and the command line ask for: ``STACKWARDEN=...`` and ``-X stackwarden=...``.

One grammar for both: words with commas between them, each ``name=value``, or ``name`` alone for ``name=on``::

    STACKWARDEN=interpose,isolation=frames,unknown=estimate,assumed-size=256K

The command line comes after the environment and wins. Promises: what is wrong is a warning and is left out, and
never keeps a program from starting.
"""

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from _stackwarden_start.variables import variable
from stackwarden._contract import POLICIES
from stackwarden.errors import SettingWarning
from stackwarden.sizes import size_of


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def _switch(text: str) -> bool:
    return _one_of("on", "off")(text) == "on"


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "off": _switch,  # the whole package; OFF of variables.py
    "policy": _one_of(*POLICIES),  # of all stacks that are known
    "unknown": _one_of(*POLICIES),  # of stacks that nobody told of
    "foreign-threads": _one_of(
        *POLICIES
    ),  # of the native stacks of threads that Python did not create
    "assumed-size": size_of,  # of an unknown stack
    "min-stack": size_of,  # calls that arrive on less go to a pooled stack
    "stack-size": size_of,  # of pooled stacks
    "interpose": _switch,
    "check": _one_of("on", "error", "off"),  # compare what is told with the stack pointer
    "isolation": _one_of("none", "frames"),  # of stacks whose switches interposition sees
}


def settings() -> dict[str, Any]:
    """The settings that were given, by name; sizes in bytes. Warns with SettingWarning of what is wrong."""
    found = parse(variable("STACKWARDEN"), "STACKWARDEN")
    option = sys._xoptions.get("stackwarden", "")
    return found | parse("" if option is True else str(option), "-X stackwarden")


def parse(text: str, source: str) -> dict[str, Any]:
    """The settings in one text; `source` names it in warnings."""
    found = {}
    for word in filter(None, map(str.strip, text.split(","))):
        name, equals, value = word.partition("=")
        name, value = name.strip(), value.strip() if equals else "on"
        try:
            if name not in _PARSERS:
                raise ValueError(f"there is no such setting (there are {', '.join(_PARSERS)})")
            found[name] = _PARSERS[name](value)
        except ValueError as error:
            warnings.warn(f"{source}: {word!r} is left out: {error}", SettingWarning, stacklevel=2)
    return found
