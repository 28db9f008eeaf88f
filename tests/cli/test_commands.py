"""`python -m stackwarden`: the version, the help, the build flags, and `doctor`."""

import importlib.metadata
import json
import re
import sys
import sysconfig
from pathlib import Path

import pytest

import children
import stackwarden
from stackwarden._types import meanings

NO_OTHER_PACKAGE = """
import sys
sys.modules["click"] = sys.modules["rich"] = None
sys.argv = ["stackwarden", *sys.argv[1:]]
from stackwarden.__main__ import main
main()
"""

NO_CORE = """
import sys
sys.modules["stackwarden._core"] = None
sys.argv = ["stackwarden", *sys.argv[1:]]
from stackwarden.__main__ import main
main()
"""


def said(*arguments: str) -> str:
    """What this Python prints; it must end well."""
    return children.run(sys.executable, *arguments).stdout


def test_version_is_that_of_the_installed_package():
    version = importlib.metadata.version("stackwarden")
    assert said("-m", "stackwarden", "--version").split() == ["stackwarden,", "version", version]


def test_without_a_command_the_help_names_all_of_them():
    ran = children.run(sys.executable, "-m", "stackwarden", ends=None)
    for word in ("demo", "doctor", "--version", "--includes", "--cmakedir", "--pkgconfigdir"):
        assert word in ran.stdout + ran.stderr


def test_console_script_is_the_same_program():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="stackwarden")
    assert script.value == "_stackwarden_start.command:main"


FLAGS = {
    "--includes": f"-I{sysconfig.get_path('include')} -I{stackwarden.get_include()}",
    "--cmakedir": stackwarden.get_cmake_dir(),
    "--pkgconfigdir": stackwarden.get_pkgconfig_dir(),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_flag_is_printed_without_any_other_package(flag):
    assert said("-c", NO_OTHER_PACKAGE, flag) == FLAGS[flag] + "\n"


@pytest.mark.parametrize("flag", FLAGS)
def test_flag_is_printed_without_a_compiled_core(flag):
    assert said("-c", NO_CORE, flag) == FLAGS[flag] + "\n"


def test_flags_are_printed_in_the_order_asked_for():
    flags = ["--pkgconfigdir", "--includes"]
    assert said("-m", "stackwarden", *flags) == " ".join(map(FLAGS.get, flags)) + "\n"


def test_flags_name_folders_that_have_what_is_looked_for():
    assert Path(stackwarden.get_include(), "stackwarden/stackwarden.h").is_file()
    assert Path(stackwarden.get_cmake_dir(), "stackwardenConfig.cmake").is_file()
    assert Path(stackwarden.get_pkgconfig_dir(), "stackwarden.pc").is_file()


def test_doctor_tells_the_status_and_the_native_stack_as_json():
    found = json.loads(said("-m", "stackwarden", "doctor", "--json"))
    status = {**stackwarden.status(), **found["status"]}
    assert found["status"].keys() == stackwarden.status().keys()
    assert status["mechanism"] == stackwarden.status()["mechanism"]
    assert found["adapters"]["greenlet"] == "not installed"
    (native,) = found["stacks"]
    assert native["bounds_from"] == "native"
    assert native["policy"] == "exact"
    assert native["size"] > 0


def test_doctor_prints_the_same_as_text():
    shown = said("-m", "stackwarden", "doctor")
    lines = [re.split(r" {2,}", line) for line in shown.splitlines()]
    facts = {line[0]: line[1] for line in lines if len(line) > 1}
    assert meanings()["mechanism"] in lines[3]
    assert facts["mechanism"] == stackwarden.status()["mechanism"]
    assert facts["python"] == stackwarden.status()["python"]
    assert facts["bounds_from"] == "native"
    assert facts["base"].startswith("0x")
    assert facts["reason"] == stackwarden.status()["reason"] or "-"
    assert shown.isascii()


def test_doctor_works_where_there_is_no_compiled_core():
    found = json.loads(said("-c", NO_CORE, "doctor", "--json"))
    assert found["stacks"] == []
    assert found["status"]["mechanism"] == "none"
    assert "no compiled core" in found["status"]["reason"]
    assert "no compiled core" in said("-c", NO_CORE, "doctor")
