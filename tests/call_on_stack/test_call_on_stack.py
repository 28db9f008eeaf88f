"""call_on_stack: as a call in place, on another stack."""

import asyncio
import contextvars
import gc
import os
import signal
import sys
import threading
import traceback
from itertools import pairwise

import pytest

import stackwarden
from stackwarden import call_on_stack

KIB = 1024
MIB = 1024 * KIB


def on(stack_size):
    """Which stack a call with that size runs on."""
    return call_on_stack(stackwarden.current_stack, stack_size=stack_size)


# ---- what goes in and comes out ----


def test_arguments_go_in_and_the_result_comes_out():
    def work(*args, **kwargs):
        return args, kwargs

    assert call_on_stack(work, 1, 2, func=3, other=4) == ((1, 2), {"func": 3, "other": 4})


def test_stack_size_is_ours_and_not_passed_on():
    assert call_on_stack(lambda **kwargs: kwargs, stack_size=MIB, other=1) == {"other": 1}


def test_the_exception_comes_out_as_it_was_raised():
    error = KeyError("x")

    def work():
        raise error

    with pytest.raises(KeyError) as caught:
        call_on_stack(work)
    assert caught.value is error
    assert error.__context__ is error.__cause__ is None
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    own = [name for name in names if not name.startswith("stackwarden.")]
    assert own == ["test_the_exception_comes_out_as_it_was_raised", "work"]


def test_the_handled_exception_is_the_callers():
    def work():
        seen.append(sys.exc_info()[1])
        raise ValueError

    seen, handled = [], KeyError("handled")
    try:
        raise handled
    except KeyError:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            call_on_stack(work)
    assert caught.value.__context__ is handled
    assert seen == [handled]


def test_what_is_not_callable_is_a_type_error():
    with pytest.raises(TypeError, match="not callable"):
        call_on_stack(3)


# ---- the stack ----


@pytest.mark.parametrize(
    ("size", "least"),
    [(128 * KIB, 128 * KIB), ("8M", 8 * MIB), (MIB + 1, MIB + 1), ("4G", 4096 * MIB)],
)
def test_the_stack_has_the_size_or_a_little_more(size, least):
    stack = on(size)
    assert stack.name == "call_on_stack"
    assert stack.system == "stackwarden"
    most = (
        least
        if sys.version_info >= (3, 12)
        else max(least, 2600 * sys.getrecursionlimit() + 16 * KIB)
    )
    assert least <= stack.size < most + 64 * KIB


def test_the_size_is_64_mib_by_default_or_what_the_settings_say(child):
    program = "import stackwarden as s; print(s.call_on_stack(s.current_stack).size)"
    assert child(program).stdout == f"{64 * MIB}\n"
    assert child(program, STACKWARDEN="stack-size=16M").stdout == f"{16 * MIB}\n"
    assert child(program, options=["-X", "stackwarden=stack-size=32M"]).stdout == f"{32 * MIB}\n"


@pytest.mark.parametrize("size", [0, -1, (1 << 40) + 1, 1 << 70, "", "1X", "2T", "9999G"])
def test_a_size_that_is_none_is_refused_and_nothing_is_called(size):
    called = []
    with pytest.raises(
        stackwarden.StackRangeError, match=str(size) if isinstance(size, int) else "size"
    ):
        call_on_stack(called.append, 1, stack_size=size)
    assert not called


@pytest.mark.parametrize("size", [1.5, b"1M", []])
def test_what_is_no_number_is_refused(size):
    with pytest.raises(TypeError):
        call_on_stack(print, stack_size=size)


def test_a_stack_that_is_too_small_is_refused_with_the_numbers():
    with pytest.raises(stackwarden.StackTooSmallError, match=r"print.* 4096 bytes"):
        call_on_stack(print, stack_size=4096)


def test_address_space_that_cannot_be_had_is_a_memory_error(child):
    child("""
        import resource
        import stackwarden
        resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
        for size in range(1, 17):
            stackwarden.call_on_stack(print, size, stack_size=size << 26)  # free ones make room
        try:
            stackwarden.call_on_stack(print, stack_size="8G")
        except MemoryError as error:
            assert str(8 << 30) in str(error), error
        else:
            raise SystemExit("8 GiB in 4")
        stackwarden.call_on_stack(print, "and on it goes")
    """)


def test_the_bounds_are_those_of_the_stack_and_afterwards_the_callers(effective_bounds):
    def look():
        return effective_bounds(), stackwarden.current_stack()

    before = effective_bounds()
    inside, stack = call_on_stack(look, stack_size=MIB)
    assert effective_bounds() == before
    if "top" in inside:
        margin = stackwarden.status()["margin"]
        assert inside == {
            "top": stack.top,
            "soft": stack.base + 2 * margin,
            "hard": stack.base + margin,
        }
    else:
        assert inside != before


