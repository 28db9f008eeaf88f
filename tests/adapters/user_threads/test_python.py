"""Python on user threads ends exactly right, wherever they are carried."""

import signal
import textwrap

import pytest

PRELUDE = """\
import contextvars, ctypes, os, sys
from stackwarden.testing.workloads import WORKLOADS
SYSTEM, LIBRARY, WORKERS = sys.argv[1], sys.argv[2], int(sys.argv[3])
"""

MANY = """
    name = contextvars.ContextVar("name", default=None)

    class Stubborn:
        def __add__(self, other):
            return self + other

    def work(number):
        assert name.get() == "main"
        name.set(number)
        ends = None
        try:
            if number % 100 == 0:
                Stubborn() + 1
        except RecursionError:
            ends = "RecursionError"
        for step in range(3):
            try:
                raise KeyError(number, step)
            except KeyError as error:
                pause()
                assert sys.exc_info()[1] is error
            assert name.get() == number
        nested = None
        for _ in range(200):
            nested = [nested, {}]
        carriers.add(threading.get_native_id())
        return ends or number

    def many(count):
        threads = [UserThread(work, number) for number in range(count)]
        results = [thread.join() for thread in threads]
        assert results == ["RecursionError" if n % 100 == 0 else n for n in range(count)]

    carriers = set()
    name.set("main")
"""


def code(*parts):
    return "\n".join(textwrap.dedent(part) for part in parts)


def test_ten_thousand_at_once(child, system):
    """Recursion, containers dropped, contexts, exceptions handled, yields in the middle."""
    end = """
        with workers(2):
            many(10_000)
        status = stackwarden.status()
        print(status["leaked_stacks"], status["registered"], name.get(), len(sys._current_frames()))
    """
    assert child(system, 2, code(MANY, end)) == ["0 0 main 1"]


def test_nothing_is_left_of_ten_thousand(child, system, count):
    """One thread state or touched stack of each in the second half would be 60 MB or more.

    MassiveThreads with 2 workers keeps stacks for the worker where a thread ended, and maps new ones
    for the other: 500 MB of address space for each 10,000 threads of a C program.
    """
    end = """
        def used():
            gc.collect()
            with open("/proc/self/statm") as statm, open("/proc/self/maps") as maps:
                return sys.getallocatedblocks(), len(list(maps)), int(statm.read().split()[1]) * 4096

        with workers(WORKERS):
            for wave in range(40):
                if wave == 20:
                    before = used()
                many(250)
            blocks, maps, memory = (now - then for then, now in zip(before, used()))
        assert blocks < 1000 and maps < 1200, (blocks, maps)
        assert memory < 20 << 20 or (SYSTEM, WORKERS) == ("massivethreads", 2), memory
        print(0 < len(carriers) <= WORKERS, len(sys._current_frames()))
    """
    assert child(system, count, code(MANY, end)) == ["True 1"]


WORK = """
    library = ctypes.CDLL(LIBRARY)  # the GIL is free during its calls
    outcomes = []

    def descend(depth):
        if depth:
            pause()
            return descend(depth - 1)
        try:
            raise KeyError
        except KeyError:
            pause()
        return "interleaved"

    def work(number):
        outcomes.append(WORKLOADS[WORKLOAD].run() if WORKLOAD else descend(number % 7))
"""
PROTECTED = """
    with workers(WORKERS):
        for thread in [UserThread(work, n, stack_size=1 << 20) for n in range(20)]:
            thread.join()
    print(len(outcomes), set(outcomes))
"""
BARE = {
    "argobots": """
        os.environ.update(ABT_THREAD_STACKSIZE="262144", ABT_STACK_OVERFLOW_CHECK="mprotect_strict")
        library.ABT_init(0, None)
        pool, stream = ctypes.c_void_p(), ctypes.c_void_p()
        library.ABT_xstream_self(ctypes.byref(stream))
        library.ABT_xstream_get_main_pools(stream, 1, ctypes.byref(pool))
        pause = library.ABT_thread_yield
        work = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_long)(work)
        made = [ctypes.c_void_p() for _ in range(20)]
        for n, thread in enumerate(made):
            library.ABT_thread_create(pool, work, ctypes.c_void_p(n), None, ctypes.byref(thread))
        for thread in made:
            library.ABT_thread_join(thread)
    """,
    "massivethreads": """
        os.environ["MYTH_NUM_WORKERS"] = "1"
        library.myth_create.restype = ctypes.c_void_p
        pause = library.myth_yield
        work = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_long)(work)
        made = [library.myth_create(work, ctypes.c_void_p(n)) for n in range(20)]
        for thread in made:
            library.myth_join(ctypes.c_void_p(thread), None)
    """,
}


