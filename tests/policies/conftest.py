"""Fixtures: memory for stacks, and each test leaves the policies as it found them."""

import pytest

import stackwarden

POLICIES = ("policy", "policy_unknown", "policy_foreign_threads", "assumed_size")


def policies():
    status = stackwarden.status()
    return {name: status[name] for name in POLICIES}


@pytest.fixture(autouse=True)
def same_policies_afterwards():
    before = policies()
    yield
    stackwarden.reset_stack()
    assert policies() == before


@pytest.fixture
def is_checked(effective_bounds):
    """is_checked(stack): does CPython look at the bounds (3.14 and later) of a stack now?"""

    def look(stack):
        bounds = effective_bounds()
        checked = stack.base < bounds["soft"] < stack.top
        assert checked or 0 < bounds["hard"] < bounds["soft"] < 1 << 20
        return checked

    return look
