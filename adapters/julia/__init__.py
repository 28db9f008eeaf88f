"""stackwarden.adapters.julia: Python on the stacks of Julia's tasks.

Promises: after ``install()`` Julia's module ``Stackwarden`` (Stackwarden.jl, beside this file) is loaded and
connected in this process, and functions marked ``@synced`` find the stack of the Julia task that calls them.
Without it, both only call. Julia has no switch hook: what is not marked on one of the two sides is not seen.

Uses libjulia's own functions: jl_active_task_stack, or before 1.6 jl_task_stack_buffer. Everything but ``synced``
is to be called on the thread that Julia was started on.
"""

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import stackwarden
from stackwarden.callables import refuse_undecorated
from stackwarden.errors import (
    AdapterError,
    SystemMissingError,
    SystemTooOldError,
    SystemUnfitError,
)

__all__ = ["install", "is_loaded", "sync", "synced", "uninstall"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_LOAD = """
isdefined(Main, :Stackwarden) || Base.include(Main, {file})
Main.Stackwarden.connect(Ptr{{Cvoid}}.(UInt.({addresses}))...)
"""


class _Julia:
    """libjulia in this process, and of it what is used here."""

    def __init__(self) -> None:
        """Find it, and start nothing. Raises SystemMissingError."""
        self.functions = ctypes.PyDLL(None)
        if not self.has("jl_is_initialized"):
            raise SystemMissingError(
                "libjulia is not in this process, or was not loaded with RTLD_GLOBAL"
            )
        if not self.functions.jl_is_initialized():
            raise SystemMissingError("libjulia is in this process, but Julia was not started")
        for function in ("jl_get_current_task", "jl_eval_string"):
            getattr(self.functions, function).restype = ctypes.c_void_p
        self.functions.jl_string_ptr.argtypes = [ctypes.c_void_p]
        self.functions.jl_string_ptr.restype = ctypes.c_char_p
        self.functions.jl_ver_string.restype = ctypes.c_char_p
        self.version = self.functions.jl_ver_string().decode()
        self.guard: int | None = None  # bytes at the low end of each stack

    def has(self, name: str) -> bool:
        return hasattr(self.functions, name)

    def task(self) -> int | None:
        """The address of the running task; None: this is not a thread of Julia's."""
        if self.has("jl_get_pgcstack"):  # 1.7 and later; without it the next call would crash
            self.functions.jl_get_pgcstack.restype = ctypes.c_void_p
            if self.functions.jl_get_pgcstack() is None:
                return None
        task: int | None = self.functions.jl_get_current_task()
        return task

    def stack(self, task: int) -> tuple[int, int]:
        """Base and size of the stack of the running task, guard pages included."""
        if self.has("jl_active_task_stack"):
            ends = [ctypes.c_size_t() for _ in range(4)]
            self.functions.jl_active_task_stack(ctypes.c_void_p(task), *map(ctypes.byref, ends))
            return ends[2].value, ends[3].value - ends[2].value
        size, thread = ctypes.c_size_t(), ctypes.c_int()
        buffer = self.functions.jl_task_stack_buffer
        buffer.restype = ctypes.c_void_p
        base: int = buffer(ctypes.c_void_p(task), ctypes.byref(size), ctypes.byref(thread))
        return base, size.value

    def run(self, code: str) -> str:
        """Run Julia code; what went wrong, in words, or nothing."""
        guarded = f'try\n{code}\n""\ncatch error\nsprint(showerror, error)\nend'
        text = self.functions.jl_eval_string(guarded.encode())
        said: bytes = self.functions.jl_string_ptr(text)
        return said.decode()


_julia: _Julia | None = None


def is_loaded() -> bool:
    """Was Julia started in this process?"""
    try:
        _Julia()
    except SystemMissingError:
        return False
    return True


def install() -> None:
    """Load Stackwarden.jl into Julia's Main, where the program did not, and connect it.

    Raises SystemMissingError, SystemTooOldError, SystemUnfitError (Julia copies stacks), AdapterError (on another
    thread than Julia's).
    """
    global _julia
    julia = _Julia()
    if not julia.has("jl_active_task_stack") and not julia.has("jl_task_stack_buffer"):
        raise SystemTooOldError(
            f"Julia {julia.version} does not say where the stacks of its tasks lie; 1.5 and later do"
        )
    _require_thread(julia)
    table = ctypes.pythonapi["PyCapsule_Import"]
    table.restype = ctypes.c_void_p
    gil = [ctypes.pythonapi[f"PyGILState_{function}"] for function in ("Ensure", "Release")]
    addresses = (
        table(b"stackwarden._core.table", 0),
        *(ctypes.cast(function, ctypes.c_void_p).value for function in gil),
    )
    file = os.fsencode(Path(__file__).with_name("Stackwarden.jl"))
    text = f"String(UInt8{list(file)})"  # no way of quoting to get wrong
    wrong = julia.run(_LOAD.format(file=text, addresses=addresses))
    if wrong:
        raise SystemUnfitError(f"Julia {julia.version}: {wrong}")
    _julia = julia


def uninstall() -> None:
    """Disconnect Stackwarden.jl. Raises AdapterError while tasks are in the middle of Python."""
    global _julia
    if _julia is not None:
        _require_thread(_julia)
        wrong = _julia.run("Main.Stackwarden.disconnect()")
        if wrong:
            raise AdapterError(f"Julia {_julia.version}: {wrong}")
    _julia = None


def _require_thread(julia: _Julia) -> None:
    if julia.task() is None:
        raise AdapterError("this is not the thread that Julia was started on")


def sync() -> "stackwarden.Stack | None":
    """Make the bounds those of the stack under the caller, which may be that of a Julia task.

    Returns the stack; None where nothing is known of it.
    """
    stack = stackwarden.sync_stack()
    if stack is not None or _julia is None:
        return stack
    task = _julia.task()
    if task is None:
        return None
    base, size = _julia.stack(task)
    if _julia.guard is None:
        with stackwarden.register_stack(base, size, trim_guard=True) as usable:
            _julia.guard = usable.base - base
    return stackwarden.notify_stack_switch(base + _julia.guard, size - _julia.guard)


def synced(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """For functions that Julia calls: ``sync()`` on entry, and the former bounds again at the end.

    Bounds alone: a task that is switched away from inside the function needs ``Stackwarden.@python``. Raises
    TypeError for what a call does not run.
    """
    refuse_undecorated("synced", function)

    @functools.wraps(function)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if _julia is None:
            return function(*args, **kwargs)
        before = stackwarden.current_stack()
        base, size, bounds_from = before.base, before.size, before.bounds_from
        try:
            sync()
            return function(*args, **kwargs)
        finally:
            if bounds_from == "native":
                stackwarden.reset_stack()
            elif bounds_from == "told":
                stackwarden.notify_stack_switch(base, size)

    return wrapper
