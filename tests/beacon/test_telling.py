"""What a beacon says is heard like anybody's word, from any thread, and refusals are shown."""

import pytest

LOADED = "runtime = Runtime(LIBRARIES[0])\nimport stackwarden\nbase = runtime.make_stack(STACK)\n"


def test_a_registered_stack_is_found_where_no_switch_is_told_of(beacon_child, library, silent):
    program = (
        LOADED
        + """
silent = Runtime(LIBRARIES[1])
runtime.add_stack(ctypes.c_void_p(base), ctypes.c_size_t(STACK), b"worker 1")
seen = []
silent.call_on(base, STACK, WORK(lambda: seen.extend([stackwarden.sync_stack(), recurse()])))
print(seen[0].name, seen[0].system, seen[0].size == STACK, seen[1])
stackwarden.sync_stack()
runtime.remove_stack(ctypes.c_void_p(base))
runtime.remove_stack(ctypes.c_void_p(base))
print(stackwarden.status()["registered"], stackwarden.status()["beacon_faults"])
"""
    )
    libraries = library(), library(headers=silent)
    assert beacon_child(program, *libraries) == ["worker 1 one True RecursionError", "0 None"]


def test_switches_to_registered_stacks_count_for_their_records(beacon_child, library):
    program = (
        LOADED
        + """
with stackwarden.register_stack(base, STACK, name="by Python") as stack:
    for _ in range(3):
        runtime.call_on(base, STACK, WORK(lambda: None))
    print(stack.switches, stackwarden.current_stack().bounds_from)
"""
    )
    assert beacon_child(program, library()) == ["3 native"]


def test_what_is_refused_is_counted_and_shown(beacon_child, library):
    program = (
        LOADED
        + """
runtime.tell(base + 8, STACK)
runtime.tell(base, 0)
print(stackwarden.status()["beacon_faults"], stackwarden.current_stack().bounds_from)
runtime.tell(base, 4096)
print(stackwarden.status()["beacon_faults"])
"""
    )
    assert beacon_child(program, library()) == [
        "one: 2 calls refused, the last one: the range is empty, larger than 2**40 bytes,"
        " wraps around or lies beyond 2**48 native",
        "one: 3 calls refused, the last one: the stack is smaller than this interpreter can protect",
    ]


def test_the_doctor_shows_beacons(beacon_child, library):
    program = (
        LOADED
        + """
from stackwarden._cli.doctor import doctor
runtime.tell(base, 0)
doctor.main([], standalone_mode=False)
"""
    )
    text = "\n".join(beacon_child(program, library("my runtime")))
    assert "my runtime" in text
    assert "1 calls refused" in text


@pytest.mark.parametrize("when", ["before the core", "after the core"])
def test_threads_that_python_does_not_know_may_tell(beacon_child, library, when):
    """And go on while the core comes: it is found between two of their switches."""
    program = """
runtime = Runtime(LIBRARIES[0])
runtime.start_threads()
import stackwarden
for _ in range(200):
    stackwarden.status(), stackwarden.stacks()
print(runtime.returned(recurse))
runtime.stop_threads()
print(stackwarden.status()["beacon_faults"])
"""
    if when == "after the core":
        program = "import stackwarden\n" + program
    assert beacon_child(program, library()) == ["RecursionError", "None"]


def test_threads_may_go_on_telling_while_the_interpreter_ends(beacon_child, library):
    program = LOADED + "runtime.start_threads()\nprint(runtime.returned(recurse))\n"
    for _ in range(5):
        printed = beacon_child(program, library(), MALLOC_PERTURB_="165")
        assert printed == ["RecursionError"]


@pytest.mark.usefixtures("unchecked")
def test_a_lie_is_a_warning_in_the_checking_mode(beacon_child, library):
    program = (
        LOADED
        + """
import warnings
warnings.showwarning = lambda message, *where: print(message)
one, other = runtime.make_stack(STACK), runtime.make_stack(STACK)
print(runtime.returned(recurse))
runtime.tell(one, STACK)
runtime.tell(other, STACK)
runtime.tell_native()
print(hex(one))
"""
    )
    honest, lie, address = beacon_child(program, library(), STACKWARDEN="check")
    assert honest == "RecursionError"
    assert f"told of a switch to stack [{address}, " in lie