def test_calls_nest():
    def work(depth):
        here = stackwarden.current_stack()
        if depth:
            inner = call_on_stack(work, depth - 1, stack_size=MIB + depth % 3 * 64 * KIB)
            assert stackwarden.current_stack() == stackwarden.sync_stack() == here
            return [here, *inner]
        return [here]

    native = stackwarden.current_stack()
    stacks = call_on_stack(work, 30)
    assert len(stacks) == len({stack.base for stack in stacks}) == 31
    assert native == stackwarden.sync_stack()


def test_a_stack_is_kept_for_the_next_call_of_the_same_size():
    assert on(3 * MIB) == on(3 * MIB)


def test_no_more_than_16_free_stacks_are_kept():
    def after(sizes):
        for size in sizes:
            on(size * MIB)
        return sum(stack.name == "call_on_stack" for stack in stackwarden.stacks())

    kept = stackwarden.status()["leaked_stacks"]  # for greenlets, by other tests
    assert after(range(1, 40)) == after(range(40, 80)) <= 16 + kept


def test_the_stack_cannot_be_unregistered_by_others():
    stack = on(MIB)
    with pytest.raises(stackwarden.StackInUseError):
        stack.unregister()
    assert call_on_stack(lambda: stackwarden.sync_stack() == stack, stack_size=MIB)


@pytest.mark.parametrize("isolation", [None, "none"])
def test_calls_and_foreign_stacks_nest_in_each_other(fibers, isolation):
    """isolation None: stacks that are only told of, which the thread remembers two of."""

    def work(depth):
        here = stackwarden.current_stack()
        inner = [call_on_stack(elsewhere, depth - 1)] if depth else []
        assert stackwarden.sync_stack().base == here.base
        return [here.base, *inner]

    def elsewhere(depth):
        here = stackwarden.current_stack().base
        stack = fibers.Stack(256 * KIB, isolation)
        result = fibers.enter(stack, lambda: work(depth))
        assert stackwarden.sync_stack().base == here
        assert result[0] == stack.base
        return here, result

    native = stackwarden.current_stack()
    assert elsewhere(6)[0] == native.base
    assert stackwarden.sync_stack() == native


# ---- memory ----


def resident():
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def nested_list(depth):
    nested = []
    for _ in range(depth):
        nested = [nested]
    return nested


def test_memory_is_used_as_it_is_touched_and_given_back(child):
    child("""
        import os, pickle, sys
        import stackwarden

        def resident():
            with open("/proc/self/statm") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        def dump():
            nested = []
            for _ in range(200_000):
                nested = [nested]
            pickle.dumps(nested)
            seen.append(resident())

        seen = []
        sys.setrecursionlimit(10**6)
        stackwarden.call_on_stack(len, "", stack_size="4G")
        before = resident()
        stackwarden.call_on_stack(len, "", stack_size="4G")
        assert resident() - before < 1 << 20, resident() - before
        for _ in range(3):
            stackwarden.call_on_stack(dump, stack_size="4G")
        after = resident()
        assert after - before < seen[0] - before, (before, seen, after)
        for _ in range(3):
            stackwarden.call_on_stack(dump, stack_size="4G")
        assert resident() - after < 8 << 20, (after, resident())
    """)


def test_calls_leave_nothing_behind():
    def work(depth):
        return call_on_stack(work, depth - 1, stack_size="1M") if depth else object()

    def raises():
        raise KeyError

    def rounds(count):
        for _ in range(count):
            call_on_stack(work, 3, stack_size="2M")
            with pytest.raises(KeyError):
                call_on_stack(raises)

    rounds(100)
    gc.collect()
    objects, status, memory = len(gc.get_objects()), stackwarden.status(), [resident()]
    for _ in range(3):
        rounds(1_000)
        gc.collect()
        memory.append(resident())
    assert stackwarden.status() == status
    assert len(gc.get_objects()) - objects < 100
    # What a call leaves is left each time; what the heap of this process takes by chance is not.
    assert min(after - before for before, after in pairwise(memory)) < MIB // 3


# ---- what belongs to the caller ----


def test_the_callers_frame_is_the_one_behind():
    def work():
        return sys._getframe().f_back

    assert call_on_stack(work) is sys._getframe()


def test_context_variables_are_seen_on_both_sides():
    variable = contextvars.ContextVar("variable", default="nothing")

    def work():
        seen = variable.get()
        variable.set("from inside")
        return seen

    def run():
        variable.set("from outside")
        assert call_on_stack(work) == "from outside"
        assert variable.get() == "from inside"

    contextvars.Context().run(run)


def test_generators_go_on_where_they_are_iterated():
    def generate():
        for number in range(6):
            yield number, stackwarden.sync_stack()

    generator, native = generate(), stackwarden.current_stack()
    numbers, stacks = zip(
        next(generator), call_on_stack(next, generator), next(generator),
        call_on_stack(lambda: next(generator)), *generator, strict=True,
    )  # fmt: skip
    assert numbers == (0, 1, 2, 3, 4, 5)
    assert [stack == native for stack in stacks] == [True, False, True, False, True, True]


