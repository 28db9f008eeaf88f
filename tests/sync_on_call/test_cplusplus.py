"""stackwarden::sync_scope, by itself and as a call guard of pybind11 and of nanobind."""

import sys
from pathlib import Path

import pytest

import extensions
import stackwarden

HERE = Path(__file__).parent
KIB = 1024
SIZE = 192 * KIB
QUICK = ("-O1", "-g0")  # these headers take long


def with_pybind11():
    import pybind11

    return [HERE / "pybind_guards.cpp"], ["-isystem", pybind11.get_include(), *QUICK]


def with_nanobind():
    import nanobind

    folder = Path(nanobind.include_dir()).parent
    sources = [HERE / "nanobind_guards.cpp", folder / "src" / "nb_combined.cpp"]
    includes = [
        "-isystem",
        folder / "include",
        "-isystem",
        folder / "ext" / "robin_map" / "include",
    ]
    return sources, [*includes, *QUICK, "-Wno-error", "-w", "-fno-strict-aliasing"]


@pytest.fixture(scope="module", params=[with_pybind11, with_nanobind])
def guards(request):
    sources, arguments = request.param()
    name = sources[0].stem
    return extensions.load(extensions.build(sources, name, language="c++", args=arguments))


def test_a_guarded_function_runs_with_the_bounds_of_the_stack_it_is_called_on(guards, probe, area):
    base = area(SIZE)
    seen = probe.call_on(base, SIZE, lambda: (guards.base_here(), guards.base_here_guarded()))
    assert seen == (stackwarden.current_stack().base, base)


def test_the_former_bounds_are_effective_again(guards, probe, area, effective_bounds):
    base = area(SIZE)

    def work():
        before = effective_bounds()
        guards.base_here_guarded()
        return before, effective_bounds()

    before, after = probe.call_on(base, SIZE, work)
    assert after == before


def test_python_that_is_called_back_has_them_too(guards, probe, area):
    base = area(SIZE)

    def called_back():
        return stackwarden.current_stack().base

    for call in (guards.call_guarded, guards.call_in_scope):
        assert probe.call_on(base, SIZE, lambda call=call: call(called_back)) == base


def test_an_exception_puts_them_back(guards, probe, area, effective_bounds):
    base = area(SIZE)

    def fail():
        raise KeyError("from inside")

    def work():
        before = effective_bounds()
        for call in (guards.call_guarded, guards.call_in_scope):
            with pytest.raises(KeyError, match="from inside"):
                call(fail)
        return before == effective_bounds()

    assert probe.call_on(base, SIZE, work)


def test_guards_inside_one_another_on_three_unknown_stacks(guards, probe, area):
    bases = [area(SIZE) for _ in range(3)]

    def descend(level):
        here = stackwarden.current_stack().base
        if level == 3:
            return [here]
        inner = probe.call_on(
            bases[level], SIZE, lambda: guards.call_guarded(lambda: descend(level + 1))
        )
        return [here, *inner, stackwarden.current_stack().base]

    native = stackwarden.current_stack().base
    a, b, c = bases
    assert descend(0) == [native, a, b, c, b, a, native]


def test_a_guarded_function_that_switches_stacks_comes_back_with_the_right_bounds(
    guards, probe, area, effective_bounds
):
    base = area(SIZE)
    native = effective_bounds()

    def go_and_forget_to_come_back():
        return probe.call_on(base, SIZE, lambda: stackwarden.sync_stack().base)

    assert guards.call_guarded(go_and_forget_to_come_back) == base
    assert stackwarden.current_stack().bounds_from == "native"
    if sys.version_info >= (3, 14):
        assert effective_bounds() == native


def test_on_the_native_stack_a_guard_changes_nothing(guards, effective_bounds):
    native = stackwarden.current_stack()
    before = native.switches
    assert guards.base_here_guarded() == native.base
    assert guards.call_in_scope(lambda: stackwarden.current_stack()) == native
    assert native.switches == before
