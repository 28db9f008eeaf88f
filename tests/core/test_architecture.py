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
    {"other_libc"},
    {"hooks", "machine", "walk"},
    {"objects"},
    {"patch", "fallback", "nested", "pauses"},
    {"active_hooks", "stand_ins"},
    {"contexts", "evidence"},
    {"entries", "jumps", "loading"},
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


# Identifiers that are gone, by what took their place: one row for each thing that had a private word. As ordinary
# English the words are free.
GONE = {
    "fast path, slow path": r"\b\w+_(?:straight|slowly)\b",
    "start_switch, finish_switch": r"\b(?:sw|stackwarden|interposed|sanitizer)_"
    r"(?:leave|leaving|ending|arrive|arrived|leaving_blocking)\b",
    "suspended_at, from_base, ...; leave is the undo of enter": r"\b_?left_(?:at|base|top|handle|before)\b"
    r"|\bleave_room\b|\bswpy_(?:version_)?(?:leave|enter)_own\b|\bnote_left\b|\bleave_isolated\b",
    "call_on_stack, pooled stack": r"\bsw_carried\w*|\bSW_(?:CARRIED\w*|MOST_CARRIED|KEPT)\b|\brun_carried\b"
    r"|\b_on_carried\b|\bcarry_if_needed\b",
    "user_thread": r"\bstackwarden_carri\w+|\bstackwarden/carried\.h\b",
    "counter (of CPython's calls)": r"\bsw_budget\b|\bSW_BUDGETS\b|\bnext_budget\b"
    r"|\bswpy_(?:new|find|forget|for_each)_budgets?\b|\bswpy_budget_(?:of|step|is_lower)\b",
    "retain, index, cache": r"\b(?:sw|stackwarden)_keep_\w+|\bkeep_(?:stack|marked|made|thread_state|or_close)\b"
    r"|\bforget_kept\b|\bkept_thread_state\b|\bsystem_kept\w*",
    "finalizing, outermost_exit": r"\bswpy_\w*the_end\b|\bbefore_the_end\b|\binterposed_ending\b"
    r"|\bsw_process(?:\.|->)ending\b",
    "on_first_foreign_stack": r"\b(?:swpy_)?meet_first_\w+|\bfirst_met\b|\bforeign_seen\b",
    "apply, effective": r"\b\w+_in_force\w*|\bput_in_force\w*",
    "trashcan": r"\bswpy_has_deferred\b|\bswpy_drain(?:_start)?\b|\bcpython/deferred\.h\b",
    "frame_tag": r"\bswpy_mark\b|\b(?:record|execution|current|to)(?:\.|->)mark\b",
    "cold": r"\bsw_details\w*|\bforget_details\b",
    "low_end, own_budget, withheld, reserve": r"\bSWPY_KEPT_BACK\b|\bkept_back\w*|\bswpy_(?:lowest|kept)\w*"
    r"|\bleast_room\b",
    "release_unloaded, begin_execution, commit_switch, save_loaded, load_execution": r"\btake_up\b|\bput_away\b"
    r"|\bput_others_away\b|\bis_settled\b|\bsettle_policy\b",
    "pending_switches, pending_since": r"(?:\.|->)unannounced\b|\bunannounced_\w+|\bnoted_at\b",
    "swpy_drop_passed_budget": r"\bswpy_lift_budget\b",
    "call_on_stack, greenlets, pools, unknown, sync_on_call, paths": r"\bcython_src/grow\b|\bgrow\.pyx\b"
    r"|\bstackwarden\._(?:guests|where|sync|recursion|grow)\b|\bworkers\.pxi\b|\bhas_guests\b",
    "IsolationRequiredError, IsolationUnavailableError": r"\bIsolation(?:Required|Unavailable)\b",
}


def test_words_that_are_gone_stay_gone():
    gone = [(word, re.compile(pattern)) for word, pattern in GONE.items()]
    for folder in (CORE, PACKAGE, ADAPTERS, ROOT / "tests", ROOT / "docs"):
        for path in sorted(folder.rglob("*")):
            if path.suffix not in CODE | {".pxi", ".hpp", ".jl", ".md"} or path == Path(__file__):
                continue
            text = path.read_text()
            for word, pattern in gone:
                found = pattern.search(text)
                assert not found, f"{path}: {found[0]!r}: the word is {word}"


