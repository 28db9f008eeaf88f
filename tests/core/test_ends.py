"""The end of a record, an execution state, a callback, a thread's block: one way each, whoever ends it, and
nothing half-done stays. And the net: the functions that free are called from one place."""

import contextvars
import os
import re
import threading
import weakref
from pathlib import Path

import pytest

import stackwarden

CORE = Path(__file__).parents[2] / "cython_src"
KIB, MIB = 1 << 10, 1 << 20

needs_frames = pytest.mark.skipif(
    "frames" not in stackwarden.status()["isolation"], reason="isolation frames cannot be had here"
)


class Big:
    """Something that a context holds."""


VARIABLE = contextvars.ContextVar("VARIABLE")


def held_by_a_context():
    """A weak reference to what the current context, and soon a stack's, alone holds."""
    big = Big()
    VARIABLE.set(big)
    return weakref.ref(big)


def register(base, **options):
    return stackwarden.register_stack(base, MIB, **options)


def leaked():
    return stackwarden.status()["leaked_stacks"]


# ---- records and their execution states ----


@needs_frames
@pytest.mark.parametrize("isolation", ["frames", "none"])
def test_a_stack_that_gives_way_lets_its_context_go(memory, isolation):
    base, before, held = memory(), leaked(), []
    for _ in range(50):
        held.append(held_by_a_context())
        register(base, isolation="frames")
        VARIABLE.set(None)
    register(base, isolation=isolation)
    assert [reference() for reference in held] == [None] * 50
    assert leaked() == before


@needs_frames
def test_one_that_gives_way_to_what_is_told_lets_it_go_with_the_next_drain(memory):
    base, held = memory(), held_by_a_context()
    register(base, isolation="frames")
    VARIABLE.set(None)
    stackwarden.notify_stack_switch(base + 16, MIB - 16)
    stackwarden.reset_stack()
    assert held() is not None
    stackwarden.drain()
    assert held() is None


@needs_frames
def test_one_that_gives_way_while_detached_lets_it_go_later(memory, capi):
    base, held = memory(), held_by_a_context()
    register(base, isolation="frames")
    VARIABLE.set(None)
    assert capi.detached.register(base + 16, MIB - 16)[0] == capi.DONE
    assert held() is not None
    stackwarden.drain()
    assert held() is None


@needs_frames
def test_one_that_gives_way_with_frames_on_it_is_leaked_and_counted_once(child):
    done = child("""
        import stackwarden
        from stackwarden.adapters.ucontext import Coroutine, suspend

        made = Coroutine(lambda: suspend(1))
        made.resume()
        stack, = [one for one in stackwarden.stacks() if one.isolation == "frames" and one.switches]
        base, size = stack.base, stack.size
        for isolation in ("none", "frames", "none"):
            stackwarden.register_stack(base + 16, size - 16, isolation=isolation)
            print(stackwarden.status()["leaked_stacks"], end=" ")
        import os
        print(flush=True)
        os._exit(0)
    """)
    assert done.stdout == "1 1 1 \n"


def test_a_range_that_is_refused_leaves_what_it_overlaps_where_it_was(memory, companion):
    """One of the stacks under it may give way, another is current on a thread: neither does."""
    base = memory(4 * MIB)
    free, current = register(base), register(base + 2 * MIB)
    companion(stackwarden.notify_stack_switch, current)
    with pytest.raises(stackwarden.StackOverlapError):
        stackwarden.register_stack(base, 4 * MIB)
    assert {free, current} <= set(stackwarden.stacks())
    assert stackwarden.find_stack(base) == free
    companion(stackwarden.reset_stack)


# ---- what fails half-way ----

NO_MEMORY = """
    import sys, stackwarden
    try:
        import _testcapi
    except ImportError:
        sys.exit("no _testcapi")
    import capi_probe
    base = capi_probe.map_memory(1 << 20)
    {prepare}
    def state():
        seen = stackwarden.status()
        return seen["registered"], seen["leaked_stacks"], seen["superseded"], seen["switch_callbacks"]
    before, refused = state(), 0
    for n in range(1, 60):
        try:
            _testcapi.set_nomemory(n, n + 1)
            {call}
        except (MemoryError, stackwarden.StackwardenError):
            _testcapi.remove_mem_hooks()
            refused += 1
            assert state() == before, (n, before, state())
        else:
            _testcapi.remove_mem_hooks()
            {undo}
        assert state() == before, (n, before, state())
    print(refused > 0)
"""


