"""Beacons are found: in libraries that came before the core and after it, several, and gone again."""

import signal

import pytest

import extensions

LATER = "import stackwarden\nruntime = Runtime(LIBRARIES[0], os.RTLD_NOW | os.RTLD_{})\n"
LOADED = {
    "before the core": "runtime = Runtime(LIBRARIES[0])\nimport stackwarden\n",
    "after the core": "import stackwarden\nruntime = Runtime(LIBRARIES[0])\n",
    "after the core, for all": LATER.format("GLOBAL"),
    "after the core, by itself": LATER.format("DEEPBIND"),
}
RECURSE = "print(runtime.returned(recurse), runtime.returned(recurse))\n"


@pytest.mark.parametrize("order", LOADED)
def test_recursion_on_a_stack_that_only_a_beacon_told_of_is_stopped(beacon_child, library, order):
    program = LOADED[order] + 'print(stackwarden.status()["beacons"])\n' + RECURSE
    assert beacon_child(program, library()) == ["('one',)", "RecursionError RecursionError"]


def test_without_the_beacon_it_ends_the_process(beacon_child, library, silent):
    path = library(headers=silent)
    assert beacon_child(LOADED["before the core"] + RECURSE, path, ends=-signal.SIGSEGV) == []


@pytest.mark.parametrize("order", ["before the core", "after the core"])
def test_the_header_works_as_cxx(beacon_child, library, order):
    program = LOADED[order] + RECURSE
    assert beacon_child(program, library(language="c++")) == ["RecursionError RecursionError"]


FLAGS = {
    "unused sections dropped": ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"],
    "link time optimisation": ["-flto"],
    "bound at once and to itself": ["-Wl,-z,now", "-Wl,-Bsymbolic"],
    "notes of another alignment beside it": ["-fcf-protection=full"],
    "no optimisation": ["-O0"],
}


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("order", ["before the core", "after the core"])
def test_the_beacon_survives_the_linker(beacon_child, library, order, flags):
    program = LOADED[order] + "print(runtime.is_heard())\n"
    assert beacon_child(program, library(flags=FLAGS[flags])) == ["1"]


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_library_that_an_extension_depends_on_is_found(beacon_child, library, order, tmp_path):
    source = tmp_path / "uses_runtime.c"
    source.write_text(
        "#include <Python.h>\n"
        "void tell_native(void);\n"
        'static PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "uses_runtime", .m_size = -1};\n'
        "PyMODINIT_FUNC PyInit_uses_runtime(void)\n"
        "{\n    tell_native();\n    return PyModule_Create(&definition);\n}\n"
    )
    path = library("dependency")
    folder = extensions.build(
        [source], "uses_runtime", args=["-w", path, f"-Wl,-rpath,{path.parent}"]
    ).parent
    imports = ["import uses_runtime", "import stackwarden"]
    program = f"sys.path.append({str(folder)!r})\n"
    program += "\n".join(imports if order == "before" else imports[::-1])
    program += '\nprint(stackwarden.status()["beacons"], Runtime(LIBRARIES[0]).is_heard())\n'
    assert beacon_child(program, path) == ["('dependency',) 1"]


def test_a_beacon_that_could_not_announce_itself_is_found_on_an_unknown_stack(
    beacon_child, library
):
    program = """
        import stackwarden
        runtime = Runtime(LIBRARIES[0])
        print(stackwarden.status()["beacon_faults"])
        runtime.returned(stackwarden.sync_stack)
        print(runtime.is_heard())
        print(stackwarden.status()["beacon_faults"], runtime.returned(recurse))
    """
    mute = library("mute", flags=["-DMUTE"])
    assert beacon_child(program, mute) == ["mute: not found yet", "1", "None RecursionError"]


@pytest.mark.parametrize("order", ["before", "between", "after"])
def test_each_of_two_runtimes_has_its_own(unchecked, beacon_child, library, order):
    """Unchecked: the second one resets on a stack of the first, of which it does not know."""
    lines = ["first = Runtime(LIBRARIES[0])", "second = Runtime(LIBRARIES[1])"]
    lines.insert(["after", "between", "before"].index(order), "import stackwarden")
    program = (
        "\n".join(lines)
        + """
def system():
    return stackwarden.current_stack().system, stackwarden.current_stack().size

base = first.make_stack(STACK)
first.add_stack(ctypes.c_void_p(base), ctypes.c_size_t(STACK), b"a stack")
names = stackwarden.status()["beacons"]
print(sorted(names), first.is_heard(), second.is_heard())
print([(stack.name, stack.system) for stack in stackwarden.stacks() if stack.name])
print(first.returned(lambda: second.returned(recurse)), first.returned(recurse))
"""
    )
    assert beacon_child(program, library("first"), library("second")) == [
        "['first', 'second'] 1 1",
        "[('a stack', 'first')]",
        "RecursionError RecursionError",
    ]


def test_two_beacons_in_one_library_have_two_names(beacon_child, compile_runtime, tmp_path):
    second = tmp_path / "second.c"
    second.write_text(
        "#define STACKWARDEN_BEACON_SLOT second_slot\n"
        "#include <stackwarden/beacon.h>\n"
        'STACKWARDEN_BEACON("the second")\n'
        'extern __attribute__((visibility("default"))) int second_is_heard(void);\n'
        "int second_is_heard(void) { return second_slot.listener != NULL; }\n"
    )
    both = tmp_path / "libboth.so"
    compile_runtime(both, second, name="the first", flags=["-shared", "-fPIC"])
    for order in ("before the core", "after the core"):
        program = LOADED[order] + "print(runtime.is_heard(), runtime.second_is_heard())\n"
        program += 'print(sorted(stackwarden.status()["beacons"]))\n'
        assert beacon_child(program, both) == ["1 1", "['the first', 'the second']"]


@pytest.mark.parametrize("order", ["before the core", "after the core"])
def test_a_library_may_be_unloaded_and_loaded_again(beacon_child, library, order):
    program = (
        LOADED[order]
        + """
import _ctypes
for _ in range(3):
    print(stackwarden.status()["beacons"], runtime.returned(recurse))
    _ctypes.dlclose(runtime._handle)
    print(stackwarden.status()["beacons"], stackwarden.sync_stack() == stackwarden.current_stack())
    runtime = Runtime(LIBRARIES[0])
"""
    )
    expected = ["('one',) RecursionError", "() True"]
    assert beacon_child(program, library()) == expected * 3


def test_a_beacon_of_a_newer_header_is_left_alone(beacon_child, compile_runtime, tmp_path):
    newer = tmp_path / "stackwarden"
    newer.mkdir()
    header = (extensions.public_headers() / "stackwarden" / "beacon.h").read_text()
    changed = header.replace(
        "#define STACKWARDEN_BEACON_VERSION 1", "#define STACKWARDEN_BEACON_VERSION 2"
    )
    assert changed != header
    (newer / "beacon.h").write_text(changed)
    path = tmp_path / "libnewer.so"
    compile_runtime(path, name="newer", flags=["-shared", "-fPIC"], headers=tmp_path)
    for order in ("before the core", "after the core"):
        program = LOADED[order] + "print(runtime.is_heard())\n"
        program += 'print(stackwarden.status()["beacon_faults"])\n'
        said = "newer: its beacon.h has version 2, this stackwarden knows 1"
        assert beacon_child(program, path) == ["0", said]
