"""Importing the package installs nothing and needs nothing but CPython."""

import pytest

LOOK = """
    import atexit, gc, signal, sys, threading

    def look():
        found = {f"sys.{name}": getattr(sys, name) for name in dir(sys) if "hook" in name or "limit" in name}
        for name in ("setrecursionlimit", "settrace", "setprofile", "setswitchinterval"):
            found[f"sys.{name}"] = getattr(sys, name)
        for name in ("gettrace", "getprofile", "getswitchinterval", "getrecursionlimit", "get_asyncgen_hooks"):
            found[f"sys.{name}()"] = getattr(sys, name)()
        found["sys.meta_path"] = list(sys.meta_path)
        found["sys.path_hooks"] = list(sys.path_hooks)
        for number in signal.valid_signals():
            found[f"signal {number}"] = signal.getsignal(number)
        found["wakeup fd"] = signal.set_wakeup_fd(-1)
        for name in ("excepthook", "gettrace", "getprofile", "settrace", "setprofile", "Thread", "get_ident"):
            found[f"threading.{name}"] = getattr(threading, name)
        found["trace of threads"] = threading.gettrace(), threading.getprofile()
        found["atexit"] = atexit._ncallbacks()
        found["gc"] = list(gc.callbacks), gc.get_threshold(), gc.isenabled()
        found["threads"] = threading.enumerate()
        return found

    def compare(before):
        after = look()
        print(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))
"""


def test_importing_changes_nothing_of_anybodys(child):
    done = child(
        LOOK
        + """
    before = look()
    import stackwarden
    compare(before)
    """
    )
    assert done.stdout == "[]\n"


def test_importing_the_conformance_kit_changes_nothing_either(child):
    done = child(
        LOOK
        + """
    before = look()
    import stackwarden.testing
    compare(before)
    """
    )
    assert done.stdout == "[]\n"


def test_importing_leaves_the_bounds_as_they_are(child):
    done = child("""
        import cpython_bounds
        before = cpython_bounds.read()
        import stackwarden
        after = cpython_bounds.read()
        print(before == after)
    """)
    assert done.stdout == "True\n"


def test_importing_needs_nothing_but_the_standard_library(child):
    done = child("""
        import sys
        before = set(sys.modules)
        import stackwarden
        loaded = {name: sys.modules[name] for name in set(sys.modules) - before}
        files = {name.partition(".")[0] for name, module in loaded.items() if hasattr(module, "__file__")}
        print(sorted(files - sys.stdlib_module_names))
    """)
    assert done.stdout == "['_stackwarden_start', 'stackwarden']\n"


@pytest.mark.usefixtures("unchecked")
def test_importing_imports_nothing_that_takes_long(child):
    done = child("""
        import sys
        before = set(sys.modules)
        import stackwarden
        slow = {"contextvars", "functools", "inspect", "logging", "pathlib", "re", "threading"}
        print(sorted((slow | {"typing", "warnings"}) & (set(sys.modules) - before)))
    """)
    assert done.stdout == "[]\n"


def test_importing_starts_no_adapter(child):
    done = child("""
        import sys
        import stackwarden
        print([name for name in sys.modules if name.startswith("stackwarden.adapters")])
    """)
    assert done.stdout == "[]\n"


def test_what_is_exported_is_documented():
    import stackwarden

    for name in stackwarden.__all__:
        assert getattr(stackwarden, name).__doc__, name


def test_a_garbage_collection_meanwhile_does_no_harm(child):
    """3.11 collects in the middle of making objects: wherever that is, classes must be ready by then."""
    child("""
        import gc, os, sys, threading

        for objects in range(150):
            if os.fork() == 0:
                kept = [[] for _ in range(objects)]
                import stackwarden
                os._exit(0)
            assert os.wait()[1] == 0, objects
    """)
