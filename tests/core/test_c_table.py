"""The C table: whom it serves, whom it refuses and with what words; the header where there is no package."""

import ctypes
import re
import sys
import types
from pathlib import Path

import pytest

import commands
import extensions
import stackwarden

HEADER = Path(stackwarden.get_include()) / "stackwarden" / "stackwarden.h"
TESTS = Path(__file__).parents[1]
LAYOUT = TESTS / "abi" / "layout.c"
PROBE = TESTS / "extensions" / "capi_probe" / "capi_probe.c"


def number(name):
    return int(re.search(rf"#define {name} (\d+)", HEADER.read_text())[1])


MAJOR, MINOR = number("STACKWARDEN_API_MAJOR"), number("STACKWARDEN_API_MINOR")


def capsule(major, minor):
    """A table of another version behind a capsule of the right name."""
    memory = (ctypes.c_uint32 * 256)(major, minor)
    new = ctypes.pythonapi.PyCapsule_New
    new.restype = ctypes.py_object
    new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    name = b"stackwarden._core.table"
    made = new(ctypes.addressof(memory), name, None)
    capsule.kept.append((memory, name))
    return made


capsule.kept = []


@pytest.fixture
def forge(monkeypatch):
    """forge(table): from now on the package offers this object as its table."""
    return lambda table: monkeypatch.setattr(stackwarden._core, "table", table)


@pytest.fixture(scope="session")
def fresh_probe(probe_folder, tmp_path_factory):
    """fresh_probe(): the probe as another module, whose pointer to the table was never set."""
    import importlib.util

    source = next(probe_folder.glob("capi_probe*"))

    def load():
        copy = tmp_path_factory.mktemp("probe") / source.name
        copy.write_bytes(source.read_bytes())
        spec = importlib.util.spec_from_file_location("capi_probe", copy)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_layout_is_as_it_was_promised(tmp_path):
    """Compiling is the test: slots and fields only ever come at the end."""
    for language in ("c", "c++"):
        standard = [] if language == "c" else ["-x", "c++", "-std=c++11"]
        compiler = [*extensions.compiler(language), *standard]
        commands.output(*compiler, "-c", LAYOUT, "-o", tmp_path / "layout.o")


def test_the_layout_test_names_every_slot_and_field():
    """Else a new one would not be pinned."""
    pinned = LAYOUT.read_text()
    table = re.search(r"typedef struct \{([^{}]*)\} stackwarden_table;", HEADER.read_text())[1]
    slots = re.findall(r"\(\*(\w+)\)\(", table)
    assert len(slots) >= 10
    for slot in ["major", "minor", *slots]:
        assert re.search(rf"\b{slot}\b", pinned), slot


def test_the_slots_of_the_header_are_all_filled(fresh_probe):
    probe = fresh_probe()
    probe.import_table()
    table = re.search(r"typedef struct \{([^{}]*)\} stackwarden_table;", HEADER.read_text())[1]
    slots = len(re.findall(r"\(\*\w+\)\(", table))
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = get(stackwarden._core.table, b"stackwarden._core.table")
    numbers = (ctypes.c_uint32 * 2).from_address(address)
    pointers = (ctypes.c_void_p * slots).from_address(address + 8)
    assert tuple(numbers) == (MAJOR, MINOR)
    assert all(pointers)
    assert len(set(pointers)) == slots


def test_an_older_caller_is_served(fresh_probe, forge):
    forge(capsule(MAJOR, MINOR + 7))
    fresh_probe().import_table()


REFUSED = {
    "a newer major number": (MAJOR + 1, 0, "recompile the extension"),
    "an older major number": (MAJOR - 1, 9, "install a newer stackwarden"),
}
if MINOR:
    REFUSED["a smaller minor number"] = (MAJOR, MINOR - 1, "install a newer stackwarden")


@pytest.mark.parametrize("case", REFUSED)
def test_another_version_is_refused_with_both_numbers_and_the_remedy(fresh_probe, forge, case):
    major, minor, remedy = REFUSED[case]
    probe = fresh_probe()
    forge(capsule(major, minor))
    with pytest.raises(ImportError) as caught:
        probe.import_table()
    for part in (f"{MAJOR}.{MINOR}", f"{major}.{minor}", remedy):
        assert part in str(caught.value)
    assert probe.call("attached", "sync")[0] == -1


def test_a_header_that_is_newer_than_the_package_is_refused(tmp_path):
    """As a later header would have it: the minor number raised."""
    define = "#define STACKWARDEN_API_MINOR"
    later = tmp_path / "later" / "stackwarden" / "stackwarden.h"
    later.parent.mkdir(parents=True)
    later.write_text(HEADER.read_text().replace(f"{define} {MINOR}", f"{define} {MINOR + 1}"))
    renamed = ["-DPyInit_capi_probe=PyInit_of_later"]
    built = extensions.build([PROBE], "of_later", headers=later.parents[1], args=renamed)
    module = extensions.load(built)
    with pytest.raises(ImportError, match=rf"{MAJOR}\.{MINOR + 1}.*{MAJOR}\.{MINOR}.*newer"):
        module.import_table()


