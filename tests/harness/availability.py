"""Finding what tests need, and skipping those that need what cannot be had; CI allows only what is listed."""

import os
import shutil
import sys
import tomllib
from pathlib import Path
from typing import NoReturn

LISTED = Path(__file__).resolve().parents[1] / "unavailable.toml"


def unavailable(system: str, reason: str) -> NoReturn:
    """Skip the present test, or the module that is being imported; with CI=true, fail it.

    A system listed in tests/unavailable.toml is skipped in CI too.
    """
    import pytest  # benchmarks run without it

    listed = tomllib.loads(LISTED.read_text())
    if os.environ.get("CI") == "true" and system not in listed:
        pytest.fail(
            f"{system} cannot be had and is not listed in {LISTED}: {reason}", pytrace=False
        )
    pytest.skip(f"{system} cannot be had: {listed.get(system, reason)}", allow_module_level=True)


def find_program(*names: str) -> str:
    """The first of these programs that is installed, beside this Python or on PATH."""
    here = Path(sys.executable).parent
    for name in names:
        if found := shutil.which(name, path=here) or shutil.which(name):
            return found
    unavailable(names[0], f"none of {', '.join(names)} is beside this Python or on PATH")
