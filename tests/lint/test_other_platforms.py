"""What the core has for other platforms compiles there: the compiler's headers are those of the platform.

Compiled, not run. What needs CPython's headers is left out: there are none for these platforms here.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

import commands
import tools
from availability import unavailable
from paths import CHECKOUT

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info[:2] != (3, 14),
    reason="the outcome is the same for all interpreters: it is tried with one",
)

CORE = CHECKOUT / "cython_src"
INCLUDE = CHECKOUT / "src" / "stackwarden" / "include"
WINDOWS, MACOS, MUSL, GLIBC = (
    "x86_64-windows-gnu",
    "aarch64-macos",
    "x86_64-linux-musl",
    "aarch64-linux-gnu.2.28",
)
SOURCES = [
    path
    for folder in ("platform", "bounds", "crash", "beacon")
    for path in sorted((CORE / folder).glob("*.c"))
] + [CORE / "calls" / "run_on_stack.c"]

BEACON = """
#include <stackwarden/beacon.h>
STACKWARDEN_BEACON("a runtime")
void stackwarden_test_switch(const void *base, size_t size);
void stackwarden_test_switch(const void *base, size_t size)
{
    stackwarden_beacon_switch(base, size);
}
"""

# The compiler's headers of macOS lack this one.
MACH_VM = """
#include <mach/mach.h>
kern_return_t mach_vm_region(vm_map_t task, mach_vm_address_t *address, mach_vm_size_t *size,
                             vm_region_flavor_t flavor, vm_region_info_t info, mach_msg_type_number_t *count,
                             mach_port_t *object);
"""


@pytest.fixture(scope="module")
def complaint(tmp_path_factory):
    """complaint(target, source): what the compiler for a platform has to say of a file, or of its text."""
    try:
        zig = tools.program("zig")
    except commands.HarnessError as error:
        unavailable("zig", str(error))
    folder = tmp_path_factory.mktemp("zig")
    (folder / "mach").mkdir()
    (folder / "mach" / "mach_vm.h").write_text(MACH_VM)

    def ask(target, source):
        if isinstance(source, str):
            text, source = source, folder / f"{abs(hash(source))}.c"
            source.write_text(text)
        words = ["-std=c11", "-c", "-O2", "-Wall", "-Wextra", "-Wundef", "-Werror"]
        include = [f"-I{CORE}", f"-I{INCLUDE}", "-idirafter", folder]
        done = subprocess.run(
            [
                zig,
                "cc",
                "-target",
                target,
                *words,
                *include,
                source,
                "-o",
                folder / f"{target}-{source.stem}.o",
            ],
            env=os.environ
            | {"ZIG_GLOBAL_CACHE_DIR": f"{folder}", "ZIG_LOCAL_CACHE_DIR": f"{folder}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.stderr if done.returncode else ""

    return ask


@pytest.mark.parametrize("target", [WINDOWS, MACOS, MUSL, GLIBC])
def test_the_core_compiles_for_it(complaint, target):
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda source: complaint(target, source), [BEACON, *SOURCES])
    assert "".join(found) == ""


def test_each_thread_has_its_block_with_gcc_on_windows():
    """GCC ignores __declspec(thread), with a warning at most: the variable is then everybody's."""
    text = (CORE / "platform" / "windows.c").read_text()
    assert "#if defined(_MSC_VER)\nstatic __declspec(thread)" in text
    assert text.count("__declspec(thread) ") == 1
    assert "static _Thread_local void *thread_block;" in text


def test_contexts_are_refused_on_macos_without_the_macro(complaint):
    """The twin: what crash/posix.c defines is needed."""
    assert "require _XOPEN_SOURCE to be defined" in complaint(MACOS, "#include <ucontext.h>\n")


@pytest.mark.parametrize(("target", "has_it"), [(GLIBC, True), (MUSL, False)])
def test_what_cmake_asks_before_it_builds_interposition(complaint, target, has_it):
    build = (CORE / "CMakeLists.txt").read_text()
    assert "check_symbol_exists(__GLIBC__ features.h STACKWARDEN_GLIBC)" in build
    assert "if(STACKWARDEN_GLIBC AND" in build
    program = "#include <features.h>\n#ifndef __GLIBC__\n#error none\n#endif\nint one;\n"
    assert (complaint(target, program) == "") == has_it
