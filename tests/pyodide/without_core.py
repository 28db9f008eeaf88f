"""A program that ends well where the package has no compiled core: prints `as promised` last.

Run by Pyodide, which has none, and by CPython with the core out of reach.
"""

import inspect
import sys
from pathlib import Path

import stackwarden
from stackwarden._types import Status

# What needs a core, and what it is called with.
REFUSED = {
    "Stack": (),
    "call_on_stack": (print,),
    "current_stack": (),
    "deep_recursion": (),
    "disable_crash_reports": (),
    "drain": (),
    "enable_crash_reports": (),
    "find_stack": (1 << 20,),
    "growing": (),
    "interpose": (),
    "maybe_grow": (print,),
    "notify_stack_switch": (1 << 20, 1 << 20),
    "on_stack": (),
    "register_stack": (1 << 20, 1 << 20),
    "register_switch_callback": (print,),
    "reset_stack": (),
    "stack_budget": (1 << 20,),
    "stack_policy": (),
    "sync_stack": (),
    "unregister_switch_callback": (print,),
    "wrap_thread_pool": (print,),
}
ANSWERED = {
    *("stacks", "status", "format_stack", "print_stacks"),
    *("get_cmake_dir", "get_include", "get_pkgconfig_dir"),
    *("check_stack_depth", "stack_remaining", "stack_used", "sync_on_call"),
    *("classify_recursion_error", "precise_recursion_errors"),
    *("Interposition", "interposed_environment"),
}


def check_names() -> None:
    """Every public name is there, and this program knows what to expect of it."""
    public = {name: getattr(stackwarden, name) for name in stackwarden.__all__}
    errors = {name for name, value in public.items() if _is_exception(value)}
    assert set(public) - errors == set(REFUSED) | ANSWERED, set(public) - errors


def _is_exception(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def check_status() -> None:
    status = stackwarden.status()
    assert status["mechanism"] == "none", status
    assert status["reason"] == reason(), status
    assert status.keys() == Status.__required_keys__
    assert stackwarden.stacks() == []
    assert stackwarden.__version__


def reason() -> str:
    python = "{} {}.{}".format(sys.implementation.name, *sys.version_info)
    return (
        f"stackwarden has no compiled core for {python} on {sys.platform}: the mechanism is 'none'"
    )


def check_refusals() -> None:
    for name, arguments in REFUSED.items():
        try:
            getattr(stackwarden, name)(*arguments)
        except stackwarden.NotRunningError as error:
            said = str(error)
        else:
            said = "nothing"
        assert said == reason(), (name, said)


def check_headers() -> None:
    """Headers need no core: another package may be built for a CPython that has one."""
    assert Path(stackwarden.get_include(), "stackwarden", "stackwarden.h").exists()


check_names()
check_status()
check_refusals()
check_headers()
print("as promised")
