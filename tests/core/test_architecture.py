"""Who may know whom: a folder of the core is a floor, and imports go down only; the other folders keep to the
public contract, and CPython's fields to one folder."""

import re
from graphlib import TopologicalSorter
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


# The core's floors, the lowest first. Folders of one floor do not know each other.
FLOORS = [
    {"platform"},
    {"data"},
    {"bounds"},
    {"cpython"},
    {"records"},
    {"switching"},
    {"depth", "calls", "beacon", "crash", "interpose"},
    {"table"},
    {"core", "python"},
]
# Declared where they are called, filled on a floor above.
FILLED_ABOVE = {"beacon/find.h", "crash/crash.h"}


def core_imports(path):
    """What a file of the core includes or cimports of the core, as paths relative to it."""
    text = without_comments(path)
    found = set()
    for name in re.findall(r"(?:#\s*include|from|include)\s+\"([^\"]+)\"", text):
        for place in (path.parent / name, CORE / name):
            if place.is_file():
                found.add(place.resolve().relative_to(CORE.resolve()).as_posix())
    for module in re.findall(r"^from ([\w.]+) cimport", text, re.MULTILINE):
        place = CORE / (module.replace(".", "/") + ".pxd")
        if place.is_file():
            found.add(place.relative_to(CORE).as_posix())
    return found


def imports_of_the_core():
    return {
        path.relative_to(CORE).as_posix(): core_imports(path)
        for path in sorted(CORE.rglob("*"))
        if path.suffix in COMPILED | {".pxi"}
    }


def floor_of(name):
    folder = name.split("/")[0].split(".")[0]
    return next(place for place, folders in enumerate(FLOORS) if folder in folders)


def test_imports_of_the_core_go_down_only():
    graph = imports_of_the_core()
    assert "records/index.pxd" in graph["switching/hook.pxd"]
    for name, imported in graph.items():
        for other in imported:
            same_folder = other.split("/")[0] == name.split("/")[0]
            assert (
                floor_of(other) < floor_of(name)
                or (same_folder and "/" in name)
                or (floor_of(name) == len(FLOORS) - 1 == floor_of(other))
                or other in FILLED_ABOVE
            ), f"{name} imports {other}"


def test_no_files_of_the_core_import_each_other_in_a_circle():
    sorter = TopologicalSorter(imports_of_the_core())
    sorter.prepare()  # raises CycleError, which names the circle


def test_functions_are_cimported_by_name():
    """What a file has from where can be read in it. The data and CPython's declarations come whole."""
    whole = {"records.guard", "records.execution", "records.protection"}
    for path in code_in(CORE):
        for module in re.findall(r"^from ([\w.]+) cimport \*", path.read_text(), re.MULTILINE):
            assert module in whole, f"{path} cimports all of {module}"


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
    inner = (
        {path.stem for path in CORE.rglob("*.pxd")}
        | {path.name for path in CORE.iterdir()}
        | {"core"}
    )
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


# The library of interposition: its files, the lowest first. A header belongs to its .c file's layer.
LAYERS = [
    {"hooks", "machine"},
    {"objects"},
    {"patch", "fallback"},
    {"active_hooks", "stand_ins"},
    {"entries", "switches", "loading"},
    {"start"},
]


def test_layers_of_the_interposition_library_include_lower_ones_only():
    layers = {name: place for place, names in enumerate(LAYERS) for name in names}
    files = {
        path
        for path in (CORE / "interpose").iterdir()
        if path.suffix in {".c", ".h"} and path.name != "connect.h"  # the core's
    }
    assert {path.stem for path in files} == set(layers)
    for path in files:
        text = without_comments(path)
        included = set(re.findall(r'#include\s*"(\w+)\.h"', text)) - {path.stem}
        upper = {name for name in included if layers[name] >= layers[path.stem]}
        assert not upper, f"{path} includes {upper}"
        assert path.suffix == ".h" or not re.search(r"^extern", text, re.MULTILINE), path
