"""Suspended in machine code that the JIT makes, while the JIT throws it away and makes more.

Needs PYTHON_JIT=1. Prints a JSON object: what sys._jit says, and which functions had an executor while
they were suspended.
"""

import _opcode
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
    """Have the JIT drop what it made for functions with these names, and free it."""
    names["step"] = lambda number: number + 1
    others = {"suspend": int}
    for _ in range(1200):
        new_spin(others)(5000)
    others.clear()


def spin_and_throw_away(size=20, hot=9000):
    """Coroutines are left in hot loops, what they are in is thrown away, and they go on."""
    names = {"suspend": suspend}
    spins = [new_spin(names) for _ in range(size)]
    made = [Coroutine(spin, hot + 100) for spin in spins] + [Coroutine(nested, hot + 100)]
    for one in made:
        for _ in range(hot):
            one.resume()
    left_in = sum(map(executors, spins))
    throw_away(names)
    thrown_away = left_in - sum(map(executors, spins))
    for _ in range(101):
        for one in made:
            result = one.resume()
            assert not one.done or result == hot + 100
    assert all(one.done for one in made)
    return thrown_away


def main():
    crowd = Crowd(1, 200, isolation="frames")
    crowd.switch(60_000)
    found = {function.__name__: executors(function) for function in (Crowd.switch, live, check)}
    crowd.end()
    found["spin"] = min(spin_and_throw_away() for _ in range(2))
    print(json.dumps({"enabled": sys._jit.is_enabled(), "executors": found}))


main()
