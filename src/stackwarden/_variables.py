"""The environment variables of this package, as far as Python may obey any: ``python -E`` and ``-I`` obey none."""

import os
import sys


def variable(name: str) -> str:
    """The value of a variable; empty where it is not set, and where Python ignores the environment."""
    return "" if sys.flags.ignore_environment else os.environ.get(name, "")


def is_asked_for() -> bool:
    """Is there a setting at all, in ``STACKWARDEN`` or ``-X stackwarden``? Cheap."""
    return bool(variable("STACKWARDEN")) or "stackwarden" in sys._xoptions