def test_every_name_that_is_cimported_is_used():
    """What core.pyx cimports the files that it includes may use, and the other way round: they are one module."""
    module = [CORE / "core.pyx", *(CORE / "python").glob("*.pxi")]
    units = [[path] for path in sorted(CORE.rglob("*.p[xy][dx]")) if path not in module]
    statement = re.compile(r"^from ([\w.]+) cimport (\([^)]*\)|[^\n]*)", re.MULTILINE)
    for unit in [*units, module]:
        texts = [re.sub(r'""".*?"""', "", without_comments(path), flags=re.DOTALL) for path in unit]
        used = "\n".join(statement.sub("", text) for text in texts)
        for path, text in zip(unit, texts, strict=True):
            for source, names in statement.findall(text):
                for name in re.findall(r"\w+", names):
                    assert re.search(rf"\b{name}\b", used), (
                        f"{path}: {name} from {source} is not used"
                    )


def test_modules_without_lines_in_tracebacks_have_no_with_statement():
    """Cython's needs a traceback, which an exception of C may not have."""
    files = [CORE / "core.pyx", *(CORE / "calls").glob("*.pyx"), *(CORE / "python").glob("*.pxi")]
    for path in (*files, *ADAPTERS.rglob("*.pyx"), *ADAPTERS.rglob("*.pxi")):
        statements = re.findall(r"^ +with (?!gil|nogil).*:$", path.read_text(), re.MULTILINE)
        assert not statements, f"{path}: {statements}"


MOST_LINES = 370
MOST_LINES_OF_THE_HOOK = 210
MOST_LINES_OF_A_FUNCTION = 40


def test_files_of_the_core_are_short():
    for path in sorted(CORE.rglob("*")):
        if path.suffix in COMPILED | {".pxi"}:
            most = MOST_LINES_OF_THE_HOOK if path.name == "hook.pxd" else MOST_LINES
            assert len(path.read_text().splitlines()) <= most, path


def functions_in_cython(lines):
    """Name, first and last line of each function: from its `def` or `cdef` to the last line that is indented."""
    for first, line in enumerate(lines):
        start = re.match(r"(\s*)c?p?def (?:[^(=]*?)(\w+)(?: \"\w+\")?\(", line)
        if start is None:
            continue
        body = first
        while not lines[body].split("#")[0].rstrip().endswith((":", ")")):
            body += 1
        if not lines[body].split("#")[0].rstrip().endswith(":"):
            continue  # a declaration
        last = body
        for number in range(body + 1, len(lines)):
            indent = len(lines[number]) - len(lines[number].lstrip())
            if lines[number].strip():
                if indent <= len(start[1]):
                    break
                last = number
        yield start[2], first, last


def functions_in_c(lines):
    """The same in C: from the first line of the signature to the `}` in column 0."""
    for brace, line in enumerate(lines):
        if line != "{":
            continue
        first = brace
        while first and lines[first - 1] and not lines[first - 1].startswith("#"):
            if lines[first - 1].rstrip().endswith((";", "}", "*/")):
                break
            first -= 1
        yield lines[first], first, lines.index("}", brace)


def test_functions_of_the_core_fit_on_a_screen():
    """Counted from the first line of the signature to the last line of the body, the docstring included."""
    seen = {}
    for path in sorted(CORE.rglob("*")):
        if path.suffix not in COMPILED | {".pxi"}:
            continue
        lines = path.read_text().splitlines()
        of = functions_in_c if path.suffix in (".c", ".h") else functions_in_cython
        for name, first, last in of(lines):
            seen[name] = last - first + 1
            assert seen[name] <= MOST_LINES_OF_A_FUNCTION, (
                f"{path}:{first + 1}: {name}, {seen[name]} lines"
            )
    assert seen["commit_switch"] > 20
    assert seen["static void add(report *r, const char *text)"] == 6
    assert len(seen) > 400


def test_comments_name_tests_that_exist():
    """A fact whose source is a test."""
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for path in (ROOT / "tests").rglob("test_*.py"):
        tests.update(re.findall(r"def (test_\w+)", path.read_text()))
    for folder in (CORE, PACKAGE, ADAPTERS):
        for path in sorted(folder.rglob("*")):
            if path.suffix in CODE | {".pxi", ".hpp"}:
                named = re.findall(r"\btest_\w+(?:\.py)?", path.read_text())
                assert not set(named) - tests, f"{path} names {set(named) - tests}"
