"""What Linux's pages show of stacks: both ways to ask for them say the same, and tell stacks apart."""

import ctypes
import random
import sys
from pathlib import Path

import pytest

import extensions
from availability import unavailable

if sys.platform != "linux":
    unavailable("/proc/self/pagemap", "it is Linux's")

HERE = Path(__file__).parent
BOUNDS = HERE.parents[1] / "cython_src" / "bounds"
KIB = 1024
MIB = 1024 * KIB
PAGE = 4 * KIB
NEAR = 256 * KIB  # below the top, at first sight
HOLE = 16 * KIB


@pytest.fixture(scope="module")
def module():
    others = [BOUNDS / f"{name}.c" for name in ("linux_stack", "linux_maps", "proc_files")]
    return extensions.load(
        extensions.build([HERE / "pages_probe.c", *others], "pages_probe", include=[BOUNDS])
    )


@pytest.fixture(params=["scan", "words"])
def pages(request, module):
    if not module.force(request.param):
        unavailable(
            "PAGEMAP_SCAN" if request.param == "scan" else "guards in pagemap",
            "this kernel lacks it",
        )
    yield module
    module.force("")


@pytest.fixture
def guard(probe):
    def install(address, size=PAGE):
        try:
            probe.install_guard(address, size)
        except OSError as error:
            unavailable("MADV_GUARD_INSTALL", str(error))

    return install


def use(low, high):
    ctypes.memset(low, 1, high - low)


def test_regions_are_pages_in_use_and_guards(pages, area, guard):
    base, number = area(MIB), MIB // PAGE
    drawn = random.Random(7)
    kinds = [
        drawn.choice(["guard", "used", "used", "unused", "unused", "unused"]) for _ in range(number)
    ]
    expected = []
    for i, kind in enumerate(kinds):
        page = base + i * PAGE
        if kind == "guard":
            guard(page)
        elif kind == "used":
            use(page, page + 1)
        if kind == "unused":
            continue
        if expected and expected[-1][1:] == (page, kind == "guard"):
            page = expected.pop()[0]
        expected.append((page, base + (i + 1) * PAGE, kind == "guard"))
    found, start = [], base
    while start < base + MIB:
        some, start = pages.regions(start, base + MIB, 16)
        if some and found and found[-1][1:] == (some[0][0], some[0][2]):
            some[0] = (found.pop()[0], *some[0][1:])
        found += some
    assert found == expected


def test_pages_that_alternate_fit_into_one_window(pages, area):
    base = area(32 * PAGE)
    for page in range(base + PAGE, base + 32 * PAGE, 2 * PAGE):
        use(page, page + 1)
    found, reached = pages.regions(base, base + 32 * PAGE, 16)
    assert (len(found), reached) == (16, base + 32 * PAGE)


@pytest.mark.parametrize("size", [300 * KIB, 2 * MIB, 16 * MIB])
@pytest.mark.parametrize("depth", [8 * KIB, 200 * KIB])
def test_one_that_is_in_use_down_from_its_top(pages, area, size, depth):
    base = area(size)
    top = base + size
    use(top - depth, top)
    in_use = top - depth
    assert pages.only_stack(base, top, top - 4000, NEAR) == (base, top, in_use)
    assert pages.only_stack(base, top, in_use, NEAR) == (base, top, in_use)


@pytest.mark.parametrize("size", [512 * KIB, 4 * MIB])
def test_one_in_use_to_its_end_is_not_told_from_two(pages, area, size):
    base = area(size)
    use(base, base + size)
    assert pages.only_stack(base, base + size, base + size - 4000, NEAR) is None


@pytest.mark.parametrize("beneath", [64 * KIB, 200 * KIB, 900 * KIB, 3 * MIB, 12 * MIB])
def test_memory_in_use_beneath_is_another_stacks(pages, area, beneath):
    size = 16 * MIB
    base = area(size)
    top = base + size
    use(top - 8 * KIB, top)
    use(top - beneath, top - beneath + 1)
    assert pages.only_stack(base, top, top - 4000, NEAR) is None


@pytest.mark.parametrize(("hole", "found"), [(HOLE, True), (HOLE + PAGE, False)])
@pytest.mark.parametrize("at", [24 * KIB, 200 * KIB])
def test_large_frames_leave_holes(pages, area, hole, found, at):
    size = 2 * MIB
    base = area(size)
    top = base + size
    use(top - at, top)
    low = top - at - hole - PAGE
    use(low, low + PAGE)
    expected = (base, top, low) if found else None
    assert pages.only_stack(base, top, top - 4000, NEAR) == expected
    assert pages.only_stack(base, top, low, NEAR) == expected


