"""What the start of a command costs under `stackwarden exec`, and the library in programs without Python.

Promises: what is compared takes turns; the least of many runs each. Prints milliseconds of wall clock, as JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import stackwarden

STARTS = 40
TURNS = 5
EXEC = (Path(sys.executable).with_name("stackwarden"), "exec", "--")
FUNCTION = "int f%d(int a)\n{\n    int b = a;\n    for (int i = 0; i < a; i++) b = b * %d + i;\n    return b;\n}\n"


def milliseconds_of(command: tuple, environment: dict[str, str]) -> float:
    start = time.perf_counter_ns()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter_ns() - start) / 1e6


def main() -> None:
    plain = dict(os.environ)
    interposed = plain | stackwarden.interposed_environment()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "long.c")
        source.write_text("".join(FUNCTION % (i, i + 3) for i in range(500)))
        long = {
            "gcc": ("gcc", "-O1", "-S", source, "-o", "/dev/null"),
            "perl": (
                "perl",
                "-e",
                "my $s = 0; for my $i (1 .. 25_000_000) { $s += $i % 7 } print $s",
            ),
        }
        commands = {
            "python": (STARTS, (sys.executable, "-c", "pass"), plain),
            "exec true": (STARTS, (*EXEC, "true"), plain),
            "true": (STARTS, ("true",), plain),
            "true, interposed": (STARTS, ("true",), interposed),
        }
        for name, command in long.items():
            commands[name] = (TURNS, command, plain)
            commands[f"{name}, interposed"] = (TURNS, command, interposed)
        least = {name: float("inf") for name in commands}
        for turn in range(STARTS):
            for name, (turns, command, environment) in commands.items():
                if turn < turns:
                    least[name] = min(least[name], milliseconds_of(command, environment))
    print(json.dumps(least))


if __name__ == "__main__":
    main()
