"""`stackwarden run`, `exec`, `enable` and `disable`, in an environment that is made for them."""

import importlib.metadata
import json
import signal
import sys
import sysconfig
from pathlib import Path

import pytest

import children
import commands
import foreign
import tools
from stackwarden import interposed_environment

SHOW = """
import json, sys
import stackwarden
print(json.dumps([stackwarden.status()["interposition"], sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """The folder of the programs of a new virtual environment that has the package."""
    folder = tmp_path_factory.mktemp("fresh") / "environment"
    uv = tools.program("uv")
    installed = json.loads(
        importlib.metadata.distribution("stackwarden").read_text("direct_url.json")
    )
    commands.output(uv, "venv", "--no-project", "--python", sys._base_executable, folder)
    requirement = f"stackwarden[cli] @ {installed['url']}"
    commands.output(uv, "pip", "install", "--python", folder, requirement)
    return folder / "bin"


def said(*command, **how) -> str:
    """What a command prints on its standard output."""
    return children.run(*command, **how).stdout


def test_run_runs_a_script_interposed(fresh, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SHOW)
    shown = said(fresh / "stackwarden", "run", script, "-x", "--isolation=none", "word")
    assert json.loads(shown) == ["on", ["-x", "--isolation=none", "word"]]
    shown = said(fresh / "stackwarden", "run", "--isolation=frames", script)
    assert json.loads(shown) == ["frames", []]


def test_exec_reaches_the_whole_tree_of_processes(fresh, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SHOW)
    shell = f"sh -c '{fresh / 'python'} {script} inner'"
    shown = said(fresh / "stackwarden", "exec", "--", "sh", "-c", shell)
    assert json.loads(shown) == ["on", ["inner"]]


def test_exec_ends_as_the_command_ends(fresh):
    said(fresh / "stackwarden", "exec", "--", "sh", "-c", "exit 7", ends=7)
    said(fresh / "stackwarden", "exec", "--", "sh", "-c", "kill -9 $$", ends=-signal.SIGKILL)
    said(fresh / "stackwarden", "exec", "--", "/no/such/program", ends=1)


def test_foreign_code_is_protected_under_run(fresh, tmp_path):
    module = foreign.build("ucontext")
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.append({str(module.parent)!r})\n"
        "import foreign_ucontext as foreign\n"
        "from stackwarden.testing import workloads\n"
        "one = foreign.make(workloads.add)\n"
        "foreign.resume(one)\n"
        "print(foreign.result(one))\n"
    )
    said(fresh / "python", script, ends=-signal.SIGSEGV)
    assert said(fresh / "stackwarden", "run", script) == "RecursionError\n"


def test_another_sitecustomize_runs_too(fresh, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('theirs')\n")
    command = [fresh / "stackwarden", "exec", "--", fresh / "python", "-c", "print('program')"]
    assert said(*command, PYTHONPATH=str(tmp_path)).split() == ["theirs", "theirs", "program"]


def test_enable_has_python_look_at_the_environment_and_disable_no_longer(fresh):
    def shown(*options, **variables):
        done = said(fresh / "python", *options, "-c", SHOW, **variables)
        return json.loads(done)[0]

    assert shown(STACKWARDEN="interpose") == "off"
    said(fresh / "stackwarden", "enable")
    said(fresh / "stackwarden", "enable")
    assert shown() == "off"
    assert shown(STACKWARDEN="interpose") == "on"
    assert shown(STACKWARDEN="interpose,isolation=frames") == "frames"
    assert shown("-X", "stackwarden=interpose") == "on"
    assert shown("-X", "stackwarden=interpose=off", STACKWARDEN="interpose") == "off"
    said(fresh / "stackwarden", "disable")
    said(fresh / "stackwarden", "disable")
    assert shown(STACKWARDEN="interpose") == "off"


def test_what_enable_writes_is_not_deprecated(fresh):
    said(fresh / "stackwarden", "enable")
    try:
        command = [fresh / "python", "-W", "error", "-v", "-c", ""]
        done = children.run(*command, STACKWARDEN="interpose")
        assert "Warning" not in done.stderr
        assert "_stackwarden_start.begin" in done.stderr
    finally:
        said(fresh / "stackwarden", "disable")


def test_a_wrong_value_is_a_warning_and_not_a_failure_to_start(fresh):
    said(fresh / "stackwarden", "enable")
    try:
        wrong = "interpose,isolation=most,nonsense=1"
        done = children.run(fresh / "python", "-c", SHOW, STACKWARDEN=wrong)
        assert json.loads(done.stdout)[0] == "on"
        assert "isolation=most" in done.stderr
        assert "nonsense" in done.stderr
    finally:
        said(fresh / "stackwarden", "disable")


def test_the_environment_keeps_what_others_put_there():
    former = {"LD_PRELOAD": "/their.so", "PYTHONPATH": "/theirs", "STACKWARDEN": "unknown=exact"}
    first = interposed_environment(former)
    assert first["LD_PRELOAD"].endswith("libstackwarden_interpose.so:/their.so")
    assert first["PYTHONPATH"].endswith("_startup:/theirs")
    assert first["STACKWARDEN"] == "unknown=exact,interpose,isolation=none"
    again = interposed_environment(first)
    assert (again["LD_PRELOAD"], again["PYTHONPATH"]) == (first["LD_PRELOAD"], first["PYTHONPATH"])


def test_the_folder_for_pythonpath_hides_no_module():
    folder = Path(interposed_environment({})["PYTHONPATH"])
    assert [path.name for path in folder.iterdir() if path.suffix == ".py"] == ["sitecustomize.py"]
    assert folder.is_relative_to(sysconfig.get_path("platlib"))
