"""Have clang-tidy look at the project's C and C++; .clang-tidy names the checks.

Command line: python tests/lint/c_tidy.py
"""

import subprocess
import sys
from pathlib import Path

import c_units

# From the environment that this Python belongs to.
CLANG_TIDY = Path(sys.executable).with_name("clang-tidy")


def complaint(unit: c_units.Unit) -> str:
    """What clang-tidy has found; what it counts on standard error is of no interest."""
    done = subprocess.run(
        [CLANG_TIDY, "--quiet", unit.path, "--", *unit.flags],
        cwd=c_units.CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode else ""


if __name__ == "__main__":
    sys.exit(c_units.check_each(complaint))
