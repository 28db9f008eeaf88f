"""Fixtures: what knows nothing of stackwarden, in each way to jump."""

import re
import sys
from pathlib import Path

import pytest

import children
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


STACKWARDEN = Path(sys.executable).with_name("stackwarden")


@pytest.fixture
def same(tmp_path):
    """same(*command, hides="", **variables): what a command does, which must be the same under `stackwarden exec`:
    status, standard output, errors.

    Each of the two runs has an empty folder of its own; what matches `hides` may differ.
    """

    def run(*command, hides: str = "", **variables) -> children.Done:
        ends = []
        for name, first in (("plain", ()), ("exec", (STACKWARDEN, "exec", "--"))):
            folder = tmp_path / name / "folder"
            folder.mkdir(parents=True)
            done = children.run(*first, *command, ends=None, folder=folder, **variables)
            shown = (
                (done.stdout, done.stderr)
                if not hides
                else tuple(re.sub(hides, "...", text) for text in (done.stdout, done.stderr))
            )
            ends.append((done.returncode, *shown))
        assert ends[1] == ends[0]
        return done

    return run
