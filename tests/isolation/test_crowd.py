"""Many coroutines in random order: each finds its own state each time, and nothing of them stays.

What they check is in members.py, what is counted in crowd.py.
"""

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from members import LEVELS, WAYS_TO_END, Member

import children
import commands
import sessions
from availability import unavailable

SEED = 20260928
CROWD = Path(__file__).with_name("crowd.py")


def crowd(members, switches, *options, **how):
    """What a crowd in a process of its own counted."""
    arguments = [str(argument) for argument in (SEED, members, switches, *options)]
    counted = json.loads(children.run_python(CROWD, arguments=arguments, seconds=250, **how).stdout)
    assert counted["checks"] > 2 * switches
    assert counted["leaked_stacks"] == 0
    assert counted["dropped_states"] == 0
    return counted


def test_1000_coroutines_find_their_state_in_200000_switches_and_leave_no_block():
    before, after = crowd(1000, 200_000)["blocks"]
    assert after == before


def test_a_smaller_crowd_leaves_no_block_with_either_isolation(mode):
    before, after = crowd(100, 5000, "--isolation", mode)["blocks"]
    assert after == before


def test_four_threads_each_with_coroutines_of_its_own(mode):
    threads = 4
    counted = crowd(100, 5000, "--isolation", mode, "--threads", threads)
    before, after = counted["blocks"]
    # Up to 3.12 join() returns while the thread still has its thread state to give back.
    assert abs(after - before) <= threads


if sys.version_info[:2] == (3, 14) and "SANITIZER_LEG" not in os.environ:

    @pytest.mark.slow
    @pytest.mark.timeout(1200)
    def test_the_debug_build_counts_as_many_references_afterwards_as_before():
        try:
            python = sessions.environment("demo", "3.14-dbg")
        except commands.HarnessError as error:
            unavailable("python3.14-dbg", str(error))
        counted = crowd(1000, 200_000, python=[python])
        before, after = counted["references"]
        assert before > 0
        assert after == before
        assert counted["blocks"][0] == counted["blocks"][1]


COMMANDS = st.none() | st.just("back") | st.sampled_from(sorted(LEVELS))
SIZE = 4
NUMBERS = st.integers(0, SIZE - 1)
ORDERS = st.lists(st.tuples(st.lists(NUMBERS, min_size=1, unique=True), COMMANDS), max_size=40)
ENDS = st.tuples(
    st.permutations(range(SIZE)), st.lists(st.sampled_from(WAYS_TO_END), min_size=SIZE)
)


@settings(max_examples=60, deadline=None)
@given(order=ORDERS, ends=ENDS)
def test_in_any_order_of_switches_and_ends(mode, order, ends):
    """Each step resumes a member from inside another one, from inside another one, ..."""
    members = [Member(name, 3 * name, isolation=mode) for name in range(SIZE)]
    for (*outer, inmost), command in order:
        member = members[inmost]
        if (command == "back" and not member.levels) or (command in LEVELS and member.levels > 8):
            command = None
        for name in reversed(outer):
            member, command = members[name], (member, command)
        assert member.resume(command) == member.model.name
    for name, way in zip(*ends, strict=False):
        members[name].end(way)
