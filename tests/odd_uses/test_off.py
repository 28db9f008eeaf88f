"""STACKWARDEN=off: all of the package does the harmless thing, in this process and in those that it starts."""

import json
import sys

import pytest

import stackwarden

OFF = {"STACKWARDEN": "off"}


def test_it_is_said(child):
    program = """
        import stackwarden
        status = stackwarden.status()
        print(status["mechanism"], status["reason"], status["interposition"], status["beacons"])
    """
    for how in ({"STACKWARDEN": "off"}, {"STACKWARDEN": "policy=counted, off ,interpose"}):
        assert child(program, **how).stdout == "none STACKWARDEN=off off ()\n"
    assert child(program, options=("-X", "stackwarden=off")).stdout.startswith(
        "none STACKWARDEN=off"
    )
    assert not child(program, options=("-X", "stackwarden=off=off"), **OFF).stdout.startswith(
        "none"
    )
    assert not child(program, options=("-E",), **OFF).stdout.startswith("none")


def test_calls_are_made_in_place_and_nothing_is_raised(child):
    done = child(
        """
        import sys
        import stackwarden as sw

        here = sw.current_stack()

        def where(*args, **kwargs):
            assert (args, kwargs) == ((1,), {"two": 2})
            return sw.current_stack() == here and sw.sync_stack() in (here, None)

        def limit():
            return sys.getrecursionlimit()

        calls = {
            "call_on_stack": lambda: sw.call_on_stack(where, 1, two=2, stack_size="1G"),
            "maybe_grow": lambda: sw.maybe_grow(where, 1, two=2),
            "growing": lambda: sw.growing(room="512M")(where)(1, two=2),
            "deep_recursion": lambda: sw.deep_recursion(where)(1, two=2),
            "limit": lambda: sw.deep_recursion(limit=77_777)(limit)() == limit(),
            "sync_on_call": lambda: sw.sync_on_call(min_stack="512M")(where)(1, two=2),
            "stack_budget": lambda: sw.stack_budget("64K")(where)(1, two=2),
            "precise_recursion_errors": lambda: sw.precise_recursion_errors(where)(1, two=2),
            "wrap_thread_pool": lambda: sw.wrap_thread_pool(lambda task: task()).submit(len, "ab").result() == 2,
            "check_stack_depth": lambda: sw.check_stack_depth() is None,
            "enable_crash_reports": lambda: sw.enable_crash_reports() is None and not sw.status()["crash_reports"],
            "drain": lambda: sw.drain() is None,
        }
        for name, call in calls.items():
            if call() is not True:
                print(name)
        with sw.stack_policy("disabled"), sw.stack_budget("64K"), sw.precise_recursion_errors():
            pass
        with sw.interpose(isolation="frames") as begun:
            print(begun, sw.status()["interposition"])
        print("done")
        """,
        **OFF,
    )
    assert done.stdout == "<Interposition isolation='frames', undone> off\ndone\n"


def test_cpython_is_told_nothing(child):
    done = child(
        """
        import capi_probe, cpython_bounds, stackwarden

        area = capi_probe.map_memory(1 << 20)
        before = cpython_bounds.read()
        with stackwarden.register_stack(area, 1 << 20) as stack:
            stackwarden.notify_stack_switch(stack)
            print(cpython_bounds.read() == before)
            stackwarden.reset_stack()
        print(cpython_bounds.read() == before)
        """,
        **OFF,
    )
    assert done.stdout == "True\nTrue\n"


def test_coroutines_run_all_the_same(child):
    done = child(
        """
        from stackwarden.adapters.ucontext import Coroutine, suspend

        def work(number):
            try:
                raise KeyError(number)
            except KeyError as error:
                suspend(number)
                return error.args[0]

        coroutines = [Coroutine(work, number) for number in range(5)]
        print([one.resume() for one in coroutines], [one.resume() for one in coroutines])
        """,
        **OFF,
    )
    assert done.stdout == "[0, 1, 2, 3, 4] [0, 1, 2, 3, 4]\n"


@pytest.mark.parametrize("name", ["greenlet", "gevent"])
def test_adapters_that_only_protect_are_not_installed(child, name):
    pytest.importorskip(name)
    done = child(
        f"""
        from stackwarden import adapters
        import greenlet

        switch = greenlet.greenlet.switch
        adapters.install({name!r})
        print(adapters.installed(), greenlet.greenlet(lambda: "works").switch())
        adapters.uninstall({name!r})
        print(adapters.installed())
        """,
        **OFF,
    )
    assert done.stdout == f"['{name}'] works\n[]\n"


TREE = """
    import json, os, subprocess, sys
    import stackwarden

    if len(sys.argv) == 1:
        environment = os.environ | stackwarden.interposed_environment()
        subprocess.run([sys.executable, *sys.orig_argv[1:], "inner"], env=environment, check=True)
    else:
        status = stackwarden.status()
        loaded = "libstackwarden_interpose" in open("/proc/self/maps").read()
        print(json.dumps([status["reason"], status["interposition"], loaded]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="interposition needs Linux")
def test_processes_that_it_starts_are_off_and_not_interposed(child):
    assert json.loads(child(TREE, **OFF).stdout) == ["STACKWARDEN=off", "off", False]
    assert json.loads(child(TREE).stdout) == [stackwarden.status()["reason"], "on", True]


PRELOADED = """
    import os, subprocess, sys
    import stackwarden

    told = {"STACKWARDEN": sys.argv[1]}
    environment = os.environ | stackwarden.interposed_environment() | told
    program = "import ctypes; print(ctypes.CDLL(None).stackwarden_interpose_off())"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="interposition needs Linux")
def test_the_library_that_was_preloaded_changes_nothing(child):
    """Turning it off undoes as many changes as there were."""
    assert child(PRELOADED, arguments=("off",)).stdout == "0\n"
    assert int(child(PRELOADED, arguments=("off,off=off",)).stdout) > 0
