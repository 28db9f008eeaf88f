"""Installing the adapter, and what cannot be: a reason in words, and nothing is half installed."""

import re
from pathlib import Path

import paths
import stackwarden

REFUSED = """
print(raised(stackwarden.errors.{error}, adapters.install, "julia"), adapters.installed())
"""


def test_the_module_has_the_table_as_the_header_has_it():
    header = Path(stackwarden.get_include(), "stackwarden", "stackwarden.h").read_text()
    slots = re.findall(r"^    stackwarden_status \(\*(\w+)\)", header, re.MULTILINE)
    module = (paths.CHECKOUT / "adapters/julia/Stackwarden.jl").read_text()
    table = re.findall(r"^    (\w+)::Ptr{Cvoid}$", module, re.MULTILINE)
    assert table
    assert slots[: len(table)] == table
    (major, minor) = re.findall(r"^const API_M\w+ = (\d+)$", module, re.MULTILINE)
    assert f"STACKWARDEN_API_MAJOR {major}\n" in header
    assert int(minor) == 0, "the slots that are used are those of version 1.0"


def test_without_julia_it_is_missing(child):
    (said,) = child(REFUSED.format(error="SystemMissingError"))
    assert said == "libjulia is not in this process, or was not loaded with RTLD_GLOBAL []"


def test_julia_that_was_not_started_is_missing(child):
    (said,) = child("load()\n" + REFUSED.format(error="SystemMissingError"))
    assert said == "libjulia is in this process, but Julia was not started []"


def test_julia_that_copies_stacks_is_refused(child):
    program = f"library = start()\n{REFUSED.format(error='SystemUnfitError')}"
    program += 'print(run(library, "Stackwarden.table[]"))'
    assert child(program, JULIA_COPY_STACKS="1") == [
        "Julia 1.5.3: Julia copies stacks (JULIA_COPY_STACKS): a task's stack does not stay where "
        "it is []",
        "nothing",
    ]


def test_julia_that_does_not_say_where_stacks_lie_is_too_old(child, libraries, tmp_path):
    """The real library, without the name of that function."""
    older = tmp_path / "libjulia.so.1"
    name = b"\0jl_task_stack_buffer\0"
    older.write_bytes((libraries / older.name).read_bytes().replace(name, name[:-2] + b"_\0"))
    program = REFUSED.format(error="SystemTooOldError")
    program += "print(__import__('stackwarden.adapters.julia').adapters.julia.is_loaded())"
    assert child(f"start({str(older)!r})\n{program}") == [
        "Julia 1.5.3 does not say where the stacks of its tasks lie; 1.5 and later do []",
        "True",
    ]


def test_another_thread_than_julias_is_refused(child):
    assert child("""
        start()
        def install():
            print(raised(stackwarden.errors.AdapterError, adapters.install, "julia"))
        thread = threading.Thread(target=install)
        thread.start()
        thread.join()
        print(adapters.install_loaded())
    """) == ["this is not the thread that Julia was started on", "['julia']"]  # fmt: skip


def test_installing_twice_and_uninstalling_twice_are_refused(child):
    assert child("""
        start()
        adapters.install("julia")
        print(raised(stackwarden.errors.AdapterInstalledError, adapters.install, "julia") is not None)
        adapters.uninstall("julia")
        print(raised(stackwarden.errors.AdapterNotInstalledError, adapters.uninstall, "julia") is not None)
    """) == ["True", "True"]  # fmt: skip
