"""The child of the twins, of the demo and of other tests: it runs where it should and is waited for."""

import os
import subprocess

import pytest

import children
from stackwarden.testing import child

STACK_SIZE = 1024 * 1024


def program(text: str) -> subprocess.Popen[str]:
    return child.start_python("-c", text)


@pytest.mark.parametrize("placement", child.PLACEMENTS)
def test_run_placed_puts_the_stack_where_it_is_told(placement):
    placed = child.run_placed(lambda: "done", placement, STACK_SIZE)
    assert placed["result"] == "done"
    assert (placed["stack_base"] > placed["native_base"]) == (placement == "above")


def test_run_placed_raises_what_the_function_raises():
    def fail():
        raise KeyError("from the stack")

    with pytest.raises(KeyError, match="from the stack"):
        child.run_placed(fail, "below", STACK_SIZE)


def test_end_has_what_the_child_said_and_nothing_else_that_was_printed():
    end = child.wait(program("""print('hello'); print('{"outcome": "fine", "x": 1}')"""))
    assert end == child.End("fine", {"outcome": "fine", "x": 1}, "")


def test_end_of_a_killed_child_is_the_name_of_the_signal_with_what_it_said_before():
    end = child.wait(program("""
import os, signal
print('{"x": 1}', flush=True)
os.kill(os.getpid(), signal.SIGSEGV)
"""))  # fmt: skip
    assert end == child.End("SIGSEGV", {"x": 1}, "")


def test_end_of_a_child_that_fails_is_its_exit_status_and_what_it_said_of_it():
    assert child.wait(program("raise SystemExit('because')")) == (
        "exit status 1", {}, "because\n",
    )  # fmt: skip


def test_end_of_a_child_that_says_nothing_is_no_outcome():
    assert child.wait(program("")).outcome == "no outcome"


def test_child_is_killed_when_its_time_is_up():
    process = program("import signal; signal.pause()")
    assert child.wait(process, seconds=0.01).outcome == "out of time"
    assert process.returncode == -9


@pytest.mark.skipif(os.name != "posix", reason="core files are of POSIX")
def test_dying_children_leave_no_core_file(tmp_path):
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
from stackwarden.testing import child
end = child.wait(child.start("sorted", placement="below", stack_size={128 * 1024}, protected=False))
assert end.outcome == "SIGSEGV", end
"""
    children.run_python(script, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_child_imports_from_the_current_folder_only_where_its_parent_does(tmp_path):
    (tmp_path / "pickle.py").write_text("raise SystemExit('the wrong pickle')")
    script = """
from stackwarden.testing import child
print(child.wait(child.start("add", placement="below", stack_size=1 << 20)).outcome)
"""
    ran = children.run_python(script, options=["-P"], folder=tmp_path)
    assert (ran.stdout, ran.stderr) == ("RecursionError\n", "")