@pytest.mark.parametrize("table", [None, object(), "text"])
def test_what_is_no_capsule_is_an_error(fresh_probe, forge, table):
    forge(table)
    with pytest.raises((ImportError, AttributeError, ValueError)):
        fresh_probe().import_table()


def test_without_the_package_every_call_says_so(child):
    """The header may be vendored: nothing of the package is imported here."""
    done = child(
        """
        import sys
        sys.modules["stackwarden"] = None  # as where it is not installed
        import capi, capi_probe as probe

        print(probe.import_table())
        for calls in (capi.attached, capi.detached, capi.thread, capi.raising):
            statuses = [
                calls.notify(4096, 1 << 20), calls.switch_to(1), calls.reset(), calls.sync(),
                calls.register(4096, 1 << 20, "a", "b")[0], calls.unregister(1),
                calls.current().status, calls.find(4096).status, calls.enter(4096, 1 << 20).status,
                calls.leave(calls.current()),
            ]
            assert set(statuses) == {capi.NOT_INSTALLED}, statuses
        print(probe.register_callback(0, True), probe.unregister_callback(0))
        print(probe.status_text(capi.NOT_INSTALLED))
        """
    )
    assert done.stdout == (
        "1\n-1 -1\nrefused: the Python package stackwarden is not installed or not imported\n"
    )


def test_a_core_that_is_missing_is_no_error(child):
    """A package without its compiled part, as on Pyodide."""
    done = child(
        """
        import sys, types
        sys.modules["stackwarden"] = package = types.ModuleType("stackwarden")
        package.__path__ = []
        import capi_probe as probe
        print(probe.import_table())
        """
    )
    assert done.stdout == "1\n"


def test_a_package_that_is_broken_is_an_error(child, tmp_path):
    """What it imports itself is missing, or it fails: nobody must take that for absence."""
    done = child(
        """
        import sys, pathlib
        import capi_probe as probe
        package = pathlib.Path(sys.argv[1], "stackwarden")
        package.mkdir()
        sys.path.insert(0, sys.argv[1])
        for fault in ("import no_such_module", "raise ImportError('a symbol is missing')"):
            package.joinpath("__init__.py").write_text(fault)
            try:
                probe.import_table()
            except ImportError as error:
                print(type(error).__name__, error)
        """,
        arguments=(str(tmp_path),),
    )
    assert done.stdout == (
        "ModuleNotFoundError No module named 'no_such_module'\nImportError a symbol is missing\n"
    )


def test_importing_again_is_harmless(probe):
    for _ in range(3):
        assert probe.import_table() == 0
    assert probe.call("attached", "reset")[0] == 0


PROGRAM = """
#include <stackwarden/stackwarden.h>
int another_unit(void);
int another_unit(void)
{
    stackwarden_stack stack;
    stackwarden_status status = stackwarden_current_stack(&stack);
    return status == STACKWARDEN_DONE && stack.handle == stackwarden_current_handle() ? 0 : (int)status;
}
"""
CXX_PROGRAM = """
static int in_a_scope(const void *base, size_t size, stackwarden_handle handle);
static int in_a_scope(const void *base, size_t size, stackwarden_handle handle)
{
    stackwarden::stack_scope outer(base, size);
    stackwarden::stack_scope inner(handle);
    return static_cast<int>(outer.status()) + static_cast<int>(inner.status());
}
int use(void);
int use(void) { return in_a_scope(nullptr, 0, 0); }
"""


@pytest.mark.parametrize("optimisation", ["-O0", "-O2"])
@pytest.mark.parametrize("standard", ["c11", "c17", "c++11", "c++17", "c++20"])
def test_the_header_compiles_without_a_warning(tmp_path, standard, optimisation):
    language = "c++" if "++" in standard else "c"
    source = tmp_path / "unit.c"
    source.write_text(PROGRAM + (CXX_PROGRAM if language == "c++" else ""))
    command = [
        f"-std={standard}" if word.startswith("-std=") else word
        for word in extensions.compiler(language)
        if not word.startswith("-Wno-")
    ]
    target = tmp_path / "unit.o"
    commands.output(*command, optimisation, "-x", language, "-c", source, "-o", target)


def test_the_translation_units_of_a_module_share_one_table(tmp_path):
    other = tmp_path / "other.c"
    other.write_text(PROGRAM)
    main = tmp_path / "main.c"
    main.write_text("""
#include <stackwarden/stackwarden.h>
int another_unit(void);
static PyObject *ask(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    int before = another_unit();
    if (stackwarden_import() < 0) {
        return NULL;
    }
    return Py_BuildValue("ii", before, another_unit());
}
static PyMethodDef methods[] = {{"ask", ask, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "two_units", NULL, 0, methods, NULL, NULL, NULL, NULL,
};
PyMODINIT_FUNC PyInit_two_units(void) { return PyModule_Create(&definition); }
""")
    module = extensions.load(extensions.build([main, other], "two_units"))
    assert module.ask() == (-1, 0)


def test_a_module_of_another_name_is_not_taken_for_the_package(fresh_probe, monkeypatch):
    forged = types.ModuleType("stackwarden._core")
    monkeypatch.setitem(sys.modules, "stackwarden._core", forged)
    monkeypatch.setattr(stackwarden, "_core", forged)
    with pytest.raises((ImportError, AttributeError)):
        fresh_probe().import_table()
