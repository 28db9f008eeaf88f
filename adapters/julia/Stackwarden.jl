# Stackwarden.jl: tells the Python package stackwarden which Julia task runs Python.
#
#     include("Stackwarden.jl")
#     Stackwarden.connect()                              # once, when Python runs in this process
#     fetch(Stackwarden.@async call_python())            # a task that runs Python
#     Stackwarden.@python call_python()                  # or one expression, in any task
#     on_event() = Stackwarden.@yields wait(condition)   # called by Python: may switch tasks
#
# Promises: inside `@python` CPython's bounds are those of the task's stack, and frames, handled exception, context and
# recursion depth are the task's own. Outside of it, and inside `@yields`, they are those of Julia's caller, so that any
# other task may run. Julia has no switch hook: a task that waits inside `@python` without `@yields` is noticed at the
# next `@python`, and must not wait below Python code: a return to that, without `@python`, finds the wrong state. Not
# connected, all of these only evaluate.
module Stackwarden

# ---- the C table, as in stackwarden.h ----

const API_MAJOR = 1
const API_MINOR = 0

struct Table
    major::UInt32
    minor::UInt32
    notify_stack_switch::Ptr{Cvoid}
    switch_to::Ptr{Cvoid}
    reset_stack::Ptr{Cvoid}
    sync_stack::Ptr{Cvoid}
    register_stack::Ptr{Cvoid}
    unregister_stack::Ptr{Cvoid}
    current_stack::Ptr{Cvoid}
    find_stack::Ptr{Cvoid}
    register_switch_callback::Ptr{Cvoid}
    unregister_switch_callback::Ptr{Cvoid}
    start_switch::Ptr{Cvoid}
    start_switch_blocking::Ptr{Cvoid}
    finish_switch::Ptr{Cvoid}
end

struct Stack
    handle::UInt64
    base::UInt
    size::Csize_t
    reserved::NTuple{5,UInt64}
end

Stack() = Stack(0, 0, 0, (0, 0, 0, 0, 0))

const DONE = 0
const OVERLAP = -9
const TRIM_GUARD = 0x1
const ISOLATION_FRAMES = 0x2
const REFUSALS = Dict(
    -2 => "Python is not running",
    -3 => "out of memory",
    -4 => "no more records",
    -7 => "the task's stack is not mapped",
    -8 => "the task's stack is smaller than this Python can protect",
    OVERLAP => "the task's stack is in use already: Julia copies stacks (JULIA_COPY_STACKS, or no memory for another)",
    -10 => "the stack is current on another thread",
    -14 => "Python frames would be resumed in another order than suspended",
    -15 => "the task was suspended in the middle of Python on another thread",
    -16 => "this Python cannot save execution state for a stack",
)

struct Refused <: Exception
    status::Cint
end

function Base.showerror(io::IO, refused::Refused)
    print(io, "stackwarden refused: ", get(REFUSALS, refused.status, "status $(refused.status)"))
end

check(status) = status < DONE ? throw(Refused(status)) : nothing

# ---- connecting ----

const table = Ref{Union{Nothing,Table}}(nothing)
const gil = Ref((C_NULL, C_NULL)) # PyGILState_Ensure, PyGILState_Release

# Execution state of a task that is inside `@python`.
mutable struct Execution
    task::Task # referred to, so that Julia does not collect it: nobody could unwind it
    own::Base.RefValue{Stack}
    outside::Base.RefValue{Stack} # whose state is loaded while the task's is saved
    waits::Bool # inside `@yields`
end

const executions = Dict{UInt,Execution}() # by the base of the task's stack
const executions_lock = ReentrantLock()

"""
    connect()
    connect(table::Ptr, ensure::Ptr, release::Ptr)

Find the package's C table in the running Python, or take the addresses of it, of `PyGILState_Ensure` and of
`PyGILState_Release`. `connect()` needs Python's functions to be visible in the process, and imports `stackwarden`:
call it in the root task.
"""
function connect()
    ensure, release = cglobal(:PyGILState_Ensure), cglobal(:PyGILState_Release)
    connect(attached(find_table, ensure, release), ensure, release)
end

function connect(address::Ptr, ensure::Ptr, release::Ptr)
    found = unsafe_load(Ptr{NTuple{2,UInt32}}(address))
    if found[1] != API_MAJOR || found[2] < API_MINOR
        error("Stackwarden.jl was written for version $API_MAJOR.$API_MINOR of stackwarden's C table, the ",
              "installed package provides $(found[1]).$(found[2]): use the Stackwarden.jl that came with it")
    end
    copies_stacks() && error("Julia copies stacks (JULIA_COPY_STACKS): a task's stack does not stay where it is")
    table[] = unsafe_load(Ptr{Table}(address))
    gil[] = (ensure, release)
    return nothing
end

"From now on `@python` only evaluates. Refused while a task is in the middle of Python."
function disconnect()
    tasks = length(executions)
    tasks == 0 || error("$tasks tasks are in the middle of Python")
    table[] = nothing
    return nothing
end

function attached(f, ensure, release)
    state = ccall(ensure, Cint, ())
    try
        return f()
    finally
        ccall(release, Cvoid, (Cint,), state)
    end
end

function find_table()
    core = ccall(:PyImport_ImportModule, Ptr{Cvoid}, (Cstring,), "stackwarden._core")
    address = C_NULL
    if core != C_NULL
        ccall(:Py_DecRef, Cvoid, (Ptr{Cvoid},), core)
        address = ccall(:PyCapsule_Import, Ptr{Cvoid}, (Cstring, Cint), "stackwarden._core.table", 0)
    end
    address == C_NULL || return address
    ccall(:PyErr_Clear, Cvoid, ())
    error("Python cannot import stackwarden: install it there (pip install stackwarden)")
