"""Who holds the GIL is part of the state of a stack: each stack finds it as it left it.

Fibers run programs of one letter for each step (tests/extensions/fibers/program.h): e and r stand for
PyGILState_Ensure and Release, s and t for PyEval_SaveThread and RestoreThread, c for a call of Python,
p for parking, x for a note whether the thread is attached; a digit resumes that fiber.
"""

import signal

import pytest

ORDERS = {  # what the resumer does, what the fibers do, what fibers note on a detached thread
    "first-ends-first": ("0101", ("xecpcrx", "xecpcrx"), "00"),
    "second-ends-first": ("0110", ("xecpcrx", "xecpcrx"), "00"),
    "second-comes-and-goes-meanwhile": ("0110", ("xecpcrx", "xecrxpecrx"), "00"),
    "resumer-ensures-meanwhile": ("0ecr1ecr0ecr1", ("xecpcrx", "xecpcrx"), "00"),
    "resumer-resumes-inside-its-own-ensure": ("e01rer0e1r", ("xepcrx", "xepcrx"), "11"),
}

# Each call of Python holds frames, an exception and a generator over a GIL that others may take.
CALL = """
def numbers():
    yield from range(100)

def call(number):
    calls.append(number)
    some = numbers()
    next(some)
    try:
        raise KeyError(number)
    except KeyError as error:
        total = sum(some)
        assert sys.exc_info()[1] is error
    return total

calls = []

def made(programs, isolation):
    return [
        Fiber(Stack(isolation=isolation), call, program, number=number, blocking=True)
        for number, program in enumerate(programs)
    ]
"""


def textual(code):
    return code.replace("\n", "\n" + " " * 8)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("order", ORDERS)
def test_on_threads_that_never_had_a_thread_state(fiber_child, order, threads):
    schedule, programs, notes = ORDERS[order]
    program = f"""
        {textual(CALL)}
        for _ in range(20):
            lists = [made({programs!r}, "frames") for _ in range({threads})]
            for report in run_threads({schedule!r}, lists, call):
                assert report == (DONE, ""), report
            for fiber in [fiber for fibers in lists for fiber in fibers]:
                assert fiber.done and fiber.refusal == DONE
                assert set(fiber.notes) == set({notes!r}), fiber.notes
        print(len(calls))
    """
    calls = "".join((schedule, *programs)).count("c")
    assert fiber_child(program) == [str(20 * threads * calls)]


@pytest.mark.parametrize("order", ORDERS)
def test_on_a_thread_with_a_thread_state(fiber_child, order, isolation):
    schedule, programs, _ = ORDERS[order]
    program = f"""
        {textual(CALL)}
        for _ in range(20):
            fibers = made({programs!r}, {isolation!r})
            assert run({schedule!r} + "x", fibers, call) == (DONE, "1")
            assert all(fiber.done and fiber.refusal == DONE for fiber in fibers)
            assert all(set(fiber.notes) == {{"1"}} for fiber in fibers)
        print(call(1))
    """
    assert fiber_child(program) == ["4950"]


@pytest.mark.parametrize("order", ORDERS)
def test_on_a_detached_thread_with_a_thread_state(fiber_child, order, isolation):
    schedule, programs, notes = ORDERS[order]
    program = f"""
        {textual(CALL)}
        for _ in range(20):
            fibers = made({programs!r}, {isolation!r})
            assert run("s" + {schedule!r} + "xtx", fibers, call) == (DONE, "01")
            assert all(fiber.done and fiber.refusal == DONE for fiber in fibers)
            assert all(set(fiber.notes) == set({notes!r}) for fiber in fibers)
        print(call(1))
    """
    assert fiber_child(program) == ["4950"]


@pytest.mark.parametrize(
    "programs",
    [
        pytest.param(("ecpcr", "pecpcr"), id="first-made-the-thread-state"),
        pytest.param(("pecpcr", "ecpcr"), id="second-made-the-thread-state"),
    ],
)
@pytest.mark.parametrize("end", ["01", "10"])
def test_either_fiber_may_make_the_thread_state_and_either_may_end_first(
    fiber_child, programs, end
):
    program = f"""
        {textual(CALL)}
        for _ in range(20):
            fibers = made({programs!r}, "frames")
            reports = run_threads("0101" + {end!r}, [fibers], call)
            assert reports == [(DONE, "")] and all(fiber.done for fiber in fibers), reports
        print(len(calls))
    """
    assert fiber_child(program) == ["80"]


def test_unguarded_two_ensures_of_which_the_first_is_released_first_crash(fiber_child):
    program = f"""
        {textual(CALL)}
        fibers = [Fiber(Stack(isolation=None), call, "epcr", raw=True) for _ in range(2)]
        run_threads("0101", [fibers], call, True)
    """
    fiber_child(program, ends=-signal.SIGSEGV)


PARKED_DETACHED = """
def call(number):
    if number < 0:
        return sum(range(100))
    def deep(depth):
        if depth:
            return deep(depth - 1) + 1
        return park_detached()
    return deep(number)
"""


def test_a_fiber_parked_inside_allow_threads_lets_the_resumer_run_python(fiber_child, isolation):
    """It is detached with Python frames below, and comes back so that it can attach again."""
    program = f"""
        {textual(PARKED_DETACHED)}
        for _ in range(20):
            fibers = [
                Fiber(Stack(isolation={isolation!r}), call, number=depth, blocking=True)
                for depth in (3, 30)
            ]
            assert run("01cxsx0t1", fibers, call, -1) == (DONE, "10")
            assert [fiber.result for fiber in fibers] == [3, 30]
        print(fibers[0].done, fibers[1].done)
    """
    assert fiber_child(program) == ["True True"]


def test_unguarded_the_resumer_of_a_fiber_parked_inside_allow_threads_crashes(fiber_child):
    program = f"""
        {textual(PARKED_DETACHED)}
        fibers = [Fiber(Stack(isolation=None), call, number=3, raw=True)]
        run("0c0", fibers, call, -1, True)
    """
    fiber_child(program, ends=-signal.SIGSEGV)


def test_a_refused_switch_leaves_the_thread_as_it_was(fiber_child):
    """Detached, the refusal is found out attached."""
    program = """
        def call(number):
            park()
        for native, notes in (("x0x", "11"), ("sx0xt", "00")):
            other = Fiber(Stack(isolation="frames"), call, blocking=True)
            thread = threading.Thread(target=other.resume)
            thread.start()
            thread.join()
            assert run(native, [other], call) == (OTHER_THREAD, notes)
        print("refused")
    """
    assert fiber_child(program) == ["refused"]


def test_a_new_stack_inherits_from_the_stack_that_enters_it(fiber_child, isolation):
    program = f"""
        for native, notes in (("0", "1"), ("s0t", "0")):
            fiber = Fiber(Stack(isolation={isolation!r}), None, "x", blocking=True)
            run(native, [fiber])
            assert fiber.notes == notes
        print("inherited")
    """
    assert fiber_child(program) == ["inherited"]
