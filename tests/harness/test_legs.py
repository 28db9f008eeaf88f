"""CI's legs: what is over its limit is stopped and has failed, and the output of each stays together."""

import fcntl
import importlib.util
import re

import pytest

from paths import CHECKOUT

_spec = importlib.util.spec_from_file_location("legs", CHECKOUT / ".ci" / "legs.py")
legs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(legs)

# Tells the other one that it is there, and waits for it.
MEET = 'touch {0}; until test -e {1}; do sleep 0.05; done; echo "{2} again"'


@pytest.fixture
def run(capfd, tmp_path):
    """run(*legs, **options): the exit status, and the lines that were printed, from the first leg's on."""

    def run(*table, **options):
        status = legs.main([legs.Leg(*row) for row in table], **options)
        lines = capfd.readouterr().out.splitlines()
        return status, lines[1 + len(table) :]

    return run


def test_the_legs_fit_into_the_time_that_there_is():
    assert sum(leg.minutes for leg in legs.LEGS) <= legs.MINUTES
    assert all(leg.cores <= legs.CORES for leg in legs.LEGS)


def test_legs_of_one_core_run_two_at_a_time_and_each_prints_in_one_piece(run, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    status, lines = run(
        ("here", 1, 1, f"echo here; {MEET.format(here, there, 'here')}"),
        ("there", 1, 1, f"echo there; {MEET.format(there, here, 'there')}"),
    )
    assert status == 0
    pieces = [lines[:4], lines[4:8]]
    assert sorted(piece[:3] for piece in pieces) == [
        ["=== here", "here", "here again"],
        ["=== there", "there", "there again"],
    ]
    assert all(re.fullmatch(r"=== \w+: \d\.\d of 1 min, passed", piece[3]) for piece in pieces)
    assert lines[-1].startswith("=== all passed after ")


def test_a_leg_of_two_cores_runs_alone(run, tmp_path):
    busy = tmp_path / "busy"
    alone = f"test ! -e {busy}"
    status, _ = run(
        ("before", 1, 1, f"touch {busy}; sleep 0.3; rm {busy}"),
        ("alone", 1, 2, f"{alone}; sleep 0.3; {alone}"),
        ("after", 1, 1, f"touch {busy}"),
    )
    assert status == 0


def test_a_leg_that_fails_fails_all_but_the_others_run(run):
    status, lines = run(("bad", 1, 2, "echo bad; exit 3"), ("good", 1, 2, "echo good"))
    assert status == 1
    assert lines[:2] == ["=== bad", "bad"]
    assert lines[2].endswith("of 1 min, FAILED, status 3")
    assert lines[3:5] == ["=== good", "good"]
    assert lines[5].endswith("of 1 min, passed")
    assert lines[-1].startswith("=== FAILED after ")


@pytest.mark.parametrize("limits", [(0.05, 75), (30, 0.05)], ids=["its limit", "that of all"])
def test_a_leg_over_its_limit_is_stopped_with_all_its_processes_and_has_failed(
    run, tmp_path, limits
):
    own, of_all = limits
    held = tmp_path / "held"  # by the leg's processes, until the last of them has ended
    status, lines = run(
        ("slow", own, 1, f"exec 9> {held}; flock 9; echo begun; sleep 1000 & wait; echo ended"),
        minutes=of_all,
    )
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    assert status == 1
    assert lines[:2] == ["=== slow", "begun"]
    assert lines[2].endswith(f" of {own:g} min, FAILED, stopped at its limit")
