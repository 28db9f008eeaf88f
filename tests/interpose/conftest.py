"""Fixtures: what knows nothing of stackwarden, in each way to jump."""

import sys
from pathlib import Path

import pytest

import foreign
from availability import unavailable

if sys.platform != "linux":
    unavailable("interposition", f"the library is not built for {sys.platform}")


@pytest.fixture(params=("ucontext", "fcontext"))
def seen(request) -> Path:
    """An extension whose switches are dynamic symbols."""
    return foreign.build(request.param)


@pytest.fixture(params=("ucontext", "fcontext", "static"))
def any_jump(request) -> Path:
    """An extension with any way to jump."""
    return foreign.build(request.param)
