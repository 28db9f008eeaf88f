"""ThreadSanitizer is there, and finds no data race in the core."""

from pathlib import Path

import pytest

import extensions

ROUNDS = 20_000
JOBS = 7  # as in races.c

IMPORT = """
import sys
sys.path.append({folder!r})
import races
"""


@pytest.fixture(scope="module")
def import_races() -> str:
    """Code that imports the compiled module `races`."""
    source = Path(__file__).with_name("races.c")
    built = extensions.build([source], "races", args=["-fsanitize=thread"])
    return IMPORT.format(folder=str(built.parent))


def test_the_runtime_is_mapped_into_this_very_process():
    import stackwarden._core  # noqa: F401

    assert "libtsan.so" in Path("/proc/self/maps").read_text()


def test_a_race_is_reported(watched, reported, import_races):
    done = watched(f"{import_races}races.race()", ends=reported)
    assert done.stderr.count("WARNING: ThreadSanitizer: data race") == 1


def test_threads_that_use_the_core_at_once_do_not_race(watched, import_races):
    done = watched(f"{import_races}print(races.hammer({ROUNDS}))")
    assert done.stdout == f"{[0] * JOBS}\n"
