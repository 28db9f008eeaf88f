"""What is installed is what users need: no test is part of it."""

import importlib.metadata
from pathlib import Path


def test_no_test_is_installed():
    installed = {Path(file).name for file in importlib.metadata.files("stackwarden")}
    assert "_core.pyi" in installed
    assert not {name for name in installed if name.startswith(("test_", "conftest."))}
