"""The lists of _contract.py and errors.py say what stackwarden.h says, and what type checkers are told."""

import inspect
import re
from pathlib import Path
from typing import get_args

import stackwarden
from stackwarden import _contract, _types, errors

HEADER = Path(stackwarden.get_include(), "stackwarden", "stackwarden.h").read_text()


def enum_of(prefix):
    """Name, without the prefix, to number."""
    found = re.findall(rf"^\s+{prefix}([A-Z_]+) = (-?\d+)", HEADER, re.MULTILINE)
    assert found
    return {name: int(number) for name, number in found}


def flag(name):
    return int(re.search(rf"#define STACKWARDEN_{name} (\d+)u", HEADER)[1])


def test_every_refusal_has_a_class_and_nothing_else_has():
    refusals = {
        f"STACKWARDEN_{name}": number
        for name, number in enum_of("STACKWARDEN_").items()
        if number < 0
    }
    assert set(errors.REFUSALS) == set(refusals.values())
    written = re.findall(r"^    (-\d+): \w+,  # (\w+)$", inspect.getsource(errors), re.MULTILINE)
    assert {name: int(number) for number, name in written} == refusals


def test_policies_are_in_the_order_of_their_numbers():
    numbers = enum_of("STACKWARDEN_POLICY_")
    assert numbers.pop("INHERITED") == 0
    in_order = sorted(numbers, key=numbers.get)
    assert [name.lower() for name in in_order] == list(_contract.POLICIES)
    assert [_contract.policy_number(policy) for policy in _contract.POLICIES] == [1, 2, 3, 4]


def test_flags_are_those_of_the_header():
    assert flag("TRIM_GUARD") == _contract.TRIM_GUARD
    assert flag("EMPTY_CONTEXT") == _contract.EMPTY_CONTEXT
    assert dict(zip(_contract.ISOLATIONS, _contract.ISOLATION_FLAGS, strict=True)) == {
        "none": 0,
        "frames": flag("ISOLATION_FRAMES"),
        "thread-state": flag("ISOLATION_THREAD_STATE"),
    }


def test_type_checkers_are_told_the_same_words():
    assert get_args(_types.Policy) == _contract.POLICIES
    assert get_args(_types.Isolation) == _contract.ISOLATIONS
    assert get_args(_types.BoundsFrom) == _contract.BOUNDS_FROM


def test_a_refusal_has_its_class_and_says_what_is_wanted():
    small = errors.refusal(-8, "refused: too small", "a stack of 16 bytes")
    assert type(small) is errors.StackTooSmallError
    least = stackwarden.status()["least_stack_size"]
    assert str(small) == f"a stack of 16 bytes: too small (at least {least} bytes)"
    other = errors.refusal(-99, "a status of a newer stackwarden", "x")
    assert type(other) is errors.StackwardenError
