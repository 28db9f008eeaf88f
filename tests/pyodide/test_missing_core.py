"""Without a compiled core, as on PyPy, the package can be imported and says so on every call."""

from pathlib import Path

import pytest

import children

PROGRAM = Path(__file__).with_name("without_core.py")

HIDE = """
import runpy, sys

class Hide:
    "Makes one module impossible to import."

    def find_spec(self, name, path, target=None):
        if name == "stackwarden._core":
            raise {error}

sys.meta_path.insert(0, Hide())
"""
MISSING = """ModuleNotFoundError(f"No module named {name!r}", name=name)"""


def run(error: str, then: str, *, ends: int = 0) -> children.Done:
    """Run code in a child in which importing the core raises an error."""
    return children.run_python(HIDE.format(error=error) + then, ends=ends)


def test_without_a_core_the_import_works_and_every_call_says_that_it_protects_nothing():
    done = run(MISSING, f"runpy.run_path({str(PROGRAM)!r})")
    assert done.stdout == "as promised\n"


def test_without_a_core_the_build_flags_are_printed():
    done = run(
        MISSING,
        "sys.argv[1:] = ['--cmakedir']; runpy.run_module('stackwarden', run_name='__main__')",
    )
    assert Path(done.stdout.strip(), "stackwardenConfig.cmake").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("""ModuleNotFoundError("no gadget", name="gadget")""", "ModuleNotFoundError: no gadget"),
        ("""ImportError("undefined symbol", name=name)""", "ImportError: undefined symbol"),
    ],
    ids=["a module that it needs is missing", "it cannot be loaded"],
)
def test_a_core_that_is_there_but_broken_is_an_import_error(error, message):
    done = run(error, "import stackwarden", ends=1)
    assert done.stderr.splitlines()[-1] == message
