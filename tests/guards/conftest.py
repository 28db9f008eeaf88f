"""Fixtures: foreign stacks on which compiled code calls back, and each test leaves the thread as it was."""

import pytest

import stackwarden

KIB = 1024
PAGE = 4 * KIB


@pytest.fixture(autouse=True)
def native_stack_afterwards():
    native = stackwarden.sync_stack()
    yield
    assert stackwarden.sync_stack() == native


@pytest.fixture
def area(probe):
    """area(size): fresh memory with a page on either side that cannot be touched."""
    mapped = []

    def get(size):
        whole = size + 2 * PAGE
        mapped.append((probe.map_memory(whole), whole))
        low = mapped[-1][0] + PAGE
        probe.forbid(low - PAGE, PAGE)
        probe.forbid(low + size, PAGE)
        return low

    yield get
    for base, size in mapped:
        probe.unmap_memory(base, size)
