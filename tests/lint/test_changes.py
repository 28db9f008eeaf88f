"""The check that a branch tells of what it changes, tried in small repositories."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).with_name("changes.py")


@pytest.fixture
def git(tmp_path):
    """git(*words): a command in a repository with one commit on main."""
    folder = tmp_path / "repository"
    folder.mkdir()

    def run(*words: str) -> None:
        author = ("-c", "user.name=A", "-c", "user.email=a@example.invalid")
        subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True)

    run("init", "--initial-branch=main")
    write(folder, "src/code.py")
    run("add", ".")
    run("commit", "-m", "first")
    run.folder = folder
    return run


def write(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("changed\n" * (1 + path.exists()))


def check(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, CHECK], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        (["docs/page.md"], 0, "nothing in src, cython_src, adapters has changed"),
        (["src/code.py"], 1, "no file in changes/ tells of it"),
        (["src/code.py", "changes/README.md"], 1, "no file in changes/ tells of it"),
        (["src/code.py", "changes/+new.added.md"], 0, "told in changes/+new.added.md"),
    ],
)
def test_a_branch_that_changes_what_is_installed_tells_of_it(git, files, status, words, committed):
    git("switch", "-c", "branch")
    for name in files:
        write(git.folder, name)
    if committed:
        git("add", ".")
        git("commit", "-m", "second")
    else:
        git("commit", "--allow-empty", "-m", "second")
    ended, said = check(git.folder)
    assert ended == status
    assert words in said


def test_what_is_gone_is_a_change_and_tells_nothing(git):
    write(git.folder, "changes/+old.added.md")
    git("add", ".")
    git("commit", "-m", "second")
    git("switch", "-c", "branch")
    git("rm", "src/code.py", "changes/+old.added.md")
    git("commit", "-m", "third")
    status, said = check(git.folder)
    assert status == 1
    assert "no file in changes/ tells of it" in said


def test_there_is_nothing_to_compare_with_on_main(git):
    assert check(git.folder) == (
        0,
        "nothing to compare with: this is main, or main is not known here\n",
    )


def test_there_is_nothing_to_compare_with_in_a_shallow_clone_of_a_branch(git, tmp_path):
    git("switch", "-c", "branch")
    write(git.folder, "src/code.py")
    git("commit", "-a", "-m", "second")
    clone = tmp_path / "clone"
    git("clone", "--depth=1", "--branch=branch", git.folder.as_uri(), str(clone))
    status, said = check(clone)
    assert status == 0
    assert "main is not known here" in said
