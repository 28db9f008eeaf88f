"""STACKWARDEN=check: what is told is compared with the stack pointer, where that can first be said."""

import textwrap

import pytest

PRELUDE = """
import sys, time, warnings
import capi_probe, capi
import stackwarden
from stackwarden import notify_stack_switch, reset_stack, sync_stack
from stackwarden.adapters.ucontext import Coroutine, suspend

capi_probe.import_table()
MIB = 1 << 20
ONE, OTHER = capi_probe.map_memory(MIB), capi_probe.map_memory(MIB)

def seen():
    found = []
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, category, *where: found.append((category.__name__, str(message)))
    return found

FOUND = seen()
"""
SHOW = """
print(len(FOUND))
for category, text in FOUND:
    print(category, text)
print(hex(ONE), hex(OTHER), hex(stackwarden.current_stack().base))
"""

LIES = {
    "another is told": "notify_stack_switch(ONE, MIB); notify_stack_switch(OTHER, MIB); reset_stack()",
    "a stack is left": """
        def body():
            notify_stack_switch(ONE, MIB)
            suspend()
        coroutine = Coroutine(body)
        coroutine.resume(); coroutine.resume()
        """,
    "Python is entered": """
        def body():
            capi.attached.sync()
        notify_stack_switch(ONE, MIB)
        capi_probe.call_on(OTHER, MIB, body)
        reset_stack()
        """,
    "told in C": """
        capi.attached.notify(ONE, MIB); capi.attached.notify(OTHER, MIB); capi.attached.reset()
        """,
    "told in C, detached": """
        capi.detached.notify(ONE, MIB); capi.detached.notify(OTHER, MIB); capi.detached.reset()
        """,
}
HONEST = {
    "before the jump": """
        notify_stack_switch(ONE, MIB)
        capi_probe.call_on(ONE, MIB, lambda: sync_stack())
        reset_stack()
        """,
    "after the jump": """
        def body():
            notify_stack_switch(ONE, MIB)
            sync_stack()
        capi_probe.call_on(ONE, MIB, body)
        reset_stack()
        """,
    "before each of two jumps": """
        def inner():
            sync_stack()
            notify_stack_switch(ONE, MIB)
        def body():
            sync_stack()
            notify_stack_switch(OTHER, MIB)
            capi_probe.call_on(OTHER, MIB, inner)
            reset_stack()
        notify_stack_switch(ONE, MIB)
        capi_probe.call_on(ONE, MIB, body)
        """,
    "coroutines": """
        def body():
            for number in range(3):
                suspend(number)
        one, other = Coroutine(body), Coroutine(body)
        for _ in range(4):
            one.resume(); other.resume()
        """,
    "named for a block": """
        with stackwarden.register_stack(ONE, MIB) as stack:
            with stackwarden.on_stack(stack):
                sync_stack()
        """,
}


def run(child, program, mode="check"):
    body = textwrap.dedent(program)
    return child(PRELUDE + body + SHOW, STACKWARDEN=mode).stdout.splitlines()


@pytest.mark.parametrize("told", LIES)
def test_a_lie_is_a_warning_with_both_ranges_and_the_place(child, told):
    count, *warned, addresses = run(child, LIES[told])
    one, _, _ = addresses.split()
    assert count == "1", warned
    assert warned[0].startswith("StackMismatchWarning ")
    assert f"told of a switch to stack [{one}, " in warned[0]
    assert ("capi_probe" if "in C" in told else "<string>:") in warned[0]


def test_the_stack_under_the_stack_pointer_is_named(child):
    _, warned, addresses = run(child, LIES["another is told"])
    assert f"is on [{addresses.split()[-1]}, " in warned
    _, warned, _ = run(child, LIES["Python is entered"])
    assert warned.endswith("is on no stack that is known")


@pytest.mark.parametrize("told", HONEST)
def test_what_is_true_is_not_warned_of(child, told):
    assert run(child, HONEST[told])[0] == "0"


def test_one_place_is_warned_of_once(child):
    lies = "for _ in range(5): " + LIES["another is told"]
    assert run(child, lies)[0] == "1"


@pytest.mark.usefixtures("unchecked")
def test_nothing_is_compared_without_it(child):
    assert run(child, LIES["another is told"], mode="policy=exact")[0] == "0"


def test_it_may_be_an_error(child):
    program = f"""
try:
    {LIES["another is told"]}
    while True: pass
except stackwarden.StackMismatchWarning:
    print("raised")
"""
    assert "raised" in run(child, program, mode="check=error")


def test_the_command_line_asks_for_it_too(child):
    program = PRELUDE + LIES["another is told"] + "\n" + SHOW
    assert child(program, options=["-X", "stackwarden=check"]).stdout.splitlines()[0] == "1"
