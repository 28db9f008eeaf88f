"""trim_guard leaves out exactly the low pages that can't be touched, of whatever kind they are."""

import errno
import mmap
import os
from pathlib import Path

import pytest

import availability
import stackwarden

DESCRIPTORS = Path("/proc/self/fd")
PAGE = mmap.PAGESIZE
MIB = 1 << 20


def protect_none(probe, base, size):
    probe.forbid(base, size)


def guard_install(probe, base, size):
    try:
        probe.install_guard(base, size)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        availability.unavailable("MADV_GUARD_INSTALL", f"Linux {os.uname().release} has none")


@pytest.fixture(params=[protect_none, guard_install])
def guard(request, probe):
    """guard(base, size): make these pages such as can't be touched."""
    return lambda base, size: request.param(probe, base, size)


@pytest.mark.parametrize("pages", [0, 1, 8])
def test_the_base_is_the_lowest_page_that_can_be_touched(guard, memory, pages):
    base = memory()
    if pages:
        guard(base, pages * PAGE)
    with stackwarden.register_stack(base, MIB, trim_guard=True) as stack:
        assert (stack.base, stack.top) == (base + pages * PAGE, base + MIB)
        assert stack.size == MIB - pages * PAGE


@pytest.mark.parametrize("pages", [0, 1, 8])
def test_c_trims_the_same(guard, capi, memory, pages):
    base = memory()
    if pages:
        guard(base, pages * PAGE)
    status, handle = capi.attached.register(base, MIB, None, None, capi.TRIM_GUARD)
    assert status == capi.DONE
    assert capi.attached.find(base + MIB - 1)[:4] == (
        capi.DONE,
        handle,
        base + pages * PAGE,
        MIB - pages * PAGE,
    )


def test_a_base_inside_a_guard_page_moves_to_the_next_page(guard, memory):
    base = memory()
    guard(base, PAGE)
    with stackwarden.register_stack(base + 16, MIB - 16, trim_guard=True) as stack:
        assert (stack.base, stack.top) == (base + PAGE, base + MIB)


def test_a_base_inside_a_page_that_can_be_touched_stays(memory):
    base = memory() + 48
    with stackwarden.register_stack(base, MIB - 64, trim_guard=True) as stack:
        assert (stack.base, stack.size) == (base, MIB - 64)


def test_guard_pages_further_up_are_not_looked_for(guard, memory):
    base = memory()
    guard(base + MIB // 2, PAGE)
    with stackwarden.register_stack(base, MIB, trim_guard=True) as stack:
        assert stack.base == base


def test_without_being_asked_nothing_is_trimmed(guard, memory):
    base = memory()
    guard(base, PAGE)
    with stackwarden.register_stack(base, MIB) as stack:
        assert stack.base == base


def test_trimming_leaves_no_file_descriptor_open(guard, memory):
    base = memory()
    guard(base, PAGE)
    before = set(DESCRIPTORS.iterdir())
    stackwarden.register_stack(base, MIB, trim_guard=True).unregister()
    assert set(DESCRIPTORS.iterdir()) == before


def test_trimming_does_not_use_up_memory(memory):
    """Only the lowest pages are looked at; they are not written to."""
    base = memory(64 * MIB)
    before = resident_pages()
    stackwarden.register_stack(base, 64 * MIB, trim_guard=True).unregister()
    assert resident_pages() - before < 64


def resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])
