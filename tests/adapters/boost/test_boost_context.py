"""stackwarden/boost_context.hpp, used by a pybind11 extension: fibers, allocators, raw fcontext.

Each test is a child that runs Python on stacks of Boost.Context, for each Boost that Debian has. An
unprotected twin, where the extension uses Boost alone, shows that the work is not harmless.
"""

import itertools

import pytest

import stackwarden
from stackwarden.testing.workloads import WORKLOADS

KIB = 1024
ENGINES = ["fiber", "fcontext"]
PLACEMENTS = ["below", "above"]
COVERED = [
    size for size in (256 * KIB, 1024 * KIB) if size >= stackwarden.status()["exact_stack_size"]
]
POINTER = stackwarden.status()["mechanism"] in ("pointer", "setter")

PLACED = """
from stackwarden.testing.child import in_thread
from stackwarden.testing.workloads import WORKLOADS

# The kernel maps downwards: what is mapped before a thread's stack lies above it.
early = [boost.map_stack({size}) for _ in range(4)]

def placed():
    native = stackwarden.current_stack().base
    while True:
        for base in early:
            if (base > native) == ({placement!r} == "above"):
                return base
        early.append(boost.map_stack({size}))

def work():
    native = stackwarden.current_stack()
    outcomes = [boost.run(WORKLOADS[name].run, placed(), {size}, {engine!r}, {teller!r}) for name in {names}]
    assert stackwarden.current_stack() == native
    return outcomes

print(in_thread(work))
"""


def placed(names, size, placement, engine, teller="adapter"):
    return PLACED.format(names=names, size=size, placement=placement, engine=engine, teller=teller)


