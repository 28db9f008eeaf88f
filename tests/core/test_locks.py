"""What runs while a lock of ours is held, and what becomes of it in a child process. Read from the sources.

Between sw_lock() and sw_unlock() nothing raises, allocates Python memory, calls out, forks, waits or runs a signal
handler in Python. So all of it is code that cannot: pieces of one function that is `noexcept nogil`, and what they
call, all the way down.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "cython_src"

# What code under the lock calls of others: it allocates C memory at most, and calls nobody back.
HARMLESS = {
    *("calloc", "malloc", "free", "memcpy", "memmove", "memset", "memcmp", "strcmp", "strlen"),
    *(
        "mmap",
        "VirtualAlloc",
        "pthread_setspecific",
        "FlsSetValue",
        "pthread_self",
        "GetCurrentThreadId",
    ),
}
# Of CPython: reads its data, takes no reference, no lock and no GIL.
READS_CPYTHON = {
    *("PyThreadState_GetUnchecked", "_PyThreadState_UncheckedGet", "PyThread_get_thread_ident"),
}
# Not functions: keywords, operators, macros of the compiler, types that are called to make a value.
WORDS = {
    *(
        "if",
        "while",
        "for",
        "switch",
        "return",
        "sizeof",
        "defined",
        "asm",
        "volatile",
        "__asm__",
        "__volatile__",
    ),
    *(
        "and",
        "or",
        "not",
        "in",
        "is",
        "range",
        "max",
        "min",
        "bool",
        "elif",
        "else",
        "__attribute__",
    ),
    *("sw_callback", "sw_place"),
}
COMPILERS = (
    "__lsan_register_root_region",
    "__atomic_",
    "__builtin_",
    "_Interlocked",
    "__faststorefence",
    "_ReadWriteBarrier",
    "_AddressOf",
)
CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")


def without_comments(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"(?m)(?:^|\s)#(?!\s*(?:define|if|el|endif|include))[^\n]*", "", text)


def cython_functions(text):
    """Name, signature and lines of the body of each function that is compiled from Cython."""
    lines = text.splitlines()
    for first, line in enumerate(lines):
        start = re.match(r"(\s*)c?p?def (?:[^(=]*?)(\w+)(?: \"\w+\")?\(", line)
        if start is None:
            continue
        body = first
        while not lines[body].rstrip().endswith((":", ")")):
            body += 1
        if not lines[body].rstrip().endswith(":"):
            continue  # a declaration
        last = body
        for number in range(body + 1, len(lines)):
            indent = len(lines[number]) - len(lines[number].lstrip())
            if lines[number].strip() and indent <= len(start[1]):
                break
            last = number
        yield start[2], " ".join(lines[first : body + 1]), lines[body + 1 : last + 1]


def c_functions(text):
    """Name and body of each function and each macro with parameters that is written in C."""
    for macro in re.finditer(r"#\s*define\s+(\w+)\([^)]*\)((?:[^\n]*\\\n)*[^\n]*)", text):
        yield macro[1], macro[2]
    for start in re.finditer(r"(?m)^\s*(?:[\w*]+[\s*]+)+?(\w+)\(([^;{}]*)\)\s*\{", text):
        depth, end = 1, start.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield start[1], text[start.end() : end]


class Sources:
    """All functions of the core: what each calls."""

    def __init__(self):
        self.cython, self.c, self.locking = {}, {}, []
        for path in sorted(CORE.rglob("*")):
            if (
                path.suffix in {".pxd", ".pxi", ".pyx", ".c", ".h"}
                and "interpose" not in path.parts
            ):
                self._read(path, without_comments(path.read_text()))

    def _read(self, path, text):
        for name, body in c_functions(text):
            self.c.setdefault(name, []).append(body)
        if path.suffix in {".pxd", ".pxi", ".pyx"}:
            text = re.sub(r'"""(?:.|\n)*?"""', "", text)
            for name, signature, lines in cython_functions(text):
                self.cython[name] = signature, lines
                if any("sw_lock()" in line for line in lines):
                    self.locking.append((path.relative_to(CORE).as_posix(), name))


@pytest.fixture(scope="module")
def sources():
    return Sources()


def indent_of(line):
    return len(line) - len(line.lstrip())


def locked_pieces(lines):
    """The lines between each sw_lock() and the sw_unlock() in the same block. Refused, the function ends."""
    pieces, begun = [], None
    for number, line in enumerate(lines):
        if line.strip() == "if not sw_lock():":
            assert begun is None, "locks what is locked already"
            assert lines[number + 1].split()[0] == "return", "goes on where the lock is refused"
            begun = number
        elif line.strip() == "sw_unlock()":
            assert begun is not None, "unlocks what is not locked"
            assert indent_of(line) == indent_of(lines[begun]), "lock and unlock are in two blocks"
            pieces.append(lines[begun + 2 : number])
            begun = None
        else:
            assert not re.search(r"\bsw_(?:un)?lock\b", line), line
    assert begun is None, "does not unlock"
    return pieces


def check_piece(piece):
    """It is left at its end alone."""
    least = min(indent_of(line) for line in piece if line.strip())
    loops = []
    for line in piece:
        word = line.split("(")[0].split()[:1]
        loops = [depth for depth in loops if depth < indent_of(line)] if line.strip() else loops
        if word in (["for"], ["while"]):
            loops.append(indent_of(line))
        assert word not in (["return"], ["raise"], ["yield"], ["with"], ["try"], ["def"]), line
        assert loops or word not in (["break"], ["continue"]), line
    assert indent_of(piece[0]) == least


def check_calls(sources, code, seen, path):
    for name in CALL.findall(code):
        if name in WORDS or name in seen:
            continue
        seen.add(name)
        way = f"{path} > {name}"
        assert name not in ("sw_lock", "sw_unlock"), f"{way}: locks what is locked"
        if name in sources.cython:
            signature, lines = sources.cython[name]
            assert "noexcept nogil" in signature, f"{way}: may raise, or needs the GIL"
            check_calls(sources, "\n".join(lines), seen, way)
        elif name in sources.c:
            for body in sources.c[name]:
                check_calls(sources, body, seen, way)
        else:
            known = name in HARMLESS | READS_CPYTHON or name.startswith(COMPILERS)
            assert known, f"{way}: what does it do?"


def test_code_under_the_lock_cannot_fail_and_calls_nobody(sources):
    assert len(sources.locking) > 20
    for place, name in sources.locking:
        signature, lines = sources.cython[name]
        assert "noexcept nogil" in signature, f"{place}: {name}() locks, and may raise"
        for piece in locked_pieces(lines):
            check_piece(piece)
            check_calls(sources, "\n".join(piece), set(), f"{place}: {name}")


PLANTED = {
    "is left by the door": "if sw_x:\n        return",
    "raises": "raise MemoryError",
    "catches": "try:\n        sw_x()\n    except ValueError:\n        pass",
    "calls out": "callback.function(NULL)",
    "takes a reference": "Py_INCREF(x)",
    "locks again": "put_free(&stack)",
    "may raise": "_refuse(1, x)",
    "needs the GIL": "_decoded(x)",
    "ends in another block": "if x:\n        sw_unlock()",
    "is not ended": "sw_x = 1",
    "does not look": "sw_x = 1",
    "goes on": "sw_x = 1",
}
BEGUN = {"does not look": "    sw_lock()\n", "goes on": "    if not sw_lock():\n        pass\n"}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_mistake_is_found(sources, what):
    begun = BEGUN.get(what, "    if not sw_lock():\n        return\n")
    body = f"{begun}    {PLANTED[what]}\n" + "    sw_unlock()\n" * (what != "is not ended")
    with pytest.raises(AssertionError):
        for piece in locked_pieces(body.splitlines()):
            check_piece(piece)
            check_calls(sources, "\n".join(piece), set(), what)


# ---- every lock, and the test that forks while another thread holds it ----

LOCKS = re.compile(
    r"\b(?:R?Lock|Condition|Event|(?:Bounded)?Semaphore|Barrier|allocate_lock)\("  # Python
    r"|\bpthread_(?:mutex|rwlock|spinlock|cond|once|barrier)_t\b|\bSRWLOCK\b|\bCRITICAL_SECTION\b|\bsem_t\b"
    r"|\bstd::(?:\w*mutex|once_flag|\w*semaphore|condition_variable\w*|latch|barrier)\b|\bmtx_t\b|\batomic_flag\b"
    r"|\bPyThread_allocate_lock\b|\bPyMutex\b|\bReentrantLock\(|\bSpinLock\("
    r"|\bsw_owned_lock (?!\*)"
)
IN_A_CHILD = {
    "cython_src/interpose/walk.c": (
        "tests/interpose/test_forks.py",
        "test_children_that_are_forked_during_loads_do_not_hang",
    ),
    "cython_src/platform/posix.c": (
        "tests/core/test_fork_and_threads.py",
        "test_forking_while_others_register_leaves_the_lock_free",
    ),
    "cython_src/platform/windows.c": "Windows has no fork",
    "src/stackwarden/_latch.py": (
        "tests/pools/test_fork.py",
        "test_a_fork_while_others_wait_leaves_nobody_waiting_in_the_child",
    ),
    "adapters/julia/Stackwarden.jl": "Julia does not run in the child of a fork",
}


def files_with_locks():
    for folder in ("cython_src", "src", "adapters"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".pyx", ".pxd", ".pxi", ".c", ".h", ".hpp", ".jl"}:
                text = re.sub(r'"""(?:.|\n)*?"""', "", without_comments(path.read_text()))
                if LOCKS.search(text):
                    yield path.relative_to(ROOT).as_posix()


def test_every_lock_has_a_test_of_a_fork_while_it_is_held():
    assert set(files_with_locks()) == set(IN_A_CHILD)
    for test in IN_A_CHILD.values():
        if not isinstance(test, str):
            file, name = test
            assert f"def {name}(" in (ROOT / file).read_text(), test
