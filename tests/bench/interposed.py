"""What a pair of PyGILState_Ensure and _Release costs on the native stack, with interposition and without.

Promises: both take turns; the least of many short measurements each. Prints nanoseconds for a pair, as JSON:
attached already (a nested entry), and detached before and after.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "harness"))

import extensions
import foreign
import stackwarden

ROUNDS = 200
PAIRS = 20_000


def main() -> None:
    module = extensions.load(foreign.build("static"))
    measured = {(on, detached): [] for on in (False, True) for detached in (False, True)}
    for _ in range(ROUNDS):
        for detached in (False, True):
            measured[False, detached].append(module.pairs(PAIRS, detached))
            with stackwarden.interpose():
                measured[True, detached].append(module.pairs(PAIRS, detached))
    names = {False: "bare", True: "interposed"}, {False: "attached", True: "detached"}
    print(
        json.dumps(
            {f"{names[0][on]}, {names[1][how]}": min(of) for (on, how), of in measured.items()}
        )
    )


if __name__ == "__main__":
    main()