end

# ---- stacks of tasks ----

function stack_buffer(task)
    size, thread = Ref{Csize_t}(0), Ref{Cint}(0)
    base = ccall(:jl_task_stack_buffer, Ptr{Cvoid}, (Any, Ptr{Csize_t}, Ptr{Cint}), task, size, thread)
    return UInt(base), size[]
end

# Before 1.6 a task that is to have a stack of its own knows its size before it runs.
function copies_stacks()
    VERSION < v"1.6-" && return stack_buffer(Task(() -> nothing))[2] == 0
    return get(ENV, "JULIA_COPY_STACKS", "") in ("1", "yes")
end

function bounds(task)
    VERSION < v"1.6-" && return stack_buffer(task)
    active, base, top = Ref(C_NULL), Ref(C_NULL), Ref(C_NULL)
    ccall(:jl_active_task_stack, Cvoid,
          (Any, Ptr{Ptr{Cvoid}}, Ptr{Ptr{Cvoid}}, Ptr{Ptr{Cvoid}}, Ptr{Ptr{Cvoid}}),
          task, active, active, base, top)
    return UInt(base[]), Csize_t(top[] - base[])
end

# Bytes of guard pages at the low end of each task's stack, which Julia reports as part of it. Found once: that takes
# longer than all the rest.
const guard = Ref{Union{Nothing,UInt}}(nothing)

function register(base, size)
    found = guard[]
    found === nothing || return register(base + found, size - found, ISOLATION_FRAMES).handle
    stack = register(base, size, ISOLATION_FRAMES | TRIM_GUARD)
    guard[] = stack.base - base
    return stack.handle
end

function register(base, size, flags)
    stack = Ref(Stack())
    check(ccall(table[].register_stack, Cint, (UInt, Csize_t, Cstring, Cstring, Cuint, Ptr{Stack}),
                base, size, C_NULL, "julia", flags, stack))
    return stack[]
end

unregister(handle) = attached(() -> ccall(table[].unregister_stack, Cint, (UInt64,), handle), gil[]...)

# Tasks for which Julia gets no memory share one stack, which it copies: the second one is refused.
function remember(execution, base)
    lock(executions_lock) do
        haskey(executions, base) && throw(Refused(OVERLAP))
        executions[base] = execution
    end
end

forget(base) = lock(() -> delete!(executions, base), executions_lock)

# ---- switching execution state ----

execution() = get(task_local_storage(), :stackwarden, nothing)

function current_stack()
    stack = Ref(Stack())
    ccall(table[].current_stack, Cint, (Ptr{Stack},), stack)
    return stack[]
end

# One frame for both directions: the core compares the stack pointers at which this function calls it.
@noinline function switch_to(to, ends)
    check(ccall(table[].start_switch_blocking, Cint, (Ptr{Stack}, Cuint), to, ends))
    ccall(table[].finish_switch, Cint, ())
    return nothing
end

function load_state(execution)
    current = current_stack().handle
    current == execution.own[].handle && return nothing
    if current != execution.outside[].handle
        save_others()
        execution.outside[] = current_stack()
    end
    switch_to(execution.own, 0)
end

function save_state(execution, ends)
    current_stack().handle == execution.own[].handle ? switch_to(execution.outside, ends) : save_others()
end

# Save the state of a task that waits inside `@python` without `@yields`.
function save_others()
    base = current_stack().base - something(guard[], UInt(0))
    other = lock(() -> get(executions, base, nothing), executions_lock)
    other === nothing || switch_to(other.outside, 0)
    return nothing
end

"""
    python(f)
    @python expression

Run Python in the current task. Calls nest. The outermost one starts with a copy of the context (`contextvars`)
that is current outside, and keeps the task on its thread.
"""
function python(f)
    table[] === nothing && return f()
    task = current_task()
    if task === Base.roottask
        save_others()
        ccall(table[].sync_stack, Cint, ())
        return f()
    end
    own = execution()
    own === nothing && return run_isolated(f, task)
    # Loaded here it would be suspended again, further down; one that is resumed higher up the core takes for a new one.
    own.waits && return in_another_task(f)
    load_state(own)
    return f()
end

macro python(expression)
    :(python(() -> $(esc(expression))))
end

function run_isolated(f, task)
    base, size = bounds(task)
    own = Execution(task, Ref(Stack()), Ref(Stack()), false)
    remember(own, base)
    sticky, task.sticky = task.sticky, true
    try
        handle = register(base, size)
        own.own[] = Stack(handle, 0, 0, (0, 0, 0, 0, 0))
        try
            return task_local_storage(() -> run_loaded(f, own), :stackwarden, own)
        finally
            unregister(handle)
        end
    finally
        task.sticky = sticky
        forget(base)
    end
end

function run_loaded(f, own)
    load_state(own)
    try
        return f()
    finally
        save_state(own, 1)
    end
end

function in_another_task(f)
    task = schedule(Task(() -> python(f)))
    try
        return fetch(task)
    catch error
        error isa TaskFailedException && error.task === task && throw(task.exception)
        rethrow()
    end
end

"""
    yields(f)
    @yields expression

For what Python calls: evaluate what may switch tasks. Inside, Python may be run with `@python` only; that is done
in another task.
"""
function yields(f)
    table[] === nothing && return f()
    own = execution()
    if own === nothing # the root task, mostly
        try
            return f()
        finally
            save_others()
        end
    end
    own.waits && return f()
    save_state(own, 0)
    own.waits = true
    try
        return f()
    finally
        own.waits = false
        load_state(own)
    end
end

macro yields(expression)
    :(yields(() -> $(esc(expression))))
end

"`Base.@async`, with the whole of the task inside `@python`."
macro async(expression)
    esc(:(Base.@async $python(() -> $expression)))
end

end
