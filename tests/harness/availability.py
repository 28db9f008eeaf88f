"""Skipping tests that need what cannot be had here; CI allows it only for what is listed."""

import os
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