@pytest.mark.parametrize(
    ("size", "placement", "engine"), list(itertools.product(COVERED, PLACEMENTS, ENGINES))
)
def test_protected_work_ends_exactly_right(context_child, size, placement, engine):
    names = list(WORKLOADS)
    expected = [WORKLOADS[name].expected for name in names]
    assert context_child(placed(names, size, placement, engine)) == str(expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_unprotected_twin_dies(context_child, placement, engine):
    context_child(placed(["add"], 256 * KIB, placement, engine, "none"), ends=-11)


@pytest.mark.skipif(not POINTER, reason="CPython does not look at the stack before it frees")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_unprotected_twin_below_leaks(context_child, engine):
    assert context_child(placed(["containers"], 256 * KIB, "below", engine, "none")) == "['leaked']"


CONFORMS = """
from stackwarden.testing import check_adapter

def run(function, stack_size):
    return boost.Fiber(function, stack_size, {allocator!r}).resume()

def interleave(functions, stack_size):
    fibers = [boost.Fiber(lambda f=f: f(boost.{suspend}), stack_size, {allocator!r}) for f in functions]
    results = [None] * len(fibers)
    while not all(fiber.done for fiber in fibers):
        for place, fiber in enumerate(fibers):
            if not fiber.done:
                results[place] = fiber.resume()
    return results

print("\\n".join(check_adapter(run, interleave=interleave, isolation="frames")))
"""


@pytest.mark.parametrize(
    ("allocator", "suspend"),
    [("fixedsize", "suspend"), ("protected", "suspend_detached"), ("pooled", "suspend")],
)
def test_the_adapter_conforms(context_child, allocator, suspend):
    checked = context_child(CONFORMS.format(allocator=allocator, suspend=suspend))
    assert "interleaving" in checked


RESUMED_WITH = """
def work():
    seen = []
    for number in range(3):
        try:
            raise KeyError(number)
        except KeyError:
            try:
                seen.append(boost.suspend(number))
            except ValueError as error:
                seen.append(str(error))
    return seen

def look():
    return stackwarden.current_stack().base == base, sys.exc_info()[1].args[0]

def fail():
    raise ValueError("over there")

fiber = boost.Fiber(work)
fiber.resume()
base = fiber.base
print([fiber.resume_with(function) for function in (look, fail, look)], sys.exc_info()[1], fiber.done)
"""


def test_what_is_called_on_resuming_runs_over_there_with_its_state(context_child):
    printed = context_child(RESUMED_WITH)
    assert printed == "[1, 2, [(True, 0), 'over there', (True, 2)]] None True"


INTERLEAVED = """
def work(number, depth=5):
    if depth:
        boost.suspend()
        return work(number, depth - 1) + 1
    try:
        raise KeyError(number)
    except KeyError:
        boost.suspend()
        return sys.exc_info()[1].args[0]

fibers = [boost.Fiber(lambda n=n: work(n)) for n in range(20)]
results = set()
while not all(fiber.done for fiber in fibers):
    for fiber in fibers:
        if not fiber.done:
            results.add(fiber.resume())
print(sorted(results - {None}) == list(range(5, 25)))
"""


def test_frames_that_interleave_stay_apart(context_child):
    assert context_child(INTERLEAVED) == "True"


HANDLED = """
import os

def work(number):
    try:
        raise KeyError(number)
    except KeyError as error:
        boost.suspend()
        os._exit(0 if sys.exc_info()[1] is error else 3)

fibers = [boost.Fiber(lambda n=n: work(n)) for n in range(2)]
for fiber in [*fibers, fibers[0]]:
    fiber.resume()
"""


def test_the_twin_without_the_package_handles_another_fibers_exception(context_child):
    context_child(HANDLED)
    context_child(HANDLED, ends=3, ALONE="yes")


def test_what_does_not_interleave_works_where_the_package_is_not_found(context_child):
    program = "print(boost.Fiber(lambda: 3).resume())"
    assert context_child(program, ALONE="yes") == "3"


def test_exceptions_context_and_values_are_each_fibers_own(context_child):
    program = """
        name = contextvars.ContextVar("name", default="nobody")

        def work():
            name.set("fiber")
            try:
                raise KeyError("inside")
            except KeyError:
                got = boost.suspend(1)
                return got, name.get(), sys.exc_info()[1].args

        fiber = boost.Fiber(work)
        print(fiber.resume(), name.get(), sys.exc_info()[1], fiber.resume(2), fiber.done)
    """
    assert context_child(program) == "1 nobody None (2, 'fiber', ('inside',)) True"


def test_a_fiber_left_detached_goes_on_detached(context_child):
    """suspend_detached() releases the GIL, switches, and takes it again when it is back."""
    program = """
        def work(number):
            for _ in range(50):
                assert boost.suspend_detached(number) == number
            return number

        def run():
            fibers = [boost.Fiber(lambda n=n: work(n)) for n in range(5)]
            for fiber in fibers:
                fiber.resume()
            while not all(fiber.done for fiber in fibers):
                for number, fiber in enumerate(fibers):
                    assert fiber.resume(number) == number

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("done")
    """
    assert context_child(program) == "done"


def test_what_is_raised_comes_out_of_resume(context_child):
    program = """
        def fail():
            boost.suspend()
            raise LookupError("from the fiber")

        fiber = boost.Fiber(fail)
        fiber.resume()
        try:
            fiber.resume()
        except LookupError as error:
            print(error, fiber.done, stackwarden.current_stack().bounds_from)
    """
    assert context_child(program) == "from the fiber True native"


# ---- stacks ----


def test_guard_pages_are_left_out(context_child):
    program = """
        import mmap
        fiber = boost.Fiber(stackwarden.current_stack, 1 << 20, "protected")
        base = fiber.base
        print(fiber.size == 1 << 20, base % mmap.PAGESIZE, fiber.resume().base == base)
    """
    assert context_child(program) == "True 0 True"


def test_a_stack_is_registered_for_as_long_as_it_lives(context_child):
    program = """
        fibers = [boost.Fiber(int, 1 << 18, kind) for kind in ("fixedsize", "protected", "pooled")]
        print(sorted(stack.name for stack in stackwarden.stacks() if stack.system == "boost"))
        fibers[0].resume()
        fibers.clear()
        print([stack for stack in stackwarden.stacks() if stack.system == "boost"])
    """
    assert context_child(program) == "['fixedsize', 'pooled', 'protected']\n[]"


def test_a_stack_that_is_too_small_is_refused(context_child):
    program = """
        for kind in "fixedsize", "protected", "pooled":
            try:
                boost.Fiber(int, 16384, kind)
            except RuntimeError as error:
                print("smaller than this interpreter can protect" in str(error))
    """
    assert context_child(program).split() == ["True"] * 3


@pytest.mark.parametrize(("allocator", "isolation"), [("bare", "frames"), ("fixedsize", "none")])
def test_a_stack_without_isolation_is_not_left_in_the_middle_of_python(
    context_child, allocator, isolation
):
    program = f"""
        fiber = boost.Fiber(lambda: boost.suspend(), 1 << 20, {allocator!r}, {isolation!r})
        try:
            fiber.resume()
        except RuntimeError as error:
            print("the stack needs isolation" in str(error), fiber.done)
        print(boost.Fiber(lambda: 5, 1 << 20, {allocator!r}, {isolation!r}).resume())
    """
    assert context_child(program) == "True True\n5"


# ---- ending what is suspended ----

ENDING = """
seen = []

def work(times):
    for _ in range(times):
        try:
            boost.suspend()
        except BaseException as error:
            seen.append(type(error).__name__)
    try:
        boost.suspend()
    finally:
        seen.append("finally")

def suspended(times):
    fiber = boost.Fiber(lambda: work(times))
    fiber.resume()
    return fiber

def leaked():
    return stackwarden.status()["leaked_stacks"]
"""


def test_a_fiber_that_is_destroyed_is_ended_by_stack_exit(context_child):
    program = """
fiber = suspended(0)
fiber.destroy()
print(seen, leaked())
del fiber
fiber = suspended(1)
del fiber
print(seen, leaked())
"""
    done = "['finally'] 0\n['finally', 'StackExit', 'finally'] 0"
    assert context_child(ENDING + program) == done


def test_one_that_goes_on_gets_it_once_more_and_is_leaked(context_child):
    program = """
fiber = suspended(5)
fiber.destroy()
print(seen, leaked())
del fiber
gc.collect()
print(seen, leaked(), stackwarden.current_stack().bounds_from)
"""
    done = "['StackExit', 'StackExit'] 1\n['StackExit', 'StackExit'] 1 native"
    assert context_child(ENDING + program) == done


def test_one_that_was_suspended_detached_is_ended_too(context_child):
    program = """
def work():
    try:
        boost.suspend_detached()
    except stackwarden.errors.StackExit:
        seen.append("exit")
        raise

fiber = boost.Fiber(work)
fiber.resume()
del fiber
print(seen, leaked())
"""
    assert context_child(ENDING + program) == "['exit'] 0"


def test_one_that_is_destroyed_on_another_thread_is_leaked(context_child):
    program = """
fiber = suspended(0)
thread = threading.Thread(target=fiber.destroy)
thread.start()
thread.join()
print(seen, leaked())
"""
    assert context_child(ENDING + program) == "[] 1"


def test_one_that_never_ran_just_goes(context_child):
    program = """
fiber = boost.Fiber(lambda: seen.append("ran"))
fiber.destroy()
print(seen, leaked(), stackwarden.status()["registered"])
"""
    assert context_child(ENDING + program) == "[] 0 0"


def test_what_is_suspended_at_exit_stays_as_it_is(context_child):
    program = """
import builtins
builtins.kept = suspended(3)
print("end")
"""
    assert context_child(ENDING + program) == "end"
