"""The operating system's map: both ways to ask for it say what /proc/self/maps says."""

import sys
from pathlib import Path

import pytest

import extensions
from availability import unavailable

if sys.platform != "linux":
    unavailable("/proc/self/maps", "it is Linux's")

HERE = Path(__file__).parent
BOUNDS = HERE.parents[1] / "cython_src" / "bounds"
PAGE = 4096


@pytest.fixture(scope="module")
def maps():
    sources = [HERE / "maps_probe.c", BOUNDS / "proc_files.c"]
    module = extensions.build(sources, "maps_probe", include=[BOUNDS])
    return extensions.load(module)


@pytest.fixture(params=["mapping_of", "by_query", "by_text"])
def ask(request, maps):
    way = getattr(maps, request.param)
    try:
        way(id(way))
    except OSError as error:
        unavailable("PROCMAP_QUERY", str(error))
    return way


def entries():
    """(low, high) of each entry of the map."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [tuple(int(end, 16) for end in line.split()[0].split("-")) for line in lines]


def test_an_entry_holds_each_of_its_addresses(ask, area):
    base = area(3 * PAGE)
    for address in (base, base + 1, base + PAGE, base + 3 * PAGE - 1):
        assert ask(address) == (base, base + 3 * PAGE)


def test_every_entry_of_the_map_is_found(ask, area):
    area(PAGE)
    before = entries()
    lasting = [entry for entry in before if (entry[1] >> 47) == 0]
    found = {entry: ask(entry[0]) for entry in lasting}
    same = set(lasting) & set(entries())  # reading moves the heap's end
    assert len(same) > 20
    assert {entry: found[entry] for entry in same} == {entry: entry for entry in same}


def test_memory_that_is_not_mapped_has_no_entry(ask, probe):
    base = probe.map_memory(4 * PAGE)
    probe.unmap_memory(base, 4 * PAGE)
    assert ask(base + PAGE) is None
    assert ask(16) is None
    assert ask(2**47 - 1) is None


def test_a_map_with_thousands_of_entries(ask, area, probe):
    base = area(2000 * PAGE)
    for number in range(0, 2000, 2):
        probe.forbid(base + number * PAGE, PAGE)
    for number in (1, 999, 1999):
        assert ask(base + number * PAGE) == (base + number * PAGE, base + (number + 1) * PAGE)


def test_what_can_be_read(maps, area, probe):
    base = area(2 * PAGE)
    assert maps.is_readable(base)
    assert maps.is_readable(base + PAGE - 1)
    assert not maps.is_readable(base - 1)
    assert not maps.is_readable(base + 2 * PAGE)
    probe.forbid(base, PAGE)
    assert not maps.is_readable(base + 100)
    assert maps.is_readable(base + PAGE)
    assert not maps.is_readable(16)


@pytest.mark.parametrize("pages", [1, 40, 256, 600])
def test_what_is_in_memory(maps, area, probe, pages):
    base = area(pages * PAGE)
    top = base + pages * PAGE
    assert not maps.is_resident(base, top)
    for address in range(base, top, PAGE):
        assert maps.is_readable(address)
    assert maps.is_resident(base, top)
    assert maps.is_resident(base, base)
    assert not maps.is_resident(base, top - 16)
    probe.unmap_memory(top - PAGE, PAGE)
    assert not maps.is_resident(base, top)


def test_a_guard_that_the_map_does_not_show_is_not_in_memory(maps, area, probe):
    base = area(3 * PAGE)
    for address in range(base, base + 3 * PAGE, PAGE):
        assert maps.is_readable(address)
    try:
        probe.install_guard(base + PAGE, PAGE)
    except OSError as error:
        unavailable("MADV_GUARD_INSTALL", str(error))
    assert not maps.is_resident(base, base + 3 * PAGE)
    assert maps.is_resident(base, base + PAGE)


def test_the_heap_is_an_arena_of_malloc_and_a_mapping_is_not(maps, area):
    lines = Path("/proc/self/maps").read_text().splitlines()
    (heap,) = [line for line in lines if line.endswith("[heap]")]
    assert maps.is_arena(*(int(end, 16) for end in heap.split()[0].split("-")))
    base = area(3 * PAGE)
    assert not maps.is_arena(base, base + 3 * PAGE)
