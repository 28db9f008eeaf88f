"""Programs that cannot be interposed, or have nothing to interpose, under `stackwarden exec`: as without it."""

import os
import platform
import shutil
import sys
from pathlib import Path

import pytest

import cache
import children
import commands
import debian
import extensions
import tools
from availability import unavailable

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words)
{
    char *memory = malloc(100);
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(count);
    }
    waitpid(child, &status, 0);
    sprintf(memory, "%s %d", words[count - 1], WEXITSTATUS(status));
    puts(memory);
    return 5;
}
"""


def package(name: str, pattern: str) -> Path:
    """A file of one of Debian's packages, unpacked into the cache."""
    try:
        (found, *_) = sorted(debian.unpack(name, release=debian.own_release()).glob(pattern))
    except commands.HarnessError as error:
        unavailable(name, str(error))
    return found


@pytest.fixture
def compiled(tmp_path):
    """compiled(target): PROGRAM for a target of the harness's compiler for other platforms."""
    if platform.machine() != "x86_64":
        unavailable("x86-64", f"the other programs are not for {platform.machine()}")

    def build(*options: str) -> Path:
        source, target = tmp_path / "program.c", tmp_path / "program"
        source.write_text(PROGRAM)
        try:
            zig = tools.program("zig")
        except commands.HarnessError as error:
            unavailable("zig", str(error))
        # Its runtime for undefined behaviour needs more of musl than Debian's has.
        words = (zig, "cc", "-O2", "-fno-sanitize=all", *options, source, "-o", target)
        folder = str(cache.root() / "zig-cache")
        children.run(*words, ZIG_GLOBAL_CACHE_DIR=folder, ZIG_LOCAL_CACHE_DIR=folder)
        return target

    return build


# ---- programs of other kinds ----


@pytest.mark.parametrize("option", ["-static", "-static-pie"])
def test_a_static_program_runs_as_before(option, same, tmp_path):
    program = extensions.program(PROGRAM, tmp_path, option)
    assert same(program, "word").stdout == "word 2\n"


STATIC_32_BIT = r"""
static int call(int number, int first, const char *second, int third)
{
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}

void _start(void)
{
    call(4, 1, "word 2\n", 7); /* write */
    call(1, 5, 0, 0); /* exit */
}
"""


def test_a_static_32_bit_program_runs_as_before(same, tmp_path):
    if platform.machine() != "x86_64":
        unavailable("x86-64", f"the other programs are not for {platform.machine()}")
    options = ("-m32", "-ffreestanding", "-nostdlib", "-static", "-w", "-fno-pie", "-no-pie")
    assert same(extensions.program(STATIC_32_BIT, tmp_path, *options)).stdout == "word 2\n"


def test_a_program_of_musl_runs_as_before(compiled, same):
    """A library that its loader cannot load would end it."""
    loader = package("musl", "lib/ld-musl-*.so.1")
    program = compiled("-target", "x86_64-linux-musl", "-dynamic")
    assert same(loader, program, "word").stdout == "word 2\n"


def test_a_32_bit_program_runs_as_before(compiled, same):
    """But for a line of glibc's loader on standard error: it cannot load a library of 64 bits."""
    loader = package("libc6-i386", "lib32/ld-linux.so.2")
    program = compiled("-target", "x86-linux-gnu.2.28")
    done = same(
        *(loader, "--library-path", loader.parent, program, "word"),
        hides=r"ERROR: ld\.so: object '[^']*' from LD_PRELOAD .*: ignored\.\n|\A\Z",
    )
    assert done.stdout == "word 2\n"


SECURE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>

int main(void)
{
    printf("%lu %d\n", getauxval(AT_SECURE), getenv("LD_PRELOAD") != NULL);
    return 5;
}
"""


def test_a_setuid_program_runs_as_before(same, tmp_path):
    if os.geteuid() != 0:
        unavailable("setuid", "only root can make a program that runs as another user")
    program = extensions.program(SECURE, tmp_path)
    for folder in tmp_path, *tmp_path.parents[:2]:
        folder.chmod(0o755)
    os.chown(program, 65534, 65534)
    program.chmod(0o4755)
    if commands.output("sh", "-c", f"{program}; :") != "1 0\n":
        unavailable("setuid", f"{tmp_path} is on a file system without it")
    assert same(program).stdout == "1 0\n"


# ---- beside others that come with the environment ----

PYTHON = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads; join() may return before its end
thread = threading.Thread(target=print, args=("thread",))
thread.start()
thread.join()
child = os.fork()
if child == 0:
    os._exit(3)
print(sorted([3, 1, 2]), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

AUDIT = r"""
#define _GNU_SOURCE
#include <link.h>
#include <stdio.h>
#include <string.h>

static int bound;

