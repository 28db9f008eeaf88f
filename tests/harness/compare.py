"""Compare the machine code of two builds of the core, function for function, addresses masked.

For changes that are to change nothing: moved code, other names. What lies in another order, or at another address,
is the same, and so is a callee under another name, if that stands for the former one everywhere; another
instruction, register or constant is not.

Command line:
    python3 tests/harness/compare.py COMMIT [--python VERSION] [--show FUNCTION]
compares the checkout with COMMIT. The exit status is 1 if a hot function differs.
"""

import argparse
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import commands
import interpreters
import paths
import tools

# What a switch, a look at the stack or a call on another one runs through; where it has had another name, both.
HOT = {
    "switch_to": ("sw_switch_to",),
    "notify_stack_switch": ("sw_notify_stack_switch",),
    "reset_stack": ("sw_reset_stack",),
    "sync_stack": ("sw_sync_stack",),
    "enter_sync": ("sw_enter_sync",),
    "start_switch": ("sw_start_switch", "sw_start_switch"),
    "finish_switch": ("sw_finish_switch", "sw_finish_switch"),
    "unregister_stack": ("sw_unregister_stack",),
    "call_on_stack": ("sw_call_on_stack",),
    "check_stack_depth": ("sw_check_stack_depth",),
}

_FUNCTION = re.compile(r"^[0-9a-f]+ <([^@]+)>:$")
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s+(.*)$")


def main() -> int:
    """Return the exit status."""
    options = _options()
    interpreter = interpreters.find(options.python)
    with tempfile.TemporaryDirectory() as folder:
        old = _functions(_core_of(options.commit, interpreter, Path(folder) / "old"))
        new = _functions(_core_of(None, interpreter, Path(folder) / "new"))
    if options.show:
        print("\n".join(["--- old", *old[options.show], "--- new", *new[options.show]]))
    renamed: dict[str, str] = {}
    differ = [
        name for name, names in HOT.items() if not _same(_of(old, names), _of(new, names), renamed)
    ]
    for name, names in HOT.items():
        state = "DIFFERS" if name in differ else "the same"
        sizes = f"{len(_of(old, names))} and {len(_of(new, names))} instructions"
        print(f"{name:22} {state:10} {sizes}")
    for before, now in sorted(renamed.items()):
        if before != now:
            print(f"{before} is {now} now")
    both = old.keys() & new.keys()
    same = sum(old[name] == new[name] for name in both)
    print(f"of {len(both)} functions that both have, {same} are the same; ", end="")
    print(f"{len(old)} functions before, {len(new)} now")
    return 1 if differ else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", metavar="COMMIT", help="what the checkout is compared with")
    parser.add_argument("--python", default="3.14", metavar="VERSION")
    parser.add_argument("--show", metavar="FUNCTION", help="print this function of both")
    return parser.parse_args()


def _core_of(commit: str | None, interpreter: Path, folder: Path) -> Path:
    """The core of a commit, or of the checkout, compiled as for a wheel but for its symbols."""
    folder.mkdir(parents=True)
    sources = paths.CHECKOUT
    if commit is not None:
        sources = folder / "sources"
        sources.mkdir()
        archive = folder / "sources.tar"
        git = ("git", "-C", paths.CHECKOUT)
        commands.output(*git, "archive", "--output", archive, commit)
        commands.output("tar", "-xf", archive, "-C", sources)
    commands.say(f"building the core of {commit or 'the checkout'}")
    uv = tools.program("uv")
    commands.output(
        *(uv, "build", "--wheel", "--python", interpreter, "--out-dir", folder),
        *("-C", "install.strip=false", "-C", f"build-dir={folder / 'build'}", sources),
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if Path(name).name.startswith("_core."))
        return Path(wheel.extract(name, folder))


def _functions(library: Path) -> dict[str, list[str]]:
    """Name, without module and compiler's suffix, to instructions."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in commands.output("objdump", "-d", "--no-show-raw-insn", library).splitlines():
        if begin := _FUNCTION.match(line):
            current = found.setdefault(_plain(begin[1]), [])
        elif (instruction := _INSTRUCTION.match(line)) and not _is_padding(instruction[1]):
            current.append(_masked(instruction[1]))
    return found


def _is_padding(instruction: str) -> bool:
    return instruction.startswith(("nop", "xchg   %ax,%ax", "cs nop", "data16"))


def _masked(instruction: str) -> str:
    """Without addresses: what is jumped to or read is its name and the offset in it."""
    text = re.sub(r"-?0x[0-9a-f]+\(%rip\)", "(%rip)", instruction)
    text = re.sub(r"\b[0-9a-f]+ (?=<)", "", text)
    text = text if "# <_fini+" not in text else text[: text.index("#")]  # a constant: no symbol
    return re.sub(
        r"<([^>+]+)(\+0x[0-9a-f]+)?>", lambda match: f"<{_plain(match[1])}{match[2] or ''}>", text
    )


def _plain(symbol: str) -> str:
    name = re.sub(r"\.(constprop|part|isra|cold|lto_priv)(\.\d+)?", "", symbol)
    if mangled := re.fullmatch(r"__pyx_f_(.*)", name):
        name = mangled[1]
        while part := re.match(r"(\d+)", name):
            name = name[len(part[1]) + int(part[1]) + 1 :]
    return name


_NAME = re.compile(r"<([^>+]+)")


def _same(old: list[str], new: list[str], renamed: dict[str, str]) -> bool:
    """Notes what has another name now; one name stands for one name."""
    if [_NAME.sub("<", line) for line in old] != [_NAME.sub("<", line) for line in new]:
        return False
    names = zip(_NAME.findall("\n".join(old)), _NAME.findall("\n".join(new)), strict=True)
    return all(renamed.setdefault(before, now) == now for before, now in names)


def _of(functions: dict[str, list[str]], names: tuple[str, ...]) -> list[str]:
    return next((functions[name] for name in names if name in functions), [])


if __name__ == "__main__":
    with commands.errors_reported():
        sys.exit(main())
