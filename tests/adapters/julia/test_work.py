"""Python in Julia's tasks: told of, it ends right; not told of, it dies or leaks, and the twins show it."""

import signal
import sys

import pytest

import stackwarden
from stackwarden.testing.workloads import WORKLOADS

SMALL = 256 * 1024
LARGE = 1024 * 1024

# ---- twins: work in a task, on a stack that lies below or above that of Julia's thread ----

WORK = """
import mmap
import stackwarden.adapters.julia

gap = mmap.mmap(-1, 256 << 20)  # mapped before the thread's stack, so above it

def work():
    print(*(WORKLOADS[name].run() for name in names), flush=True)

def main():
    library = start()
    run(library, f"include({json.dumps(SOURCE)})")
    if told_by == "nobody":
        die_of_sigsegv()
    else:
        adapters.install("julia")
    native = stackwarden.current_stack()
    if told_by == "synced, guard pages included":
        die_of_sigsegv()
        adapters.julia._julia.guard = 0
        stackwarden.stack_policy(unknown="disabled")  # else the map of memory may tell, and Julia is not asked
    function = adapters.julia.synced(work) if told_by.startswith("synced") else work
    call = f"ccall({pointer(function)}, Cvoid, ())"
    if told_by == "module":
        call = f"Stackwarden.@python {call}"
    if placement == "above":
        gap.close()
    print(run(library, f'''
        function candidate(size)
            place, chosen = Channel(1), Channel(1)
            task = Task(() -> begin
                put!(place, UInt(Stackwarden.bounds(current_task())[1]))
                take!(chosen)
                {call}
            end, size)
            schedule(task)
            task, take!(place), chosen
        end
        function work(above, size)
            kept = []
            for _ in 1:100
                task, base, chosen = candidate(size)
                if (base > {native.base}) == above
                    put!(chosen, true)
                    wait(task)
                    return "{placement}"
                end
                push!(kept, task)
            end
        end
        work({str(placement == "above").lower()}, {size + 32 * 1024})
    '''), stackwarden.current_stack() == native, stackwarden.status()["registered"])
    print(WORKLOADS["add"].run(), WORKLOADS["containers"].run())

threading.stack_size(8 << 20)
thread = threading.Thread(target=main)
thread.start()
thread.join()
"""


def at_work(child, told_by, names, placement, size, **options):
    settings = f"told_by, names, placement, size = {(told_by, names, placement, size)!r}\n"
    return child(settings + WORK, **options)


@pytest.mark.parametrize("placement", ["below", "above"])
@pytest.mark.parametrize(
    ("told_by", "size"), [("module", SMALL), ("module", LARGE), ("synced", SMALL)]
)
def test_work_in_a_task_ends_exactly_right(child, told_by, placement, size):
    covered = size >= stackwarden.status()["exact_stack_size"]
    names = [name for name in WORKLOADS if covered or name != "sorted"]
    expected = " ".join(WORKLOADS[name].expected for name in names)
    printed = at_work(child, told_by, names, placement, size)
    assert printed == [expected, f"{placement} True 0", "RecursionError freed"]


@pytest.mark.parametrize("placement", ["below", "above"])
def test_recursion_in_a_task_that_nobody_told_of_ends_the_process(child, placement):
    at_work(child, "nobody", ["add"], placement, SMALL, ends=-signal.SIGSEGV)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="3.11 to 3.13 do not look at the stack")
def test_recursion_within_bounds_that_hold_the_guard_pages_ends_the_process(child):
    told_by = "synced, guard pages included"
    at_work(child, told_by, ["add"], "below", SMALL, ends=-signal.SIGSEGV)


def test_containers_in_a_task_that_nobody_told_of_are_freed_only_by_counting_versions(child):
    outcome = "freed" if sys.version_info < (3, 14) else "leaked"
    printed = at_work(child, "nobody", ["containers"], "below", SMALL)
    assert printed == [outcome, "below True 0", "RecursionError freed"]


# ---- twins: tasks whose frames interleave, by a callback that yields in the middle of Python ----

INTERLEAVING = """
import contextvars

library = start()
run(library, f"include({json.dumps(SOURCE)})")
if protected:
    adapters.install("julia")
else:
    die_of_sigsegv()
prototypes = ctypes.PYFUNCTYPE if attached else ctypes.CFUNCTYPE
caller = library if attached else ctypes.CDLL(LIBRARIES + "/libjulia.so.1")
caller.jl_eval_string.restype = ctypes.c_void_p
address = run(library, "UInt(@cfunction(() -> (Stackwarden.@yields yield(); nothing), Cvoid, ()))")
pause = prototypes(None)(int(address))
name = contextvars.ContextVar("name")

def descend(number, depth):
    pause()
    return depth and descend(number, depth - 1) + 1

def numbers():
    while True:
        pause()
        yield 1

def work(number):
    name.set(number)
    generator = numbers()
    try:
        raise KeyError(number)
    except KeyError as error:
        results[number] = descend(number, number % 7) + sum(next(generator) for _ in range(3))
        assert sys.exc_info()[1] is error
    assert sys.exc_info() == (None, None, None) and name.get() == number

results = [None] * 20
work = pointer(work, prototypes(None, ctypes.c_int))
run(library, f"start(number) = Stackwarden.@async ccall({work}, Cvoid, (Cint,), number)")
def start_them():
    caller.jl_eval_string(b"tasks = map(start, 0:19); yield()")

start_them()
for _ in range(3):  # tasks go on from another depth of this stack
    caller.jl_eval_string(b"yield()")
caller.jl_eval_string(b"foreach(wait, tasks)")
print(results == [number % 7 + 3 for number in range(20)], name.get(None))
print(run(library, "all(task -> task.state == :done, tasks), isempty(Stackwarden.executions)"))
print(stackwarden.sync_stack().bounds_from, stackwarden.status()["registered"])
print(stackwarden.status()["leaked_stacks"], WORKLOADS["add"].run())
"""


@pytest.mark.parametrize("attached", [True, False], ids=["attached", "detached"])
def test_tasks_that_yield_in_the_middle_of_python_end_exactly_right(child, attached):
    printed = child(f"protected, attached = True, {attached}\n{INTERLEAVING}")
    assert printed == ["True None", "(true, true)", "native 0", "0 RecursionError"]


def test_tasks_that_yield_in_the_middle_of_python_untold_of_crash(child):
    child(f"protected, attached = False, True\n{INTERLEAVING}", ends=-signal.SIGSEGV)
