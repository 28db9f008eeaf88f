"""Other packages find the public headers through CMake, pkg-config or compiler flags.

Each test builds a small package in a folder of its own, with nothing but what is installed.
"""

import importlib.metadata
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

import children
from availability import find_program

OUTSIDE = Path(__file__).with_name("outside")
VERSION = importlib.metadata.version("stackwarden")
MAJOR, MINOR = map(int, VERSION.split(".")[:2])

USE_BOTH_MODULES = """
import mmap, ctypes, outside_c, outside_cxx, stackwarden
memory = mmap.mmap(-1, 1 << 20)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
native = stackwarden.current_stack()
for module in outside_c, outside_cxx:
    # Bounds are told, but nobody goes there: the current stack is still the one under the caller.
    assert module.there_and_back(base, 1 << 20) == (0, 0, native.base), module
    assert stackwarden.current_stack() == native
print("both modules work")
"""


def output(*command: str | Path, **how) -> str:
    return children.run(*command, **how).stdout.strip()


def tell(option: str) -> str:
    """What `python -m stackwarden --option` prints."""
    return output(sys.executable, "-m", "stackwarden", option)


def build_with_cmake(build: Path, cmake_dir: str | Path) -> None:
    cmake = find_program("cmake")
    find_program("c++", "g++", "clang++")
    output(
        *(cmake, "-S", OUTSIDE, "-B", build, f"-Dstackwarden_DIR={cmake_dir}"),
        *(f"-DPython_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=Release"),
    )
    output(cmake, "--build", build)


def test_cmake_finds_the_headers_and_what_it_builds_works_in_c_and_cxx(tmp_path):
    build_with_cmake(tmp_path, tell("--cmakedir"))
    assert output(sys.executable, "-c", USE_BOTH_MODULES, folder=tmp_path) == "both modules work"


def test_the_cmake_package_may_be_moved(tmp_path):
    installed = Path(tell("--cmakedir")).parent
    moved = tmp_path / "moved here"
    for folder in ("cmake", "include"):
        shutil.copytree(installed / folder, moved / folder)
    build_with_cmake(tmp_path / "build", moved / "cmake")
    used = (tmp_path / "build/CMakeFiles/outside_c.dir/flags.make").read_text()
    assert "moved here/include" in used.replace("\\", "")
    assert str(installed) not in used


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", True),
        (f"{MAJOR}.{MINOR}", True),
        (f"{VERSION} EXACT", True),
        (f"{MAJOR}.{MINOR + 1}", False),
        (f"{MAJOR + 1}", False),
        (f"{MAJOR}.{MINOR} EXACT", VERSION.endswith(".0")),
        (f"{MAJOR}...<{MAJOR + 1}", True),
        (f"{MAJOR}.{MINOR}...{VERSION}", True),
        (f"{MAJOR}...<{MAJOR}.{MINOR}", False),
        (f"{MAJOR + 1}...{MAJOR + 2}", False),
    ],
)
def test_cmake_finds_the_installed_version_and_no_newer_one(tmp_path, asked, found):
    (tmp_path / "CMakeLists.txt").write_text(
        f"""\
cmake_minimum_required(VERSION 3.20)
project(ask LANGUAGES NONE)
find_package(stackwarden {asked} CONFIG QUIET)
message("found: ${{stackwarden_FOUND}} ${{stackwarden_VERSION}}")
"""
    )
    folders = ("-S", tmp_path, "-B", tmp_path / "build")
    found_in = f"-Dstackwarden_DIR={tell('--cmakedir')}"
    said = children.run(find_program("cmake"), *folders, found_in).stderr
    assert (f"found: 1 {VERSION}" in said) == found, said


def test_pkg_config_gives_the_installed_version_and_flags_that_compile(tmp_path):
    pkg_config = find_program("pkg-config", "pkgconf")
    settings = {"PKG_CONFIG_PATH": tell("--pkgconfigdir"), "PATH": str(Path(pkg_config).parent)}
    assert output(pkg_config, "--modversion", "stackwarden", **settings) == VERSION
    assert output(pkg_config, "--libs", "stackwarden", **settings) == ""
    flags = output(pkg_config, "--cflags", "stackwarden", **settings).split()
    compile_header([f"-I{sysconfig.get_path('include')}", *flags], tmp_path)


def test_the_includes_option_gives_flags_that_compile(tmp_path):
    compile_header(tell("--includes").split(), tmp_path)


def compile_header(flags: list[str], folder: Path) -> None:
    output(
        find_program("cc", "gcc", "clang"),
        "-fPIC",
        "-c",
        *flags,
        OUTSIDE / "outside_c.c",
        cwd=folder,
    )
