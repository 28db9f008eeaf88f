"""Found, installed, uninstalled; and what is asked for where it cannot be done is refused."""

import pytest

import commands
import stackwarden

BARE = """\
import sys
import stackwarden
from stackwarden import adapters
SYSTEM, LIBRARY = sys.argv[1:3]
"""


def test_it_is_found_and_its_system_is_not_loaded(child, system):
    program = """
        print(SYSTEM in adapters.available(), SYSTEM in adapters.installed())
        module = __import__("stackwarden.adapters." + SYSTEM, fromlist=["install"])
        print(module.is_loaded())
        adapters.install(SYSTEM, library=LIBRARY)
        print(module.is_loaded(), SYSTEM in adapters.installed())
        adapters.uninstall(SYSTEM)
        print(adapters.installed())
        adapters.install(SYSTEM, library=LIBRARY)
        print(SYSTEM in adapters.install_loaded(), adapters.installed() == [SYSTEM])
    """
    printed = child(system, 1, program, prelude=BARE)
    assert printed == ["True False", "False", "True True", "[]", "False True"]


@pytest.mark.parametrize(
    ("library", "error", "says"),
    [
        (
            "/nowhere/lib.so",
            "SystemMissingError",
            "/nowhere/lib.so: cannot open shared object file",
        ),
        ("libm.so.6", "SystemUnfitError", "libm.so.6 is not "),
        ("old", "SystemTooOldError", "or later is needed"),
    ],
)
def test_a_library_that_cannot_do_is_refused_and_nothing_is_installed(
    child, system, library, error, says, tmp_path
):
    if library == "old":
        first = {"argobots": "ABT_init", "massivethreads": "myth_init"}[system]
        source = tmp_path / "old.c"
        source.write_text(f"int {first}(void) {{ return 0; }}\n")
        library = tmp_path / "libold.so"
        commands.output("cc", "-shared", "-fPIC", source, "-o", library)
    program = f"""
        for _ in range(2):
            try:
                adapters.install(SYSTEM, library={str(library)!r})
            except stackwarden.errors.{error} as error:
                print(adapters.installed(), {says!r} in str(error))
        adapters.install(SYSTEM, library=LIBRARY)
        print(adapters.installed() == [SYSTEM])
    """
    printed = child(system, 1, program, prelude=BARE)
    assert printed == ["[] True", "[] True", "True"]


def test_installing_twice_and_uninstalling_what_is_not_installed(child, system):
    program = """
        for call in ("uninstall", "install", "install"):
            try:
                options = {"library": LIBRARY} if call == "install" else {}
                getattr(adapters, call)(SYSTEM, **options)
            except stackwarden.errors.AdapterError as error:
                print(type(error).__name__)
    """
    printed = child(system, 1, program, prelude=BARE)
    assert printed == ["AdapterNotInstalledError", "AdapterInstalledError"]


def test_what_cannot_be_done_is_refused(child, system):
    program = """
        def says(call, *args):
            try:
                call(*args)
            except stackwarden.StackwardenError as error:
                print(type(error).__name__, error)

        def outside():
            thread = threading.Thread(target=says, args=(pause,))
            thread.start()
            thread.join()

        says(pause)
        adapters.uninstall(SYSTEM)
        says(pause)
        adapters.install(SYSTEM, library=LIBRARY)
        with workers(1):
            outside()
            says(workers(1).__enter__)
            says(lambda: UserThread(print, stack_size=16384))
            says(UserThread.__new__(UserThread).join)
    """
    no_worker = f"UserThreadError this operating-system thread is no worker of {system}"
    least = stackwarden.status()["least_stack_size"]
    printed = child(system, 1, program)
    assert printed == [
        no_worker,
        f"UserThreadError the adapter {system!r} is not installed",
        no_worker,
        f"UserThreadError {system} has 1 workers already",
        f"StackTooSmallError 16384 bytes: at least {least} are needed",
        "UserThreadError it was never started",
    ]
