"""Adapters are found through entry points, and installed once, whole or not at all."""

import textwrap

import pytest

import children
from stackwarden import adapters
from stackwarden.errors import UnknownAdapterError

ADAPTER = """
import stackwarden

calls = []

def is_loaded():
    return "loaded_system" in __import__("sys").modules

def install(*, fail=None, meanwhile=None):
    if meanwhile is not None:
        meanwhile()
    if fail is not None:
        raise getattr(stackwarden.errors, fail)("the system, 1.0: 2.0 is needed")
    calls.append("install")

def uninstall():
    calls.append("uninstall")
"""


@pytest.fixture
def run(tmp_path):
    """Run code in a child that has another package's adapter on its path, and one that is broken."""
    (tmp_path / "outside_adapter.py").write_text(ADAPTER)
    (tmp_path / "loaded_system.py").touch()
    (tmp_path / "broken_adapter.py").write_text("import not_there")
    metadata = tmp_path / "outside-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[stackwarden.adapters]\noutside = outside_adapter\nbroken = broken_adapter\n"
    )

    def run_code(code):
        prelude = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        prelude += "import stackwarden; from stackwarden import adapters\n"
        return children.run_python(prelude + textwrap.dedent(code)).stdout.strip()

    return run_code


def test_another_packages_adapter_is_found_and_not_imported(run):
    assert run("""
        found = adapters.available()
        print("outside" in found, "broken" in found, "outside_adapter" in sys.modules)
    """) == "True True False"  # fmt: skip


def test_an_adapter_is_installed_and_uninstalled(run):
    assert run("""
        adapters.install("outside")
        print(adapters.installed())
        adapters.uninstall("outside")
        print(adapters.installed(), sys.modules["outside_adapter"].calls)
    """) == "['outside']\n[] ['install', 'uninstall']"  # fmt: skip


def test_installing_twice_is_refused(run):
    assert run("""
        adapters.install("outside")
        try:
            adapters.install("outside")
        except stackwarden.errors.AdapterInstalledError as error:
            print(error)
        print(adapters.installed(), sys.modules["outside_adapter"].calls)
    """) == (
        "the adapter 'outside' is installed already; uninstall it first to give it other options\n"
        "['outside'] ['install']"
    )  # fmt: skip


def test_uninstalling_what_is_not_installed_is_refused(run):
    assert run("""
        try:
            adapters.uninstall("outside")
        except stackwarden.errors.AdapterNotInstalledError as error:
            print(error)
    """) == "the adapter 'outside' is not installed (installed: none)"  # fmt: skip


@pytest.mark.parametrize("error", ["SystemMissingError", "SystemTooOldError", "SystemUnfitError"])
def test_what_failed_is_not_installed_and_may_be_tried_again(run, error):
    assert run(f"""
        try:
            adapters.install("outside", fail="{error}")
        except stackwarden.errors.{error} as error:
            print(error, isinstance(error, stackwarden.errors.AdapterError), adapters.installed())
        adapters.install("outside")
        print(adapters.installed())
    """) == "the system, 1.0: 2.0 is needed True []\n['outside']"  # fmt: skip


def test_what_is_being_installed_is_refused_and_nobody_waits(run):
    """A signal handler that interrupts it, say."""
    assert run("""
        def meanwhile():
            print(adapters.installed())
            for call in (adapters.install, adapters.uninstall):
                try:
                    call("outside")
                except stackwarden.errors.AdapterInstalledError as error:
                    print(error)

        adapters.install("outside", meanwhile=meanwhile)
        print(adapters.installed())
    """) == (
        "[]\n"
        + "the adapter 'outside' is being installed or uninstalled at this moment\n" * 2
        + "['outside']"
    )  # fmt: skip


def test_a_fork_while_another_thread_installs_leaves_nothing_locked(run):
    assert run("""
        import os, signal, threading, warnings

        warnings.simplefilter("ignore")  # fork with threads
        begun, ends = threading.Event(), threading.Event()

        def meanwhile():
            begun.set()
            ends.wait()

        def install():
            adapters.install("outside", meanwhile=meanwhile)

        thread = threading.Thread(target=install)
        thread.start()
        begun.wait()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            adapters.install("outside")
            print(adapters.installed(), flush=True)
            adapters.uninstall("outside")
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), adapters.installed(), flush=True)
        ends.set()
        thread.join()
        print(adapters.installed())
    """) == "['outside']\n0 []\n['outside']"  # fmt: skip


@pytest.mark.parametrize("call", [adapters.install, adapters.uninstall])
def test_an_unknown_name_is_refused_with_the_known_ones(call):
    with pytest.raises(UnknownAdapterError, match=r"no adapter 'nobody' \(available: "):
        call("nobody")


def test_all_whose_system_is_loaded_are_installed_and_those_that_cannot_be_are_left_out(run):
    assert run("""
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            print("outside" in adapters.install_loaded())
            import loaded_system
            print("outside" in adapters.install_loaded(), adapters.install_loaded())
        print({str(w.message) for w in caught if w.category is stackwarden.errors.AdapterWarning})
    """) == (
        "False\nTrue []\n{\"adapter 'broken': No module named 'not_there'\"}"
    )  # fmt: skip


def test_importing_the_package_imports_no_adapter(run):
    assert run("""
        print([name for name in sys.modules if name.startswith("stackwarden.adapters.")])
    """) == "[]"  # fmt: skip
