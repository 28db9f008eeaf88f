"""Real Ruby and Perl that embed Python: their coroutines are reached by jumps that have a name, with the GIL held.

Debian's packages, unpacked into the cache.
"""

import signal
import sys
from functools import cache
from pathlib import Path

import children
import commands
import debian
import embedding
import stackwarden
from availability import unavailable

HERE = Path(__file__).parent
WAYS = ["none", "frames"]


@cache
def unpacked(package: str) -> Path:
    try:
        return debian.unpack(package, release=debian.own_release()) / "usr"
    except commands.HarnessError as error:
        unavailable(package, str(error))


def interposed(isolation: str) -> dict[str, str]:
    """The variables of a process with interposition; where no isolation is named, of one without."""
    variables = embedding.variables()
    if isolation:
        variables |= stackwarden.interposed_environment(variables, isolation=isolation)
    return variables


def ruby(*programs: str, isolation: str = "", ends: int | None = 0) -> list[str]:
    """What a fiber for each of these programs prints, and afterwards the thread's own stack."""
    root = unpacked("ruby")
    (libraries,) = {path.parent for path in root.glob("lib/*/libruby-*.so.*")}
    (version,) = (path.name for path in (root / "lib/ruby").glob("[0-9]*"))
    folders = [root / "lib/ruby" / version, libraries / "ruby" / version]
    done = children.run(
        *embedding.command(root / "bin" / f"ruby{version.rpartition('.')[0]}", libraries),
        "--disable=gems",
        HERE / "fibers.rb",
        embedding.library(),
        *programs,
        ends=ends,
        RUBYLIB=":".join(map(str, folders)),
        **interposed(isolation),
    )
    return done.stdout.split()


def test_a_fiber_of_ruby_is_protected():
    """CPython's SIGSEGV is Ruby's SystemStackError, across the frames of Python: status 1."""
    if sys.version_info[:2] != (3, 12):  # it allows so few calls in C that they fit into a fiber
        ruby("workloads.add()", ends=1)
    for isolation in WAYS:
        program = "print(workloads.add(), workloads.containers(), flush=True)"
        assert ruby(program, program, isolation=isolation) == ["RecursionError", "freed"] * 3


EXCEPTIONS = """
def handles():
    try:
        raise KeyError
    except KeyError as error:
        pause()
        print(sys.exc_info()[1] is error, flush=True)
handles()
"""
DEEP = """
def work(depth, number):
    kept = [number] * depth
    pause()
    total = work(depth - 1, number) if depth else 0
    pause()
    return total + sum(kept)
assert work(10, {number}) == {number} * 55
print({number}, flush=True)
"""


def test_python_frames_of_fibers_of_ruby_interleave():
    assert ruby(EXCEPTIONS, EXCEPTIONS, isolation="none", ends=None)[0] == "False"
    said = ruby(EXCEPTIONS, EXCEPTIONS, isolation="frames")
    assert said == ["True"] * 2 + ["RecursionError", "freed"]
    said = ruby(*(DEEP.format(number=number) for number in range(20)), isolation="frames")
    assert said == [*map(str, range(20)), "RecursionError", "freed"]


LIBRARY = """
extern void Py_InitializeEx(int);
extern int PyRun_SimpleString(const char *);
__attribute__((constructor)) static void run(void)
{
    Py_InitializeEx(0);
    PyRun_SimpleString(PROGRAM);
}
"""
LOADS = "from stackwarden.testing import workloads; print(workloads.LOAD(), flush=True)"


def perl(folder: Path, load: str, *, isolation: str = "", ends: int = 0) -> list[str]:
    """What a workload prints on the thread's own stack, in two coroutines, and afterwards."""
    root = unpacked("libcoro-perl")
    (modules,) = root.glob("lib/*/perl5/5*")
    source = folder / "library.c"
    source.write_text(LIBRARY)
    libraries = [folder / f"{isolation}_{load}_{place}.so" for place in range(4)]
    for library in libraries:
        own = load if 0 < libraries.index(library) < 3 else "containers"
        text = LOADS.replace("LOAD", own)
        commands.output("cc", "-shared", "-fPIC", f'-DPROGRAM="{text}"', source, "-o", library)
    done = children.run(
        *embedding.command(Path("/usr/bin/perl"), modules.parent.parent),
        f"-I{modules}",
        HERE / "coroutines.pl",
        embedding.library(),
        *libraries,
        ends=ends,
        **interposed(isolation),
    )
    return done.stdout.split()


def test_a_coroutine_of_perl_is_protected(tmp_path):
    perl(tmp_path, "add", ends=-signal.SIGSEGV)
    for isolation in WAYS:
        said = perl(tmp_path, "add", isolation=isolation)
        assert said == ["freed", "RecursionError", "RecursionError", "freed"]
        assert perl(tmp_path, "containers", isolation=isolation) == ["freed"] * 4
