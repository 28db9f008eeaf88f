"""A program in which coroutines of foreign.py park in the middle of Python and go on in any order:
without isolation it dies on every CPython."""

# Every coroutine parks in the middle of Python, and they go on in any order.
INTERLEAVED = """
import contextvars, random
variable = contextvars.ContextVar("variable")
checks = {checks}

def sums(number):
    total = 0
    for _ in range(50):
        foreign.park({detached})
        total += number
        assert not checks or variable.get(number) == number
    return total

# Frames of many shapes: what overwrites one of another shape is not harmless by luck.
def make_task(number):
    names = [f"v{i}" for i in range(5 * number)]
    lines = [f"{name} = [number]" for name in names] + [
        "foreign.park({detached})",
        "total = task(depth - 1) if depth else sums(number)",
        "foreign.park({detached})",
        f"return total + sum(map(sum, [{', '.join(names)}]))",
    ]
    scope = globals() | {"number": number}
    exec("def task(depth):\\n " + "\\n ".join(lines), scope)
    return scope["task"]

def handles(number):
    variable.set(number)
    try:
        raise KeyError(number)
    except KeyError as error:
        total = make_task(number)(3)
        assert not checks or sys.exc_info()[1] is error
    return total + sum(value for value in [sums(number)])

def work():
    random.seed(1)
    crowd = [foreign.make(lambda n=n: handles(n), enters={enters!r}) for n in range(20)]
    waiting = list(crowd)
    while waiting:
        random.shuffle(waiting)
        waiting = [coroutine for coroutine in waiting if not foreign.resume(coroutine, {detached})]
    expected = [100 * number + 4 * 5 * number * number for number in range(20)]
    assert [foreign.result(one) for one in crowd] == expected
    assert variable.get(None) is None

"""


def interleaved(enters, detached, checks):
    program = INTERLEAVED.replace("{detached}", str(detached)).replace("{enters!r}", repr(enters))
    return program.replace("{checks}", str(checks))


ENDED_WELL = """
assert workloads.add() == "RecursionError" and workloads.containers() == "freed"
status = stackwarden.status()
assert status["refused_switches"] == status["leaked_stacks"] == status["dropped_states"] == 0
interposition.undo()
"""
