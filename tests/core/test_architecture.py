"""Who may know whom: the folders keep to the public contract, and CPython's fields to one folder."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE, PACKAGE, ADAPTERS = ROOT / "cython_src", ROOT / "src", ROOT / "adapters"
COMPILED = {".pyx", ".pxd", ".c", ".h", ".cpp", ".hpp"}
CODE = COMPILED | {".py", ".pyi"}

# Fields of PyThreadState and of what hangs off it, in any supported version, that no other struct here has.
FIELDS = [
    "recursion_remaining",
    "recursion_limit",
    "recursion_headroom",
    "py_recursion_remaining",
    "py_recursion_limit",
    "c_recursion_remaining",
    "c_stack_top",
    "c_stack_soft_limit",
    "c_stack_hard_limit",
    "c_stack_refs",
    "cframe",
    "current_frame",
    "base_frame",
    "exc_info",
    "exc_state",
    "context_ver",
    "datastack_chunk",
    "datastack_top",
    "datastack_limit",
    "datastack_cached_chunk",
    "trash_delete_nesting",
    "delete_nesting",
    "delete_later",
    "tracing",
    "what_event",
    "current_executor",
    "previous_executor",
    "jit_executor",
    "jit_exit",
    "gilstate_counter",
    "thread_id",
    "asyncio_running_loop",
    "asyncio_running_task",
    "critical_section",
]


def code_in(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in CODE]
    assert files or folder == ADAPTERS, folder
    return files


def without_comments(path):
    """The code, without the comments, which may speak of anything."""
    text = path.read_text()
    if path.suffix in (".c", ".h", ".cpp", ".hpp"):
        return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    return re.sub(r"# [^\n]*", "", text)  # not the `#define` of C that stands in Cython


def test_fields_of_the_thread_state_are_named_in_one_folder():
    access = re.compile(rf"(?:->|(?<!sys)\.)\s*({'|'.join(FIELDS)})\b")
    for folder in (CORE, PACKAGE, ADAPTERS):
        for path in code_in(folder):
            if path.is_relative_to(CORE / "cpython") or path.suffix not in COMPILED:
                continue
            named = access.findall(without_comments(path))
            assert not named, f"{path} names {named}"


def test_private_headers_of_cpython_are_included_in_one_folder():
    for folder in (CORE, PACKAGE, ADAPTERS):
        for path in code_in(folder):
            if not path.is_relative_to(CORE / "cpython"):
                text = without_comments(path)
                assert "Py_BUILD_CORE" not in text, path
                assert "internal/pycore" not in text, path


def test_nothing_outside_the_core_includes_or_cimports_from_it():
    inner = {path.stem for path in CORE.glob("*.pxd")} | {"core"}
    headers = {path.name for path in CORE.rglob("*.h")}
    for folder in (PACKAGE, ADAPTERS):
        for path in code_in(folder):
            text = without_comments(path)
            assert "cython_src" not in text, path
            cimported = set(
                re.findall(r"^\s*(?:from\s+([\w.]+)\s+)?cimport\s+(\w+)", text, re.MULTILINE)
            )
            names = {module or name for module, name in cimported}
            assert not names & inner, f"{path} cimports {names & inner}"
            included = {Path(name).name for name in re.findall(r"#include\s*[<\"]([^>\"]+)", text)}
            own = {file.name for file in path.parent.glob("*.h")}
            assert not included & (headers - own), f"{path} includes {included & headers}"


def test_the_core_names_no_adapter():
    names = [path.name for path in ADAPTERS.iterdir() if path.is_dir() and path.name[0] not in "._"]
    assert names
    word = re.compile(rf"\b(adapters?\.)?({'|'.join(names)})\b", re.IGNORECASE)
    for path in code_in(CORE):
        named = re.sub(
            r"#include[^\n]*", "", without_comments(path)
        )  # ucontext.h is a system's header
        assert not word.search(named), path
        assert "stackwarden.adapters" not in path.read_text(), path


def test_no_adapter_imports_another():
    """But gevent's, which stands on greenlet's."""
    names = [path.name for path in ADAPTERS.iterdir() if path.is_dir() and path.name[0] not in "._"]
    for name in names:
        for path in code_in(ADAPTERS / name):
            text = without_comments(path)
            for other in set(names) - {name}:
                if (name, other) != ("gevent", "greenlet"):
                    assert f"stackwarden.adapters.{other}" not in text, path


def test_the_platform_files_know_no_python():
    for folder in (CORE / "platform", CORE / "bounds", CORE / "crash"):
        for path in code_in(folder):
            assert "Python.h" not in without_comments(path), path


def test_the_public_header_includes_nothing_of_ours():
    for header in (PACKAGE / "stackwarden" / "include").rglob("*.h"):
        included = re.findall(r"#include\s*[<\"]([^>\"]+)", header.read_text())
        assert not [name for name in included if name.startswith(("sw", "cpython/", "guard"))], (
            header
        )


def test_version_macros_are_looked_at_in_one_folder():
    for path in code_in(CORE):
        if not path.is_relative_to(CORE / "cpython"):
            text = without_comments(path)
            assert "PY_VERSION_HEX" not in text, path
            assert "sys.version_info >=" not in text, path