@pytest.mark.parametrize("guarded", [False, True], ids=["one guard", "two"])
def test_the_first_stack_pointer_is_near_the_top_or_between_two_guards(pages, area, probe, guarded):
    size = 2 * MIB
    base = area(size)
    top = base + size
    if not guarded:
        probe.unmap_memory(top - PAGE, PAGE)
        top -= PAGE
    use(top - 512 * KIB, top)
    assert pages.only_stack(base, top, top - NEAR + 100, NEAR) is not None
    assert (pages.only_stack(base, top, top - NEAR - PAGE, NEAR) is not None) == guarded
    assert (
        pages.only_stack(base, top, top - NEAR - PAGE, NEAR, base, top, top - 8 * KIB) is not None
    )


@pytest.mark.parametrize("hole", [100 * KIB, 300 * KIB, 700 * KIB])
def test_between_two_guards_other_stacks_above_are_seen(pages, area, hole):
    size = 2 * MIB
    base = area(size)
    top = base + size
    use(top - MIB, top - hole)
    use(top - hole + HOLE + PAGE, top)
    assert pages.only_stack(base, top, top - MIB, NEAR) is None


def test_a_huge_page_is_in_use_whatever_lies_in_it(module, area):
    if not module.force("scan"):
        unavailable("PAGEMAP_SCAN", "words show no huge pages")
    base = -(-area(6 * MIB) // (2 * MIB)) * 2 * MIB
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if libc.madvise(base + 2 * MIB, 2 * MIB, 14) != 0:  # MADV_HUGEPAGE
        unavailable("MADV_HUGEPAGE", "this kernel has no huge pages")
    use(base + 4 * MIB - PAGE, base + 4 * MIB)
    (region,), _ = module.regions(base, base + 4 * MIB, 16)
    if region[1] - region[0] < 2 * MIB:
        unavailable("MADV_HUGEPAGE", "there was no huge page")
    assert module.only_stack(base, base + 4 * MIB, base + 4 * MIB - 100, NEAR) is None


def test_a_top_that_was_never_used_is_another_stacks(pages, area):
    size = 2 * MIB
    base = area(size)
    use(base + size - 100 * KIB, base + size - 40 * KIB)
    assert pages.only_stack(base, base + size, base + size - 80 * KIB, NEAR) is None


def test_a_gap_beneath_is_no_guard(pages, memory, probe):
    base = memory(2 * MIB)
    probe.unmap_memory(base, MIB)
    use(base + 2 * MIB - PAGE, base + 2 * MIB)
    assert pages.only_stack(base + MIB, base + 2 * MIB, base + 2 * MIB - 100, NEAR) is None


@pytest.mark.parametrize("size", [128 * KIB, 2 * MIB])
def test_guards_that_no_map_shows_bound_a_stack(pages, area, guard, size):
    base = area(4 * size)
    for number in range(4):
        guard(base + number * size)
        use(base + (number + 1) * size - 20 * KIB, base + (number + 1) * size)
    for number in range(4):
        low, high = base + number * size + PAGE, base + (number + 1) * size
        assert pages.only_stack(base, base + 4 * size, high - 100, NEAR) == (
            low,
            high,
            high - 20 * KIB,
        )


def test_one_that_was_seen_before_grew(pages, area):
    size = 8 * MIB
    base = area(size)
    top = base + size
    use(top - 5 * MIB, top)
    seen = (base, top, top - 12 * KIB)
    assert pages.only_stack(base, top, top - 4 * MIB, NEAR, *seen) == (base, top, top - 5 * MIB)
    assert pages.only_stack(base, top, top - 6 * MIB, NEAR, *seen) is None


def test_whether_it_is_as_it_was(pages, area, guard):
    size = 2 * MIB
    base = area(size)
    top = base + size
    use(top - 16 * KIB, top)
    seen = pages.only_stack(base, top, top - 4000, NEAR)
    assert pages.is_as_seen(*seen, top - 4000)
    assert not pages.is_as_seen(*seen, top - 20 * KIB)
    use(base + MIB, base + MIB + 1)
    assert not pages.is_as_seen(*seen, top - 4000)
    assert pages.is_as_seen(base, top, 0, top - 4000)
    guard(base + PAGE)
    assert not pages.is_as_seen(base, top, 0, top - 4000)


@pytest.mark.parametrize("number", [1, 5, 40])
def test_the_nearest_guard_beneath(pages, area, guard, number):
    base = area(MIB)
    for i in range(number):
        guard(base + (2 * i + 1) * PAGE)
    last = base + 2 * number * PAGE
    assert pages.end_of_guard(base + MIB - PAGE, base) == last
    assert pages.end_of_guard(base + MIB - PAGE, last) == last
    assert pages.end_of_guard(base + MIB - PAGE, last + 4000) == last + 4000


def test_nothing_is_told_where_nothing_is_shown(module, area):
    module.force("nothing")
    try:
        base, top = area(2 * MIB), 2 * MIB
        top += base
        use(top - PAGE, top)
        assert module.only_stack(base, top, top - 100, NEAR) is None
        assert module.end_of_guard(top - PAGE, base) == 0
        assert not module.is_as_seen(base, top, top - PAGE, top - 100)
    finally:
        module.force("")