@pytest.mark.parametrize(
    ("workload", "outcome"),
    [(None, "interleaved"), ("add", "RecursionError"), ("sorted", "RecursionError")],
)
def test_twenty_that_interleave_or_recurse(child, system, count, workload, outcome):
    printed = child(system, count, code(f"WORKLOAD = {workload!r}", WORK, PROTECTED))
    assert printed == [f"20 {{{outcome!r}}}"]


@pytest.mark.parametrize("workload", [None, "add", "sorted"])
def test_the_same_without_the_adapter_dies(child, system, workload):
    """With one worker: with two it is not always the same that kills it."""
    program = code(f"WORKLOAD = {workload!r}", WORK, BARE[system])
    child(system, 1, program, prelude=PRELUDE, ends=-signal.SIGSEGV)


CONFORMS = """
    from stackwarden.testing import check_user_threads

    def run(function, stack_size):
        return UserThread(function, stack_size=stack_size).join()

    def interleave(functions, stack_size):
        threads = [UserThread(function, pause, stack_size=stack_size) for function in functions]
        return [thread.join() for thread in threads]

    with workers(WORKERS):
        print(*check_user_threads(run, interleave), sep="\\n")
"""


def test_the_adapter_conforms(child, system, count):
    checked = child(system, count, code(CONFORMS))
    assert any(line.startswith("interleaving, 1048576 bytes") for line in checked), checked


@pytest.mark.parametrize("placement", ["below", "above"])
def test_below_and_above_the_stack_of_their_carrier(child, system, placement):
    """What is mapped goes into the highest gap: above the carrier's stack there is one, or there is none."""
    program = f"""
        import mmap

        early = mmap.mmap(-1, 1 << 30)

        def placed():
            return (stackwarden.current_stack().base > native.base) == ({placement!r} == "above")

        def work():
            found.append(placed())
            while not found[-1]:
                pause()  # keeps its stack until another one lies right
            if placed():
                for name in ("add", "containers", "sorted"):
                    outcomes[name] = WORKLOADS[name].run() == WORKLOADS[name].expected

        def carrier():
            global native
            native = stackwarden.current_stack()
            if {placement!r} == "above":
                early.close()
            with workers(1):
                threads = []
                while len(threads) < 200 and not any(found):
                    threads.append(UserThread(work, stack_size=1 << 20))
                    pause()
                found.append(True)
                for thread in threads:
                    thread.join()

        found, outcomes = [], {{}}
        thread = threading.Thread(target=carrier)
        thread.start()
        thread.join()
        print(outcomes)
    """
    printed = child(system, 1, program)
    assert printed == [str({"add": True, "containers": True, "sorted": True})]


def test_what_is_raised_comes_out_of_join(child, system, count):
    program = """
        def fail():
            pause()
            raise LookupError("from a user thread")

        with workers(WORKERS):
            thread = UserThread(fail)
            for _ in range(2):
                try:
                    thread.join()
                except LookupError as error:
                    print(error, thread.done)
            print(UserThread(int, "42").join(), stackwarden.current_stack().bounds_from)
    """
    assert child(system, count, program) == ["from a user thread True"] * 2 + ["42 native"]


def test_user_threads_make_and_join_user_threads(child, system, count):
    program = """
        def total(depth):
            if depth == 0:
                return 1
            pause()
            return sum(thread.join() for thread in [UserThread(total, depth - 1) for _ in range(3)])

        with workers(WORKERS):
            print(total(5))
    """
    assert child(system, count, program) == ["243"]


def test_user_threads_that_nobody_joins_end_with_the_workers(child, system, count):
    program = """
        def work(number):
            pause()
            ran.append(number)

        ran, kept = [], []
        for _ in range(2):
            with workers(WORKERS):
                for number in range(50):
                    UserThread(work, number)
                    kept.append(UserThread(work, number))
        print(sorted(ran) == sorted([*range(50)] * 4), stackwarden.status()["registered"])
        print({thread.join() for thread in kept}, all(thread.done for thread in kept))
    """
    assert child(system, count, program) == ["True 0", "{None} True"]


