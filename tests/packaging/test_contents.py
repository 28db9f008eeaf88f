"""What is installed is what users need: no test is part of it."""

import importlib.metadata
import tomllib
from pathlib import Path

from paths import CHECKOUT


def test_no_test_is_installed():
    installed = {Path(file).name for file in importlib.metadata.files("stackwarden")}
    assert "_core.pyi" in installed
    assert not {name for name in installed if name.startswith(("test_", "conftest."))}


def test_each_wheel_is_built_in_a_folder_of_its_own():
    """Two builds of one tag, by another compiler or for another C library, would share a folder that is named: the
    second would get objects of the first."""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["scikit-build"]
    assert "build-dir" not in settings
