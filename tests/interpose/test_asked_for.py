"""STACKWARDEN=interpose does it or says why not; status() says what the library does."""

import sys
import sysconfig
from pathlib import Path

import pytest

import children
import extensions
import foreign
from stackwarden import interposed_environment

UNDER_EXEC = interposed_environment({})
LIBRARY = UNDER_EXEC["LD_PRELOAD"]
PACKAGES = sysconfig.get_path("platlib")
SHOW = "import stackwarden as s; print(s.status()['interposition'], s.status()['interposition_reason'])"
NO_SUCH = {"STACKWARDEN_MECHANISM": "counter" if sys.version_info >= (3, 14) else "pointer"}


def python(*options, program=SHOW, **variables) -> children.Done:
    return children.run(sys.executable, *options, "-c", program, **variables)


def test_a_library_that_is_loaded_and_not_turned_on_is_off(any_jump):
    """By the loader's own option the constructor finds no LD_PRELOAD."""
    loaded = (line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines())
    loader = next(path for path in loaded if Path(path).name.startswith("ld-"))
    preload = (loader, "--preload", LIBRARY, sys.executable)
    text = """
        print(stackwarden.status()["interposition"], mended())
        with stackwarden.interpose():
            one = foreign.make(workloads.add, enters="ensure")
            foreign.resume(one)
            print(foreign.result(one), stackwarden.status()["interposition"])
        print(stackwarden.status()["interposition"])
    """
    done = foreign.run(any_jump, text, python=preload, path=PACKAGES)
    assert done.stdout.splitlines() == ["off 0", "RecursionError on", "off"]


def test_a_library_that_others_turned_off_is_off():
    program = f"import ctypes; ctypes.CDLL({LIBRARY!r}).stackwarden_interpose_off(); {SHOW}"
    assert python(program=program, LD_PRELOAD=LIBRARY).stdout == "off None\n"


def test_what_was_preloaded_stays_on_and_what_was_begun_ends():
    program = f"import stackwarden\nwith stackwarden.interpose(): pass\n{SHOW}"
    assert python(program=program, LD_PRELOAD=LIBRARY).stdout == "on None\n"
    assert python(program=program).stdout == "off None\n"


def test_import_says_so_where_nobody_looked_at_the_setting():
    done = python(STACKWARDEN="interpose")
    assert done.stdout == "off None\n"
    assert done.stderr.count("SettingWarning: interpose is left out") == 1
    for word in ("stackwarden enable", "stackwarden exec", "interpose()"):
        assert word in done.stderr
    done = python("-X", "stackwarden=interpose")
    assert "interpose is left out" in done.stderr


@pytest.mark.parametrize("setting", ["interpose=off", "policy=exact", "interpose,off"])
def test_import_says_nothing_where_it_is_not_asked_for(setting):
    assert python(STACKWARDEN=setting).stderr == ""


def test_isolation_that_was_asked_for_and_not_begun_is_said():
    """-S: no sitecustomize. The library alone is on, without isolation."""
    asked = UNDER_EXEC | {"PYTHONPATH": PACKAGES}
    assert python("-S", **asked).stderr == ""
    done = python("-S", **asked | {"STACKWARDEN": "interpose,isolation=frames"})
    assert done.stdout == "on None\n"
    assert "interpose is left out" in done.stderr


def test_under_exec_nothing_is_said():
    done = python(**UNDER_EXEC)
    assert (done.stdout, done.stderr) == ("on None\n", "")


def test_no_mechanism_makes_the_setting_say_so():
    done = python(program="print('runs')", **UNDER_EXEC, STACKWARDEN_MECHANISM="none")
    assert done.stdout == "runs\n"
    assert "SettingWarning: interpose is left out: the mechanism is 'none'" in done.stderr
    assert "STACKWARDEN_MECHANISM=none" in done.stderr
    frames = UNDER_EXEC | {"STACKWARDEN": "interpose,isolation=frames"}
    assert python(program="", **frames, STACKWARDEN_MECHANISM="none").stderr == ""


def test_a_mechanism_that_cannot_work_makes_the_setting_say_so():
    """The core cannot be imported then, and the program runs."""
    done = python(program="print('runs')", **UNDER_EXEC, **NO_SUCH)
    assert done.stdout == "runs\n"
    assert "RuntimeWarning: STACKWARDEN is left out: STACKWARDEN_MECHANISM=" in done.stderr
    assert python(program="print('runs')", LD_PRELOAD=LIBRARY, **NO_SUCH).stderr == ""


def test_a_library_of_another_version_makes_the_setting_say_so(tmp_path):
    other = extensions.program(
        "int stackwarden_interpose_attach(void);\nint stackwarden_interpose_attach(void) { return -1; }",
        tmp_path,
        *("-shared", "-fPIC"),
    )
    other = other.rename(tmp_path / "libother.so")
    done = python(**UNDER_EXEC | {"LD_PRELOAD": str(other)})
    assert done.stdout == "off None\n"
    assert "interpose is left out: interposition: the library of another version" in done.stderr
