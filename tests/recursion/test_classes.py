"""Each runaway recursion ends in the class that it should: on native and foreign stacks, on every version."""

import json
import sys
import textwrap

import pytest

VERSION = sys.version_info[:2]
EACH = ("add", "repr", "sorted", "json", "deepcopy", "pickle")
SMALL, LARGE, NATIVE = "256 KiB", "1 MiB", "native"

RUN = """
    import json, sys, threading
    import stackwarden
    from stackwarden.adapters.ucontext import Coroutine
    from stackwarden.testing import workloads
    from stackwarden.testing.child import in_thread

    class Work(Exception): pass

    nested, text = workloads._nested_list(), "[" * 200_000
    WORK = {
        "add": lambda: workloads._Adder() + 1,
        "repr": lambda: repr(nested),
        "sorted": lambda: sorted([workloads._Key(), workloads._Key()], key=workloads._same),
        "json": lambda: json.loads(text),
        "deepcopy": lambda: workloads.copy.deepcopy(nested),
        "pickle": lambda: workloads.pickle.dumps(nested),
    }
    PLACES = {
        "256 KiB": lambda function: Coroutine(function, stack_size=256 << 10).resume(),
        "1 MiB": lambda function: Coroutine(function, stack_size=1 << 20).resume(),
        "native": in_thread,
    }
    threading.stack_size(8 << 20)

    def ends(work):
        seen = []
        for _ in range(2):  # the first must leave the stack usable
            try:
                with stackwarden.precise_recursion_errors():
                    WORK[work]()
            except stackwarden.StackOverflow as error:
                seen.append("StackOverflow")
            except stackwarden.RecursionOverflow as error:
                seen.append("RecursionOverflow")
            except RecursionError as error:
                seen.append(f"{error!r}")
        return seen
"""


@pytest.fixture
def run(child):
    def run(program):
        return json.loads(child(textwrap.dedent(RUN) + textwrap.dedent(program)).stdout)

    return run


def expected(work, place):
    """With the default limit of 1,000 what ends first depends on the version."""
    if VERSION == (3, 11):  # one counter: of the user's limit, or of what the stack has room for
        return "RecursionOverflow" if place == NATIVE else "StackOverflow"
    if work == "deepcopy":  # Python calls alone
        return "RecursionOverflow"
    if work in ("add", "sorted") and VERSION >= (3, 13) and place == NATIVE:
        return "RecursionOverflow"
    if work == "add" and VERSION >= (3, 15) and place == LARGE:  # 1,000 levels fit
        return "RecursionOverflow"
    return "StackOverflow"


def is_covered(work, place):
    """docs/limits.md: on 3.11 recursion through sorted() overruns stacks of 256 KiB."""
    return not (VERSION == (3, 11) and work == "sorted" and place == SMALL)


@pytest.mark.parametrize("place", [SMALL, LARGE, NATIVE])
def test_with_the_default_limit_it_is_what_ends_first(run, place):
    works = [work for work in EACH if is_covered(work, place)]
    seen = run(f"""
        print(json.dumps({{work: PLACES[{place!r}](lambda: ends(work)) for work in {works}}}))
    """)
    assert seen == {work: [expected(work, place)] * 2 for work in works}


@pytest.mark.parametrize("place", [SMALL, LARGE, NATIVE])
def test_with_the_limit_out_of_the_way_it_is_the_stack(run, place):
    """PEP 651's second program. Where CPython counts, it lets native stacks overrun: a budget helps."""
    works = [work for work in EACH if is_covered(work, place) and work != "deepcopy"]
    seen = run(f"""
        def bounded(work):
            with stackwarden.stack_budget(stackwarden.stack_remaining()):
                return ends(work)

        sys.setrecursionlimit(10**6)
        run = bounded if {VERSION} < (3, 14) and {place!r} == "native" else ends
        print(json.dumps({{work: PLACES[{place!r}](lambda: run(work)) for work in {works}}}))
    """)
    assert seen == {work: ["StackOverflow"] * 2 for work in works}


@pytest.mark.skipif(
    VERSION < (3, 12), reason="there Python calls count as C calls do: call_on_stack"
)
@pytest.mark.parametrize("place", [SMALL, LARGE, NATIVE])
def test_python_calls_alone_go_as_deep_as_they_like(run, place):
    """PEP 651's first program."""
    assert (
        run(f"""
        def count(levels):
            return 0 if levels == 0 else 1 + count(levels - 1)

        sys.setrecursionlimit(10**6)
        print(json.dumps(PLACES[{place!r}](lambda: count(100_000))))
    """)
        == 100_000
    )


@pytest.mark.skipif(
    VERSION < (3, 14), reason="there the parser has a limit of its own: docs/limits.md"
)
def test_so_does_a_source_that_is_too_deep_for_the_parser(run):
    seen = run("""
        WORK["parser"] = lambda: compile("-" * 100_000 + "1", "", "eval")
        WORK["compiler"] = lambda: compile("+".join("1" * 100_000), "", "eval")
        print(json.dumps([run(lambda: ends(work)) for work in ("parser", "compiler") for run in PLACES.values()]))
    """)
    assert seen == [["StackOverflow"] * 2] * 6