def test_a_loop_of_asyncio_runs_inside_and_calls_run_inside_a_loop():
    async def nap(value):
        await asyncio.sleep(0)
        return value, asyncio.current_task() is not None

    async def work():
        results = await asyncio.gather(*(nap(number) for number in range(5)))
        return [*results, call_on_stack(lambda: asyncio.current_task() is not None)]

    expected = [*((number, True) for number in range(5)), True]
    assert call_on_stack(asyncio.run, work()) == asyncio.run(work()) == expected


def test_trace_functions_see_what_runs_inside():
    events = []

    def trace(frame, event, _):
        if frame.f_code.co_name in ("traced", "inner"):
            events.append((frame.f_code.co_name, event))
        return trace

    def inner():
        return 1

    def traced():
        return call_on_stack(inner)

    def run(call):
        events.clear()
        former = sys.gettrace()
        sys.settrace(trace)
        try:
            call(traced)
        finally:
            sys.settrace(former)
        return events.copy()

    assert run(lambda work: work()) == run(call_on_stack)
    assert ("inner", "return") in events


def test_garbage_is_collected_and_deep_structures_are_dropped_inside():
    class Cycle:
        def __init__(self):
            self.me = self
            self.nested = nested_list(1_000)

        def __del__(self):
            dropped.append(stackwarden.sync_stack().name)

    def work():
        Cycle()
        gc.collect()
        del deep[0]

    dropped, deep = [], [nested_list(300_000)]
    call_on_stack(work)
    assert dropped == ["call_on_stack"]


# ---- threads, signals, processes ----


def test_any_thread_may_call():
    def work(number):
        for _ in range(50):
            stack = call_on_stack(stackwarden.sync_stack, stack_size=(number % 3 + 1) * MIB)
            fits = stack.size >= (number % 3 + 1) * MIB
            results.append(fits and stackwarden.sync_stack().bounds_from == "native")

    results = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 400


def test_threads_run_while_one_is_inside():
    def work():
        thread = threading.Thread(target=lambda: seen.append(on(MIB).base))
        thread.start()
        thread.join()
        return stackwarden.sync_stack().base

    seen = []
    assert [call_on_stack(work, stack_size=MIB)] != seen
    assert len(seen) == 1


def test_signal_handlers_run_inside_and_may_raise():
    def handler(*_):
        raise KeyboardInterrupt(stackwarden.sync_stack().name)

    def work():
        signal.raise_signal(signal.SIGUSR1)

    former = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(KeyboardInterrupt, match="call_on_stack"):
            call_on_stack(work)
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_a_fork_inside_goes_on_in_both_processes(child):
    done = child("""
        import os, sys
        import stackwarden

        def work():
            number = os.fork()
            if number:
                _, status = os.waitpid(number, 0)
                return f"parent, child ended with {os.waitstatus_to_exitcode(status)}"
            return stackwarden.call_on_stack(lambda: "child", stack_size="2M")

        print(stackwarden.call_on_stack(work, stack_size="2M"), stackwarden.sync_stack().bounds_from)
    """)
    assert done.stdout.splitlines() == ["child native", "parent, child ended with 0 native"]


@pytest.mark.parametrize(
    ("way", "ends"),
    [("sys.exit(3)", 3), ("os._exit(4)", 4), ("os.abort()", -6), ("raise SystemExit", 0)],
)
def test_a_process_ends_inside_as_it_does_outside(child, way, ends):
    child(
        f"""
        import os, sys
        import stackwarden

        def work():
            {way}

        stackwarden.call_on_stack(stackwarden.call_on_stack, work)
        """,
        ends=ends,
    )


def test_the_process_ends_while_a_thread_is_inside(child):
    done = child("""
        import threading, time
        import stackwarden

        def forever():
            entered.set()
            while True:
                stackwarden.call_on_stack(time.sleep, 0.001)

        for daemonic in (forever, lambda: stackwarden.call_on_stack(forever)):
            entered = threading.Event()
            threading.Thread(target=daemonic, daemon=True).start()
            entered.wait()
        print("over")
    """)
    assert done.stdout == "over\n"


def test_handlers_of_atexit_may_call(child):
    done = child("""
        import atexit
        import stackwarden

        class Last:
            def __del__(self):
                try:
                    stackwarden.call_on_stack(print, "last")
                except stackwarden.NotRunningError:
                    print("refused")

        atexit.register(stackwarden.call_on_stack, print, "at exit")
        last = Last()
        last.me = last
    """)
    assert done.stdout.splitlines()[0] == "at exit"
    assert done.stdout.splitlines()[1:] in ([], ["last"], ["refused"])


def test_subinterpreters_that_share_the_gil_may_call(child):
    if sys.version_info < (3, 13):
        pytest.skip("_interpreters came with 3.13")
    done = child("""
        import _interpreters
        import stackwarden

        number = _interpreters.create("legacy")
        failed = _interpreters.exec(number, '''if True:
            import stackwarden
            assert stackwarden.call_on_stack(stackwarden.sync_stack).name == "call_on_stack"
        ''')
        print(failed, stackwarden.call_on_stack(stackwarden.sync_stack).name)
    """)
    assert done.stdout == "None call_on_stack\n"
