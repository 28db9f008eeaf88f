"""The package works as far as it can on Pyodide, from a wheel without a compiled core."""

import shutil
import sys
from pathlib import Path

import pytest

import cache
import children
import commands
import paths
from availability import unavailable

HERE = Path(__file__).parent
PYODIDE = "pyodide@314.0.7"

# As `pip wheel -Cwheel.cmake=false -Cwheel.py-api=py3 .`, but in this environment.
BUILD = """
import sys
from scikit_build_core.build import build_wheel
build_wheel(sys.argv[1], {"wheel.cmake": "false", "wheel.py-api": "py3"})
"""


@pytest.fixture(scope="module")
def pure_wheel(tmp_path_factory) -> Path:
    """The wheel of the checkout for an interpreter that nothing can be compiled for."""
    folder = tmp_path_factory.mktemp("wheel")
    commands.output(sys.executable, "-c", BUILD, folder, cwd=paths.CHECKOUT)
    (wheel,) = folder.iterdir()
    return wheel


@pytest.fixture(scope="module")
def pyodide() -> Path:
    """The folder of Pyodide's npm package, installed once into the user's cache."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            unavailable("pyodide", f"{program} is not on PATH")

    def install(folder: Path) -> None:
        commands.output(
            *("npm", "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund"),
            PYODIDE,
        )

    try:
        installed = cache.make_once(cache.root() / "npm" / PYODIDE, install)
    except commands.HarnessError as error:
        unavailable("pyodide", str(error))
    return installed / "node_modules" / "pyodide"


def test_a_wheel_without_a_core_is_for_every_platform_and_holds_no_binary(pure_wheel):
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    names = commands.output(sys.executable, "-m", "zipfile", "--list", pure_wheel)
    assert "stackwarden/_no_core.py" in names
    assert "_core.c" not in names
    assert ".so" not in names


def test_pyodide_imports_the_package_and_every_call_says_that_it_protects_nothing(
    pyodide, pure_wheel
):
    done = children.run("node", HERE / "run.mjs", pyodide, pure_wheel, HERE / "without_core.py")
    assert done.stdout.splitlines()[-1] == "as promised"