@pytest.mark.parametrize(
    ("prepare", "call", "undo"),
    [
        ("pass", "made = stackwarden.register_stack(base, 1 << 20)", "made.unregister()"),
        (
            "if 'frames' not in stackwarden.status()['isolation']: print(True); sys.exit()",
            "made = stackwarden.register_stack(base, 1 << 20, isolation='frames', budget='512K', name='one')",
            "made.unregister()",
        ),
        (
            "call = lambda left, entered: None",
            "stackwarden.register_switch_callback(call)",
            "stackwarden.unregister_switch_callback(call)",
        ),
    ],
    ids=["register", "register with isolation", "callback"],
)
def test_what_runs_out_of_memory_half_way_undoes_what_it_did(child, prepare, call, undo):
    pytest.importorskip("_testcapi", reason="this interpreter has no _testcapi")
    assert child(NO_MEMORY.format(prepare=prepare, call=call, undo=undo)).stdout == "True\n"


# ---- callbacks ----


def in_a_thread(function):
    """Until CPython 3.13 join() returns a little before the thread is gone."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
    while len(list(Path("/proc/self/task").iterdir())) > threading.active_count():
        os.sched_yield()


def test_callbacks_of_ended_threads_are_dropped_at_the_next_registration(new_stack):
    class Callback:
        def __call__(self, left, entered):
            raise AssertionError

    held = []

    def work():
        callback = Callback()
        held.append(weakref.ref(callback))
        stackwarden.register_switch_callback(callback)

    for _ in range(20):
        in_a_thread(work)
    calls, stack = [], new_stack()

    def note(left, entered):
        calls.append(entered)

    stackwarden.register_switch_callback(note)
    try:
        assert [reference() for reference in held] == [None] * 20
        for _ in range(2):
            stackwarden.notify_stack_switch(stack)
            stackwarden.reset_stack()
            stackwarden.sync_stack()
        assert len(calls) == 2
        assert stackwarden.status()["switch_callbacks"] == 1
    finally:
        stackwarden.unregister_switch_callback(note)


def test_the_last_callback_of_an_ended_thread_is_dropped_with_the_next_switch(child):
    """Nobody registers or asks: the switch itself finds that it is called for nobody."""
    done = child("""
        import os, threading, weakref
        import capi_probe, stackwarden
        class Callback:
            def __call__(self, left, entered): pass
        callback = Callback()
        held = weakref.ref(callback)
        thread = threading.Thread(target=stackwarden.register_switch_callback, args=(callback,))
        del callback
        thread.start(); thread.join(); del thread
        while len(os.listdir("/proc/self/task")) > 1:
            os.sched_yield()
        stack = stackwarden.register_stack(capi_probe.map_memory(1 << 20), 1 << 20)
        for _ in range(2):
            stackwarden.notify_stack_switch(stack); stackwarden.sync_stack(); stackwarden.reset_stack()
            stackwarden.sync_stack()
        print(held())
    """)
    assert done.stdout == "None\n"


def test_c_callbacks_of_ended_threads_give_their_places_back(probe, capi):
    """There are 16."""
    results = []
    for _ in range(40):
        in_a_thread(lambda: results.append(probe.register_callback(0, False)))
    assert results == [capi.DONE] * 40


# ---- a full registry ----

FULL = """
    import ctypes, mmap, threading
    import capi, capi_probe, stackwarden
    least = stackwarden.status()["least_stack_size"]
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    private_anonymous_no_reserve = 0x4022
    first = libc.mmap(None, (1 << 21) * least, 0, private_anonymous_no_reserve, -1, 0)
    capi_probe.import_table()
    stackwarden.current_stack()
    made, status = capi_probe.fill_registry(first, least)
    assert status == capi.FULL, status
    def in_a_thread(function):
        results = []
        def work():
            try:
                results.append(function())
            except Exception as error:
                results.append(error)
        thread = threading.Thread(target=work)
        thread.start(); thread.join()
        return results[0]