def test_several_may_join_one(child, system, count):
    program = """
        def work():
            for _ in range(10):
                pause()
            return "joined"

        with workers(WORKERS):
            one = UserThread(work)
            print({thread.join() for thread in [UserThread(one.join) for _ in range(5)]}, one.join())
    """
    assert child(system, count, program) == ["{'joined'} joined"]


def test_work_that_lets_the_gil_go_in_the_middle(child, system, count):
    program = """
        import time

        def work(number):
            for _ in range(5):
                time.sleep(0)
                pause()
                sum(range(5_000))
            return number

        sys.setswitchinterval(1e-5)
        with workers(WORKERS):
            threads = [UserThread(work, number) for number in range(200)]
            print([thread.join() for thread in threads] == list(range(200)))
    """
    assert child(system, count, program) == ["True"]


def test_other_threads_of_python_run_meanwhile(child, system, count):
    program = """
        def work(number):
            pause()
            return WORKLOADS["add"].run()

        def other():
            while not over.is_set():
                outcomes.add(WORKLOADS["add"].run())

        over, outcomes = threading.Event(), set()
        others = [threading.Thread(target=other) for _ in range(2)]
        for thread in others:
            thread.start()
        with workers(WORKERS):
            outcomes.update([thread.join() for thread in [UserThread(work, n) for n in range(50)]])
        over.set()
        for thread in others:
            thread.join()
        print(outcomes)
    """
    assert child(system, count, program) == ["{'RecursionError'}"]


@pytest.mark.parametrize("size", [64, 128, 256, 1024, 8192])
def test_sizes(child, system, size):
    program = f"""
        def work():
            pause()
            stack = stackwarden.current_stack()
            synced = stackwarden.sync_stack()
            here = stackwarden._core._stack_pointer()
            assert stack == synced and stack.base <= here < stack.top
            return stack.size <= {size} << 10, WORKLOADS["add"].run() if {size} >= 256 else None

        with workers(2):
            print(UserThread(work, stack_size={size} << 10).join())
    """
    outcome = "RecursionError" if size >= 256 else None
    assert child(system, 2, program) == [str((True, outcome))]


def test_what_a_user_thread_cannot_be_made_of_is_refused(child, system):
    program = """
        def generator():
            yield

        with workers(2):
            for function, size in (generator, "1M"), (int, "1 megabyte"):
                try:
                    UserThread(function, stack_size=size)
                except (TypeError, stackwarden.StackRangeError) as error:
                    print(str(error).split(": ")[1])
            print(UserThread(lambda: stackwarden.current_stack().size <= 1 << 20, stack_size="1M").join())
    """
    assert child(system, 2, program) == [
        "it is a generator function, and calling it does not run it",
        "not a size; write 65536, 256K, 512M or 4G",
        "True",
    ]


def test_no_line_of_ours_is_in_a_traceback(child, system):
    program = """
        import traceback

        def runs_away(level):
            return runs_away(level + 1) + 1

        def fails():
            pause()
            UserThread(int, "no number").join()

        def names(function, *arguments):
            try:
                function(*arguments)
            except Exception as error:
                return sorted({frame.name for frame in traceback.extract_tb(error.__traceback__)})

        with workers(2):
            print(names(UserThread(runs_away, 0).join), names(UserThread(fails).join))
            print(names(UserThread, "not callable"))
        print(names(UserThread, int))
    """
    assert child(system, 2, program) == [
        "['names', 'runs_away'] ['fails', 'names']",
        "['names', 'refuse_unless_run']",
        "['names']",
    ]


def test_a_user_thread_that_is_cancelled_inside_python_never_goes_on_there(child):
    """Argobots frees it at its next yield; what lies on its stack stays as it is, for who looks at frames."""
    program = """
        library = ctypes.PyDLL(LIBRARY)

        def work():
            library.ABT_self_get_thread(ctypes.byref(handle))
            try:
                while True:
                    pause()
            finally:
                print("it went on")

        handle = ctypes.c_void_p()
        with workers(WORKERS):
            thread = UserThread(work)
            while not handle:
                pause()
            library.ABT_thread_cancel(handle)
            try:
                thread.join()
            except stackwarden.errors.UserThreadError as error:
                print(error)
            for number in range(200):
                assert UserThread(int, number).join() == number
            gc.collect()
            faulthandler.dump_traceback(all_threads=True)
            print(stackwarden.status()["leaked_stacks"])
    """
    assert child("argobots", 1, program) == ["it was cancelled", "1"]
