"""One bound, 1 TiB, for every size that is told or asked for; and within it nothing costs by its length."""

import ctypes
import gc
import mmap
import threading
import time
from pathlib import Path

import pytest

import stackwarden

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
PAGE = mmap.PAGESIZE
BOUND = r"2\*\*40 \(1T\)"


@pytest.fixture
def reserve():
    """reserve(size): addresses that nobody else has, of memory that cannot be touched."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    private_anonymous_no_reserve = 0x4022
    reserved = []

    def get(size):
        reserved.append((libc.mmap(None, size, 0, private_anonymous_no_reserve, -1, 0), size))
        return reserved[-1][0]

    yield get
    for base, size in reserved:
        libc.munmap(base, size)


@pytest.fixture
def allow():
    """allow(base, size): that memory can be touched from now on."""
    libc = ctypes.CDLL(None)
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return lambda base, size: libc.mprotect(base, size, mmap.PROT_READ | mmap.PROT_WRITE)


class Costs:
    """Of a block, in which no garbage is collected: processor time, and the memory in use more after it."""

    def __enter__(self):
        gc.collect()
        gc.disable()
        self._time, self._memory = time.thread_time(), resident()
        return self

    def __exit__(self, *exception):
        self.seconds = time.thread_time() - self._time
        self.memory = resident() - self._memory
        gc.enable()


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


# ---- the bound ----


@pytest.mark.parametrize("size", [TIB + 16, 1 << 46, 0x7F0000000000])
@pytest.mark.parametrize("tell", [stackwarden.notify_stack_switch, stackwarden.register_stack])
def test_a_larger_range_is_refused_at_once_with_the_bound(everything, new_stack, tell, size):
    new_stack()
    before = everything()
    with Costs() as costs, pytest.raises(stackwarden.StackRangeError, match=rf"{size} .*{BOUND}"):
        tell(0x10000, size)
    assert costs.seconds < 0.05
    assert everything() == before


@pytest.mark.parametrize("how", ["attached", "detached", "thread"])
def test_c_refuses_it_too(capi, how):
    calls = getattr(capi, how)
    assert calls.notify(0x10000, TIB + 16) == capi.BAD_RANGE
    assert calls.register(0x10000, TIB + 16) == (capi.BAD_RANGE, capi.UNTOUCHED)
    assert calls.enter(0x10000, TIB + 16).status == capi.BAD_RANGE


ASKED = {
    "call_on_stack": (lambda size: stackwarden.call_on_stack(int, stack_size=size), "stack_size"),
    "growing: room": (lambda size: stackwarden.growing(room=size), "room"),
    "growing: stack_size": (lambda size: stackwarden.growing(stack_size=size), "stack_size"),
    "deep_recursion": (lambda size: stackwarden.deep_recursion(stack_size=size), "stack_size"),
    "stack_budget": (stackwarden.stack_budget, "budget"),
    "budget of a stack": (
        lambda size: setattr(stackwarden.current_stack(), "budget", size),
        "budget",
    ),
    "sync_on_call": (lambda size: stackwarden.sync_on_call(int, min_stack=size), "min_stack"),
    "wrap_thread_pool": (
        lambda size: stackwarden.wrap_thread_pool(print, min_stack=size),
        "min_stack",
    ),
    "stack_policy": (
        lambda size: stackwarden.stack_policy(unknown="estimate", assumed_size=size),
        "assumed_size",
    ),
}


@pytest.mark.parametrize("size", [TIB + 1, 2**47, 2**64, 2**100, 0, -1, "2T"])
@pytest.mark.parametrize("asked", ASKED)
def test_a_size_that_is_asked_for_is_refused_with_its_name_and_the_bound(asked, size):
    ask, parameter = ASKED[asked]
    with pytest.raises(stackwarden.StackRangeError, match=rf"{parameter}.* bytes: .*{BOUND}"):
        ask(size)


# ---- what a large range costs ----


@pytest.mark.parametrize("size", [GIB, 64 * GIB, TIB])
@pytest.mark.parametrize("offset", [0, 48 * KIB])
def test_a_large_range_costs_by_its_edges(reserve, size, offset):
    base = reserve(size + MIB) + offset
    with Costs() as costs:
        stack = stackwarden.register_stack(base, size)
    assert costs.seconds < 0.5
    assert costs.memory < 4 * MIB
    for place in (base, base + size // 2, base + size - 1, base + 3 * size // 4):
        assert stackwarden.find_stack(place) == stack
    for place in (base - 1, base + size):
        assert stackwarden.find_stack(place) is None
    with Costs() as costs:
        stack.unregister()
    assert costs.seconds < 0.5
    assert stackwarden.find_stack(base + size // 2) is None


def test_again_and_again_it_costs_no_more(reserve):
    base = reserve(64 * GIB)
    for n in range(50):
        stackwarden.register_stack(base + n * 64 * KIB, 32 * GIB).unregister()
    with Costs() as costs:
        for n in range(1000):
            stackwarden.register_stack(base + n % 100 * 64 * KIB, 32 * GIB).unregister()
    assert costs.memory < MIB
    assert costs.seconds < 5


def test_small_ranges_in_the_place_of_a_large_one_and_back(reserve):
    """Each gives way to the next; those beside it stay."""
    base = reserve(2 * GIB)
    beside = [stackwarden.register_stack(base + place, MIB) for place in (0, 2 * GIB - MIB)]
    for _ in range(3):
        large = stackwarden.register_stack(base + MIB, 2 * GIB - 2 * MIB)
        assert stackwarden.find_stack(base + GIB) == large
        small = [
            stackwarden.register_stack(base + place, 100 * KIB)
            for place in (512 * MIB, GIB, GIB + 112 * KIB)
        ]
        assert [stackwarden.find_stack(one.base + 5000) for one in small] == small
        assert stackwarden.find_stack(base + 700 * MIB) is None
        assert large not in stackwarden.stacks()
    large = stackwarden.register_stack(base + MIB, 2 * GIB - 2 * MIB)
    assert [stackwarden.find_stack(one.base) for one in small] == [large] * 3
    assert [stackwarden.find_stack(one.base) for one in beside] == beside


def test_lookups_are_right_while_large_ranges_come_and_go(probe, capi, reserve):
    """They read what is about to be used for another range, and never find that."""
    base = reserve(4 * GIB)
    status, kept = capi.attached.register(base, MIB)
    assert status == capi.DONE
    probe.stop(False)
    threads = [
        threading.Thread(target=probe.churn, args=(base + GIB, 2, GIB, 512 * MIB, GIB, 1, 1 << 62)),
        threading.Thread(
            target=probe.churn, args=(base + 3 * GIB, 1, GIB, 256 * MIB, GIB, 2, 1 << 62)
        ),
    ]
    timer = threading.Timer(2, probe.stop, [True])
    for thread in [*threads, timer]:
        thread.start()
    tried, found, wrong = probe.look_up(base, 4 * GIB, GIB, base, kept, 3)
    for thread in [*threads, timer]:
        thread.join()
    assert wrong == 0
    assert 0 < found < tried
    assert stackwarden.find_stack(base).handle == kept


# ---- guard pages ----


@pytest.mark.parametrize("usable", [PAGE * 16, MIB, GIB])
@pytest.mark.parametrize("size", [64 * GIB, TIB])
def test_a_long_guard_is_trimmed_at_once(reserve, allow, size, usable):
    base = reserve(size)
    assert allow(base + size - usable, usable) == 0
    with Costs() as costs:
        stack = stackwarden.register_stack(base, size, trim_guard=True)
    assert (stack.base, stack.size) == (base + size - usable, usable)
    assert costs.seconds < 0.5
    assert costs.memory < 4 * MIB


def test_what_cannot_be_touched_at_all_is_refused_at_once(reserve):
    base = reserve(64 * GIB)
    with Costs() as costs, pytest.raises(stackwarden.UnmappedStackError):
        stackwarden.register_stack(base, 64 * GIB, trim_guard=True)
    assert costs.seconds < 0.5


@pytest.mark.parametrize("pages", [*range(1, 40), 255, 256, 257, 1000])
def test_a_guard_of_any_length_ends_at_its_last_page(probe, memory, pages):
    base = memory(8 * MIB)
    probe.forbid(base, pages * PAGE)
    with stackwarden.register_stack(base, 8 * MIB, trim_guard=True) as stack:
        assert stack.base == base + pages * PAGE


# ---- native stacks are as the system says ----


def test_a_native_stack_without_a_limit_is_believed_and_not_walked_over(child_without_a_limit):
    program = """
        import resource, sys, time
        import stackwarden
        stack = stackwarden.current_stack()
        assert stack.size > 1 << 40, stack
        begun = time.thread_time()
        try:
            stack.paint()
        except stackwarden.StackRangeError as error:
            print("64G" in str(error))
        stackwarden.sync_stack()
        stackwarden.check_stack_depth()
        print(stackwarden.stack_remaining() > 1 << 40, stack.high_water < 1 << 30)
        print(time.thread_time() - begun < 0.5)
    """
    assert child_without_a_limit(program).stdout == "True\nTrue True\nTrue\n"
