"""Subinterpreters that share the GIL can use the package; one with its own GIL is told why not."""

import sys

import pytest

START = """
    import sys
    import stackwarden, capi_probe as probe, cpython_bounds

    probe.import_table()

    if sys.version_info >= (3, 13):
        import _interpreters

        def create(own_gil=False):
            return _interpreters.create("isolated" if own_gil else "legacy")

        def execute(number, script):
            failed = _interpreters.exec(number, script)
            if failed is not None:
                raise RuntimeError(failed.formatted)

        destroy = _interpreters.destroy
    else:
        import _xxsubinterpreters

        def create(own_gil=False):
            return _xxsubinterpreters.create(isolated=own_gil)

        execute, destroy = _xxsubinterpreters.run_string, _xxsubinterpreters.destroy

    IMPORTS = "import sys, stackwarden, capi, cpython_bounds, capi_probe as probe; probe.import_table()\\n"
    MIB = 1 << 20
"""


def test_the_functions_work_in_a_subinterpreter(child):
    done = child(
        START
        + """
    base = probe.map_memory(MIB)
    execute(create(), IMPORTS + f'''if True:
        native = stackwarden.current_stack()
        before = cpython_bounds.read()
        stack = stackwarden.register_stack({base}, {MIB}, name="inner")
        assert stackwarden.notify_stack_switch({base}, {MIB}) == stack
        assert cpython_bounds.read() != before
        stackwarden.reset_stack()
        assert cpython_bounds.read() == before
        assert stackwarden.sync_stack() == native
        try:
            stackwarden.notify_stack_switch(0, 0)
        except stackwarden.StackRangeError:
            print("refused")
        print(stackwarden.status()["mechanism"] != "none")
    ''')
    (inner,) = [stack for stack in stackwarden.stacks() if stack.name == "inner"]
    inner.unregister()
    print("done")
    """
    )
    assert done.stdout == "refused\nTrue\ndone\n"


def test_the_package_may_be_imported_in_a_subinterpreter_first(child):
    done = child(
        START.replace("import stackwarden, capi_probe", "import capi_probe").replace(
            "    probe.import_table()\n", "", 1
        )
        + """
    number = create()
    execute(number, IMPORTS + "print(stackwarden.status()['mechanism'] != 'none')")
    destroy(number)
    import stackwarden

    stackwarden.notify_stack_switch(probe.map_memory(MIB), MIB)
    stackwarden.reset_stack()
    print(stackwarden.current_stack().bounds_from)
    """
    )
    assert done.stdout == "True\nnative\n"


def test_bounds_that_were_told_in_one_interpreter_apply_in_another_at_its_sync(child):
    """A thread has a thread state for each interpreter; their numbers may be the same."""
    done = child(
        START
        + """
    base, number = probe.map_memory(MIB // 4), create()
    execute(number, IMPORTS)
    before = cpython_bounds.read()

    def on_the_stack():
        stackwarden.notify_stack_switch(base, MIB // 4)
        told = cpython_bounds.read()
        execute(number, '''stackwarden.sync_stack(); seen = cpython_bounds.read(); print(sorted(seen.items()))''')
        return told

    told = probe.call_on(base, MIB // 4, on_the_stack)
    print(sorted(told.items()))
    stackwarden.reset_stack()
    assert cpython_bounds.read() == before, (cpython_bounds.read(), before)
    execute(number, "stackwarden.sync_stack(); print(sorted(cpython_bounds.read().items()))")
    print(sorted(before.items()))
    """
    )
    inner, outer, inner_after, outer_after = map(eval, done.stdout.splitlines())
    for one, other in [(inner, outer), (inner_after, outer_after)]:
        one, other = dict(one), dict(other)
        assert abs(one.pop("remaining", 0) - other.pop("remaining", 0)) <= 16
        assert one == other


def test_callbacks_belong_to_their_interpreter(child):
    done = child(
        START
        + """
    base, number = probe.map_memory(MIB), create()
    execute(number, IMPORTS + "stackwarden.register_switch_callback(lambda old, new: print('inner'))")
    stackwarden.register_switch_callback(lambda old, new: print("outer"))
    probe.call_on(base, MIB, lambda: stackwarden.notify_stack_switch(base, MIB))
    execute(number, "stackwarden.reset_stack()")
    """
    )
    assert done.stdout == "outer\ninner\n"


def test_an_interpreter_that_ended_leaves_no_callback_behind(child):
    done = child(
        START
        + """
    base = probe.map_memory(MIB)
    for _ in range(40):
        number = create()
        execute(number, IMPORTS + "stackwarden.register_switch_callback(print)")
        destroy(number)
    calls = []
    stackwarden.register_switch_callback(lambda old, new: calls.append(new))
    stackwarden.notify_stack_switch(base, MIB)
    stackwarden.reset_stack()
    print(len(calls))
    """
    )
    assert done.stdout == "1\n"


def test_an_interpreter_may_end_with_its_stack_told(child):
    done = child(
        START
        + """
    base, before = probe.map_memory(MIB), cpython_bounds.read()
    for _ in range(3):
        number = create()
        execute(number, IMPORTS + f"stackwarden.notify_stack_switch({base}, {MIB})")
        destroy(number)
        stackwarden.sync_stack()
        assert cpython_bounds.read() == before, (cpython_bounds.read(), before)
    print("done")
    """
    )
    assert done.stdout == "done\n"


if sys.version_info >= (3, 12):

    def test_an_interpreter_with_its_own_gil_gets_an_import_error_that_names_the_reason(child):
        done = child(
            START
            + """
    execute(create(own_gil=True), '''if True:
        try:
            import stackwarden
        except ImportError as error:
            print(error)
    ''')
    stackwarden.reset_stack()
    """
        )
        assert "its own GIL" in done.stdout

else:

    def test_a_limit_that_is_set_in_one_interpreter_is_not_that_of_another(child):
        done = child(
            START
            + """
    base, number = probe.map_memory(MIB), create()
    stackwarden.notify_stack_switch(base, MIB)
    execute(number, IMPORTS + f'''if True:
        sys.setrecursionlimit(300)
        stackwarden.notify_stack_switch({base}, {MIB} // 2)
        stackwarden.reset_stack()
    ''')
    stackwarden.notify_stack_switch(base, MIB)
    stackwarden.reset_stack()
    print(sys.getrecursionlimit(), cpython_bounds.read()["remaining"] > 900)
    """
        )
        assert done.stdout == "1000 True\n"


@pytest.mark.parametrize("first", ["outer", "inner"])
def test_the_c_table_is_the_same_for_all_interpreters(child, first):
    done = child(
        START
        + f"""
    base, number = probe.map_memory(MIB), create()
    import capi

    script = IMPORTS + f"status, handle = capi.attached.register({{base}}, {{MIB}}); print(status)"
    if {first!r} == "inner":
        execute(number, script)
        print(len(stackwarden.stacks()))
    else:
        status, handle = capi.attached.register(base, MIB)
        print(status)
        execute(number, IMPORTS + "print(len(stackwarden.stacks()))")
    """
    )
    assert done.stdout in ("0\n1\n", "0\n2\n")
