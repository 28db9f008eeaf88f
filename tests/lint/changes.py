"""A branch that changes what is installed says so: with a file in changes/.

What it changes is seen from where it left main. On main, and in a clone that knows no main, there is nothing to
compare with.

Command line, in the checkout: python tests/lint/changes.py
"""

import subprocess
import sys
from pathlib import Path

INSTALLED = ("src", "cython_src", "adapters")
TOLD_IN = ("changes", ":!changes/README.md")
MAIN = ("origin/main", "main")


def main() -> int:
    """Return the exit status."""
    base = _left_main_at()
    if base is None:
        print("nothing to compare with: this is main, or main is not known here")
        return 0
    if not _changed(base, *INSTALLED):
        print(f"nothing in {', '.join(INSTALLED)} has changed since {base[:12]}")
        return 0
    if told := [name for name in _changed(base, *TOLD_IN) if Path(name).exists()]:
        print(f"told in {', '.join(told)}")
        return 0
    print(
        f"{', '.join(INSTALLED)} have changed since {base[:12]}, and no file in changes/ tells of it"
    )
    return 1


def _left_main_at() -> str | None:
    for name in MAIN:
        if base := _git("merge-base", name, "HEAD"):
            return base[0] if base != _git("rev-parse", "HEAD") else None
    return None


def _changed(base: str, *paths: str) -> list[str]:
    """Files that are not as they were, committed or not, and those that are gone."""
    return [
        *_git("diff", "--name-only", base, "--", *paths),
        *_git("ls-files", "--others", "--exclude-standard", "--", *paths),
    ]


def _git(*words: str) -> list[str]:
    """The lines that a command of git prints; where it fails, none."""
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return done.stdout.splitlines() if done.returncode == 0 else []


if __name__ == "__main__":
    sys.exit(main())