"""


def test_a_full_registry_says_so_with_the_number(child):
    done = child(
        FULL
        + """
    for function in (
        stackwarden.current_stack,
        stackwarden.sync_stack,
        lambda: stackwarden.notify_stack_switch(first, least),
        lambda: stackwarden.register_switch_callback(print),
        lambda: stackwarden.call_on_stack(int),
        lambda: stackwarden.stack_policy("counted").__enter__(),
        lambda: stackwarden.stack_budget("100K").__enter__(),
        lambda: setattr(stackwarden.stacks()[5], "budget", 1 << 20),
        lambda: stackwarden.register_stack(first, 1 << 20),
    ):
        error = in_a_thread(function)
        assert type(error) is stackwarden.RegistryFullError, repr(error)
        assert "the registry is full: 2097151 records" in str(error), str(error)
    print(made > 2_000_000)
""",
        seconds=120,
    )
    assert done.stdout == "True\n"


def test_threads_that_find_it_full_lose_nothing_and_leak_nothing(child):
    """The memory of 50,000 calls, of which each makes a block and fails; and once there is room, the same thread
    gets its block."""
    done = child(
        FULL
        + """
    def resident():
        return int(open("/proc/self/statm").read().split()[1]) * mmap.PAGESIZE
    def work():
        for _ in range(1000):
            capi.attached.reset()
        before = resident()
        for _ in range(50_000):
            assert capi.attached.reset() == capi.FULL
        assert resident() - before < 1 << 20, resident() - before
        for place in range(first, first + 3 * least, least):
            stackwarden.find_stack(place).unregister()
        assert capi.attached.reset() == capi.DONE
        return stackwarden.current_stack().bounds_from
    print(in_a_thread(work))
""",
        seconds=120,
    )
    assert done.stdout == "native\n"


# ---- one way: the functions that free are called from one place ----

FREEING = {
    "free_record": {"end_record"},
    "remove_record": {"end_record"},
    "end_record": {
        "sweep_retired",
        "end_block",
        "new_registered",
        "register_range",
        "index_suspended",
    },
    "sw_push_retired": {"retire_record"},
    "sw_take_retired": {"sweep_retired"},
    "free_execution": {"end_execution", "release_orphans"},
    "end_execution": {"end_record", "end_native_execution"},
    "end_callback": {"sw_unregister_switch_callback", "end_callbacks_of"},
    "end_callbacks_of": {"end_block"},
    "end_block": {"end_thread", "give_block"},
    "free_span": {"drop_span"},
    "free_name": {"free_record"},
    "free_request": {"remove_request", "end_requests"},
}
"""By what frees or ends something: the functions that may call it."""

ASSIGNED = {
    r"sw_process\.free_record = ": {"take_record", "free_record"},
    r"sw_callbacks\[i\]\.function = NULL|callback\.function = NULL": {
        "end_callback",
        "callback_for",
    },
    r"thread\.ident, 0\)": {"end_block"},
    r"sw_free_executions = ": {"new_execution", "free_execution"},
    r"sw_orphaned_executions = ": {"end_execution", "take_orphan"},
    r"\.free_requests = ": {"make_request", "free_request"},
}


def functions_of_the_core():
    """Name and body of each function in Cython."""
    for path in sorted(CORE.rglob("*.p[xy][dxi]")):
        text = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
        parts = re.split(r"^c?p?def (?:inline )?(?=[^\n]*\()", text, flags=re.MULTILINE)
        for part in parts[1:]:
            name = re.search(r"(\w+)(?: \"\w+\")?\(", part)
            yield name[1], part[name.end() :]


@pytest.mark.parametrize("freed", FREEING)
def test_what_frees_is_called_from_one_place(freed):
    callers = {name for name, body in functions_of_the_core() if re.search(rf"\b{freed}\(", body)}
    assert callers == FREEING[freed]


@pytest.mark.parametrize("pattern", ASSIGNED)
def test_what_marks_something_as_free_is_written_in_one_place(pattern):
    writers = {name for name, body in functions_of_the_core() if re.search(pattern, body)}
    assert writers == ASSIGNED[pattern]


def test_a_thread_without_a_block_is_told_why():
    """It may be that the registry is full: no place says "out of memory" without asking why_no_block()."""
    wrong = r"thread == NULL:\s+(?:return|_refuse\()\s*STACKWARDEN_NO_MEMORY|NO_MEMORY if sw_process.running"
    for name, body in functions_of_the_core():
        assert not re.search(wrong, body), name
