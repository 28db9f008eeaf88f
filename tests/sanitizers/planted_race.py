"""Threads that use the core at once, two of which race: a report is expected, else the leg fails (run.py)."""

from pathlib import Path

import extensions

ROUNDS = 2_000  # of each thread


def test_threads_of_which_two_race():
    source = Path(__file__).with_name("races.c")
    built = extensions.build(
        [source], "races", args=["-fsanitize=thread", "-fno-inline", "-DSW_PLANTED_RACE"]
    )
    assert not any(extensions.load(built).hammer(ROUNDS))
