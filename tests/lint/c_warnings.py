"""Compile the project's C and C++ with warnings as errors.

Command line: python tests/lint/c_warnings.py
"""

import os
import subprocess
import sys

import c_units

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wundef", "-Werror")


def complaint(unit: c_units.Unit) -> str:
    """What the compiler has to say. Some warnings need the analysis that -O2 brings."""
    compiler = os.environ.get("CC", "cc") if unit.is_c else os.environ.get("CXX", "c++")
    done = subprocess.run(
        [*compiler.split(), *unit.flags, *WARNINGS, "-O2", "-c", unit.path, "-o", os.devnull],
        cwd=c_units.CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


if __name__ == "__main__":
    sys.exit(c_units.check_each(complaint))
