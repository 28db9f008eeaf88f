"""Suspended in machine code that the JIT makes, while the JIT throws it away and makes more.

Needs PYTHON_JIT=1. Prints a JSON object: what sys._jit says, and which functions had an executor while
they were suspended.
"""

import _opcode
import gc
import json
import sys

from members import Crowd, check, live
from stackwarden.adapters.ucontext import Coroutine, suspend


SPIN = """
def spin(turns):
    total = 0
    for turn in range(turns):
        total = step(total)
        suspend(total)
    return total

def step(number):
    return number + 1
"""


def new_spin(names):
    """A function of its own, with a hot loop that is left in the middle, again and again.

    All that are made with the same names rely on the same `step`.
    """
    exec(SPIN, names)
    return names["spin"]


def nested(turns):
    """A hot loop under a C function under a hot loop."""
    seen = []
    for turn in range(turns):
        seen.append(sorted([turn + 1, 0], key=lambda number: number or suspend(turn) or -1)[0])
    return len(seen)


def executors(function):
    """At how many of its instructions a function has machine code."""
    code, found = function.__code__, 0
    for offset in range(0, len(code.co_code), 2):
        try:
            found += _opcode.get_executor(code, offset) is not None
        except (RuntimeError, ValueError):
            continue  # another kind of instruction
    return found


def throw_away(names):
    """Have the JIT drop what it made for functions with these names, and really free it.

    It keeps the last hundred that it dropped.
    """
    others = {"suspend": int}
    hot = [new_spin(others) for _ in range(150)]
    for spin in hot:
        spin(5000)
    assert sum(map(executors, hot)) > 100
    for dropped in (names, others):
        dropped["step"] = lambda number: number + 1
    del hot, others, spin
    gc.collect()


def spin_and_throw_away(size=20, turns=9000):
    """Coroutines are left in hot loops, what they are in is thrown away, and they go on."""
    names = {"suspend": suspend}
    spins = [new_spin(names) for _ in range(size)]
    made = [Coroutine(spin, turns) for spin in spins] + [Coroutine(nested, turns)]
    for _ in range(6000):
        for one in made:
            one.resume()
    left_in = sum(map(executors, spins))
    throw_away(names)
    thrown_away = left_in - sum(map(executors, spins))
    for _ in range(3001):
        for one in made:
            result = one.resume()
            assert not one.done or result == turns
    assert all(one.done for one in made)
    return thrown_away


def main():
    crowd = Crowd(1, 200, isolation="frames")
    crowd.switch(60_000)
    found = {function.__name__: executors(function) for function in (Crowd.switch, live, check)}
    crowd.end()
    found["spin"] = spin_and_throw_away()
    print(json.dumps({"enabled": sys._jit.is_enabled(), "executors": found}))


main()
