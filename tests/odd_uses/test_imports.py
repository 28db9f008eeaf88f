"""Imported twice, and under options by which Python ignores the environment."""

import importlib

import pytest

from availability import unavailable

FORGET = """
    import sys
    import stackwarden

    def forget(package):
        for name in list(sys.modules):
            if name == package or name.startswith(package + "."):
                del sys.modules[name]
"""


def test_a_second_import_says_why_it_cannot_be(child):
    done = child(
        FORGET
        + """
    former = {name: module for name, module in sys.modules.items() if name.startswith("stackwarden")}
    forget("stackwarden")
    for _ in range(2):
        try:
            import stackwarden
        except ImportError as error:
            print(error)
    sys.modules |= former
    import stackwarden
    print(stackwarden.call_on_stack(len, "back"))
    """
    )
    first, second, last = done.stdout.splitlines()
    assert first == second
    assert first.startswith("stackwarden was removed from sys.modules and imported again, ")
    assert last == "4"


def test_where_the_core_is_still_there_it_can(child):
    done = child("""
        import importlib, sys
        import stackwarden

        del sys.modules["stackwarden"]
        import stackwarden as again
        print(again is stackwarden, again.Stack is stackwarden.Stack)
        print(importlib.reload(again).status() == stackwarden.status())
    """)
    assert done.stdout.splitlines() == ["False True", "True"]


COMPILED = {
    "argobots": "_user_threads",
    "asm": "_coroutine",
    "fcontext": "_coroutine",
    "greenlet": "_greenlet",
    "massivethreads": "_user_threads",
    "ucontext": "_coroutine",
}


@pytest.mark.parametrize("adapter", COMPILED)
def test_so_does_a_second_import_of_an_adapter(child, adapter):
    name = f"stackwarden.adapters.{adapter}.{COMPILED[adapter]}"
    try:
        importlib.import_module(name)
    except ImportError as error:
        unavailable({"fcontext": "boost"}.get(adapter, adapter), str(error))
    done = child(
        FORGET
        + f"""
    import importlib
    name = {name!r}
    former = importlib.import_module(name)
    for _ in range(2):
        forget(name)
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(type(error).__name__, error.name == name, error.path == former.__file__, error)
    sys.modules[name] = former
    print(importlib.import_module(name) is former)
    """
    )
    first, second, last = done.stdout.splitlines()
    assert first == second
    assert first.startswith(
        f"ImportError True True {name} was removed from sys.modules and imported again, "
    )
    assert last == "True"


SHOW = """
    import stackwarden
    status = stackwarden.status()
    print(status["policy"], status["stack_size"], status["reason"], status["mechanism"])
"""
VARIABLES = {
    "STACKWARDEN": "policy=counted,stack-size=2M",
    "STACKWARDEN_MECHANISM": "none",
    "STACKWARDEN_PROBE": "nonsense",
}


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_python_that_ignores_the_environment_obeys_no_variable(child, option):
    plain = child(SHOW).stdout
    assert child(SHOW, options=(option,), **VARIABLES).stdout == plain
    assert not plain.startswith("counted")


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_the_command_line_counts_there_too(child, option):
    done = child(SHOW, options=(option, "-X", "stackwarden=policy=counted"), **VARIABLES)
    assert done.stdout.startswith("counted 67108864 ")


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_nor_does_it_begin_what_they_ask_for(child, option):
    begin = """
        import sys
        from _stackwarden_start.begin import begin
        begin()
        print("stackwarden._settings" in sys.modules, __import__("stackwarden").status()["interposition"])
    """
    done = child(begin, options=(option,), STACKWARDEN="interpose")
    assert done.stdout == "False off\n"
    assert child(begin, STACKWARDEN="interpose").stdout == "True on\n"
