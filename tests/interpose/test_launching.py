"""`stackwarden exec` and `run` cost little, need nothing, and leave no trace but three variables."""

import importlib.metadata
import json
import os
import sys
from pathlib import Path

import pytest

import children
import commands
import tools

STACKWARDEN = Path(sys.executable).with_name("stackwarden")

# Prints which modules are imported until the command is executed. os is imported at each start of Python.
IMPORTED = """
import json, os, sys

sys.path += PATH

def execute(*_):
    print(json.dumps(sorted(set(sys.modules) - before)))
    raise SystemExit

os.execvpe = execute
before = set(sys.modules)
from _stackwarden_start.command import main
main()
"""
START = ["", ".command", ".environment", ".launch", ".variables"]


@pytest.mark.parametrize("words", [("exec", "--", "true"), ("run", "script.py")])
def test_no_core_and_no_other_module_is_imported(words):
    program = IMPORTED.replace("PATH", repr(sys.path))
    done = children.run(sys.executable, "-I", "-S", "-c", program, *words)
    assert json.loads(done.stdout) == [f"_stackwarden_start{name}" for name in START]


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """The folder of the programs of an environment that has the package and nothing else."""
    folder = tmp_path_factory.mktemp("bare") / "environment"
    uv = tools.program("uv")
    origin = importlib.metadata.distribution("stackwarden").read_text("direct_url.json")
    wheel = f"stackwarden @ {json.loads(origin)['url']}"
    commands.output(uv, "venv", "--no-project", "--python", sys._base_executable, folder)
    commands.output(uv, "pip", "install", "--python", folder, wheel)
    return folder / "bin"


STATUS = "import stackwarden, sys; print(stackwarden.status()['interposition'], *sys.argv[1:])"


@pytest.mark.parametrize("how", ["script", "module"])
def test_run_exec_version_and_help_need_the_standard_library_alone(bare, how, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(STATUS)
    start = (bare / "stackwarden",) if how == "script" else (bare / "python", "-m", "stackwarden")
    children.run(bare / "python", "-c", "import click", ends=1)
    assert children.run(*start, "exec", bare / "python", script, "-h").stdout == "on -h\n"
    assert children.run(*start, "run", "--isolation=frames", script, "--").stdout == "frames --\n"
    version = importlib.metadata.version("stackwarden")
    assert children.run(*start, "--version").stdout == f"stackwarden, version {version}\n"
    shown = children.run(*start, "--help").stdout
    assert all(word in shown for word in ("run", "exec", "doctor", "demo", "enable", "--cmakedir"))
    for name in "run", "exec":
        assert f"Usage: stackwarden {name} " in children.run(*start, name, "--help").stdout
    assert "needs click: pip install" in children.run(*start, "doctor", ends=1).stderr


def test_help_names_every_command_with_its_own_words():
    from _stackwarden_start import command
    from stackwarden._cli import commands as pretty

    for name, one in pretty.commands.items():
        assert one.help.startswith(command._COMMANDS[name])
    assert set(command._COMMANDS) == {*pretty.commands, "run", "exec"}
    assert max(map(len, command._help().splitlines())) < 110


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("exec",), "COMMAND is missing"),
        (("run", "--isolation=frames"), "SCRIPT is missing"),
        (("exec", "--isolation=most", "true"), "--isolation=most: must be one of none, frames"),
        (("exec", "--isolation"), "--isolation=: must be one of none, frames"),
        (("exec", "--verbose", "true"), "there is no option --verbose"),
        (("nonsense",), "there is no nonsense"),
    ],
)
def test_wrong_words_are_refused_and_nothing_is_run(words, complaint):
    done = children.run(STACKWARDEN, *words, ends=2)
    assert complaint in done.stderr
    assert done.stdout == ""


def test_words_behind_the_command_are_its_own():
    done = children.run(
        STACKWARDEN, "exec", "--isolation", "frames", "echo", "--isolation=none", "--", "-h"
    )
    assert done.stdout == "--isolation=none -- -h\n"


SIGNALS = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status"


def test_signals_are_as_a_shell_leaves_them(same):
    """Python ignores SIGPIPE and SIGXFSZ from its start on, and what is ignored stays so in the command."""
    same("sh", "-c", f"{SIGNALS}; yes | head -1; yes 2>&1 | head -1")
    bash = children.run(
        "env", "bash", "-c", f"{STACKWARDEN} exec -- yes | head -1; echo ${{PIPESTATUS[0]}}"
    )
    assert bash.stdout == "y\n141\n"


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C"}, {"LANG": "C"}, {"LC_CTYPE": "C.UTF-8"}])
def test_variables_are_as_they_were_but_for_three(locale):
    """In the locale C Python sets LC_CTYPE at its start."""
    given = {
        k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "STACKWARDEN"))
    }
    found = []
    for first in ((), (str(STACKWARDEN), "exec", "--")):
        words = ("env", "-i", *(f"{k}={v}" for k, v in (given | locale).items()))
        lines = children.run(*words, *first, "env", "-0").stdout.split("\0")
        found.append(dict(line.split("=", 1) for line in lines if line))
    plain, under = found
    for name in ("LD_PRELOAD", "PYTHONPATH", "STACKWARDEN"):
        under.pop(name)
        plain.pop(name, None)
    assert under == plain
