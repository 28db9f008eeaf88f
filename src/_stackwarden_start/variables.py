"""The environment variables of this package, as far as Python may obey any: ``python -E`` and ``-I`` obey none."""

import os
import sys


def variable(name: str) -> str:
    """The value of a variable; empty where it is not set, and where Python ignores the environment."""
    return "" if sys.flags.ignore_environment else os.environ.get(name, "")


def _is_off() -> bool:
    """Does the last of the words say so? The same words are settings, of which _settings.py knows the grammar."""
    option = sys._xoptions.get("stackwarden", "")
    words = [word.strip() for word in f"{variable('STACKWARDEN')},{option}".split(",")]
    said = [word for word in words if word in ("off", "off=on", "off=off")]
    return bool(said) and said[-1] != "off=off"


def is_asked_for() -> bool:
    """Is there a setting at all, in ``STACKWARDEN`` or ``-X stackwarden``? Cheap."""
    return bool(variable("STACKWARDEN")) or "stackwarden" in sys._xoptions


OFF = _is_off()
"""All of this package does the harmless thing: docs/environment.md."""