unsigned la_version(unsigned version)
{
    return version;
}

unsigned la_objopen(struct link_map *object, Lmid_t space, uintptr_t *cookie)
{
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

uintptr_t la_symbind64(
    Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags, const char *name)
{
    bound += strcmp(name, "puts") == 0;
    return symbol->st_value;
}

__attribute__((destructor)) static void end(void)
{
    dprintf(2, "%s\n", bound > 0 ? "audited" : "");
}
"""


@pytest.fixture(params=["libjemalloc2", "libtcmalloc-minimal4"])
def allocator(request) -> Path:
    return package(request.param, "usr/lib/*/*malloc*.so.*")


def beside_others(same, tmp_path, **variables):
    program = extensions.program(PROGRAM, tmp_path)
    assert same(program, "word", **variables).stdout == "word 2\n"
    shutil.rmtree(tmp_path / "plain")
    shutil.rmtree(tmp_path / "exec")
    assert same(sys.executable, "-c", PYTHON, **variables).stdout == "thread\n[1, 2, 3] 3\n"


def test_another_preloaded_library_works_beside_it(allocator, same, tmp_path):
    beside_others(same, tmp_path, LD_PRELOAD=str(allocator))


def test_an_audit_of_the_loader_works_beside_it(same, tmp_path):
    folder = tmp_path / "audit"
    folder.mkdir()
    audit = extensions.program(AUDIT, folder, "-w", "-shared", "-fPIC")
    beside_others(same, tmp_path, LD_AUDIT=str(audit))


# ---- programs without Python ----

SCRIPTS = {
    "bash": r"""
        trap 'echo trapped' USR1
        for i in 1 2 3; do (exit $i) || echo "ended with $?"; done
        echo abc | tr a-c x-z | while read -r word; do echo "$word"; done
        kill -USR1 $$; { sleep 0 & wait; }; exec 3<<<"here"; cat <&3; echo "bad" >&2; exit 9
    """,
    "perl": r"""
        perl -e '
            my %h = map { $_ => length } qw(one three fifteen);
            print "$_ $h{$_}\n" for sort keys %h;
            if (fork == 0) { print "child\n"; exit 4 }
            wait; print $? >> 8, "\n"; print STDERR `echo piped`;
            require POSIX; print POSIX::floor(2.5), "\n"; die "end"'
    """,
    "git": r"""
        git init -q r && cd r && for i in 1 2 3; do echo $i >f$i; git add f$i; git commit -qm "number $i"; done
        git log --stat; git gc -q; git fsck; git diff HEAD~2 HEAD
        git clone -q . ../s; git -C ../s status --short -b; git checkout nowhere
    """,
    "gcc": r"""
        printf '#include <stdio.h>\nint main(void) { puts("compiled"); return 6; }\n' >c.c
        printf 'int main(void) { return }\n' >bad.c
        gcc -O2 -flto c.c -o c && ./c; echo $?; gcc -O2 -S c.c -o - | cksum; gcc bad.c
    """,
    "gdb": r"""
        printf 'int f(int a)\n{\n    return a + 1;\n}\nint main(void)\n{\n    return f(6);\n}\n' >c.c
        gcc -g c.c -o c
        gdb -nx -batch -ex 'break f' -ex run -ex bt -ex 'print a' -ex continue -ex 'python print(6 * 7)' ./c
    """,
    "cmake": r"""
        printf 'int main(void) { return 8; }\n' >c.c
        printf 'cmake_minimum_required(VERSION 3.15)\nproject(p C)\nadd_executable(p c.c)\n' >CMakeLists.txt
        printf 'execute_process(COMMAND uname OUTPUT_VARIABLE u)\nmessage(STATUS "${u}")\n' >s.cmake
        printf 'message(FATAL_ERROR end)\n' >>s.cmake
        cmake -S . -B b >out; cmake --build b; ./b/p; echo $?; cmake -P s.cmake
    """,
}
NAMES = {
    name: value
    for who in ("AUTHOR", "COMMITTER")
    for name, value in {
        f"GIT_{who}_NAME": "somebody",
        f"GIT_{who}_EMAIL": "somebody@example.org",
        f"GIT_{who}_DATE": "2026-01-01T00:00:00Z",
    }.items()
}
DIFFERS = r"process \d+|/\S*/(plain|exec)/folder|warning: Error disabling address space .*\n"


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_program_without_python_does_what_it_did(name, same):
    for needed in {name, "gcc", "sh"}:
        if shutil.which(needed) is None:
            unavailable(needed, "it is not installed")
    shell = name if name == "bash" else "sh"
    done = same(shell, "-c", SCRIPTS[name], hides=DIFFERS, HOME="/nonexistent", **NAMES)
    assert done.stdout.split()
