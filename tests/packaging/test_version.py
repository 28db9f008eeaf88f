"""There is one version: that of pyproject.toml. Each other place that names it says the same."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import paths
import stackwarden

VERSION = tomllib.loads((paths.CHECKOUT / "pyproject.toml").read_text())["project"]["version"]


def test_the_package_and_its_metadata_say_it():
    assert stackwarden.__version__ == VERSION
    assert importlib.metadata.version("stackwarden") == VERSION


def test_the_header_says_it():
    header = Path(stackwarden.get_include(), "stackwarden", "stackwarden.h").read_text()
    assert re.findall(r'#define STACKWARDEN_VERSION "([^"]*)"', header) == [VERSION]


def test_the_files_for_cmake_and_pkg_config_say_it():
    cmake = Path(stackwarden.get_cmake_dir(), "stackwardenConfigVersion.cmake").read_text()
    assert re.findall(r"set\(PACKAGE_VERSION ([\d.]+)\)", cmake) == [VERSION]
    pkgconfig = Path(stackwarden.get_pkgconfig_dir(), "stackwarden.pc").read_text()
    assert re.findall(r"^Version: (.*)$", pkgconfig, re.MULTILINE) == [VERSION]
