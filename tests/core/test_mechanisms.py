"""STACKWARDEN_MECHANISM and STACKWARDEN_PROBE: what each value comes to on each version, and that it protects."""

import json
import sys

import pytest

VERSION = sys.version_info[:2]
OWN = {(3, 11): "combined-counter", (3, 12): "counter", (3, 13): "counter"}.get(VERSION, "pointer")
MECHANISMS = ("none", "pointer", "setter", "counter", "combined-counter")
WORKS = {"none", OWN} | ({"setter"} if OWN == "pointer" else set())

STATUS = """
    import json, stackwarden
    print(json.dumps(stackwarden.status()))
"""
REFUSED = """
    try:
        import stackwarden
    except ImportError as error:
        from stackwarden.errors import MechanismError  # the package is there, the core refused
        print(type(error).__name__, isinstance(error, MechanismError), error)
"""
RUNAWAY = """
    import sys
    import stackwarden, capi_probe as probe

    probe.import_table()
    SIZE = int(sys.argv[1]) * 1024
    base = probe.map_memory(SIZE + 4096)
    probe.forbid(base, 4096)
    base += 4096

    class Endless:
        def __add__(self, other):
            return self + other

    def run_away():
        stackwarden.notify_stack_switch(base, SIZE)
        for _ in range(3):
            try:
                Endless() + 1
            except RecursionError:
                print("RecursionError")
        stackwarden.reset_stack()

    probe.call_on(base, SIZE, run_away)
    try:
        Endless() + 1
    except RecursionError:
        print("RecursionError")
"""
BOUNDS = """
    import json
    import stackwarden, capi, cpython_bounds, capi_probe as probe

    probe.import_table()
    MIB = 1 << 20
    base = probe.map_memory(4 * MIB)
    stack = stackwarden.register_stack(base, MIB)
    seen = []

    def look(name, offset):
        bounds = cpython_bounds.read()
        seen.append((name, bounds if "remaining" in bounds else {k: v - offset for k, v in bounds.items()}))

    def assert_restored():
        # The calls that tell differ in depth here, which counters (3.11 to 3.13) see.
        slack = 8 if "remaining" in native else 0
        assert all(abs(v - native[k]) <= slack for k, v in cpython_bounds.read().items())

    native = cpython_bounds.read()
    stackwarden.notify_stack_switch(base, MIB)
    look("registered", base)
    stackwarden.notify_stack_switch(base + MIB, 2 * MIB)
    look("transient", base)
    capi.detached.switch_to(stack.handle)
    look("detached", base)
    stackwarden.reset_stack()
    assert_restored()
    try:
        stackwarden.notify_stack_switch(base + 3 * MIB, 16 * 1024)
    except stackwarden.StackTooSmallError:
        look("too small", base)
    assert stackwarden.sync_stack().bounds_from == "native"
    assert_restored()

    def on_the_stack():
        stackwarden.sync_stack()
        look("synced", base)

    probe.call_on(base, MIB, on_the_stack)
    stackwarden.reset_stack()
    assert_restored()
    print(json.dumps(seen))
"""


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_forced_mechanism_works_or_is_an_error_at_import(child, mechanism):
    program = STATUS if mechanism in WORKS else REFUSED
    done = child(program, STACKWARDEN_MECHANISM=mechanism)
    if mechanism in WORKS:
        assert json.loads(done.stdout)["mechanism"] == mechanism
    else:
        assert done.stdout.startswith("MechanismError True")
        assert f"STACKWARDEN_MECHANISM={mechanism} cannot work here: " in done.stdout


@pytest.mark.parametrize("variable", ["STACKWARDEN_MECHANISM", "STACKWARDEN_PROBE"])
def test_a_word_that_is_none_of_them_is_an_error_that_lists_them(child, variable):
    done = child(REFUSED, **{variable: "magic"})
    assert f"{variable}=magic: must be one of " in done.stdout
    assert "on" in done.stdout


@pytest.mark.parametrize("variable", ["STACKWARDEN_MECHANISM", "STACKWARDEN_PROBE"])
def test_an_empty_variable_is_as_none(child, variable):
    done = child(STATUS, **{variable: ""})
    assert json.loads(done.stdout)["mechanism"] == OWN


def test_a_failed_import_may_be_tried_again(child):
    done = child("""
        import os, sys
        os.environ["STACKWARDEN_MECHANISM"] = "magic"
        try:
            import stackwarden
        except ImportError:
            del os.environ["STACKWARDEN_MECHANISM"]
        import stackwarden
        stackwarden.sync_stack()
        print(stackwarden.status()["mechanism"])
    """)
    assert done.stdout == f"{OWN}\n"


PROBES = {
    "on": (OWN, None),
    "observe": (OWN, None),
    "off": ("setter" if OWN == "pointer" else "none", "STACKWARDEN_PROBE=off"),
}


@pytest.mark.parametrize("probe_word", PROBES)
def test_the_probe_decides_what_is_found(child, probe_word):
    status = json.loads(child(STATUS, STACKWARDEN_PROBE=probe_word).stdout)
    mechanism, reason = PROBES[probe_word]
    assert status["mechanism"] == mechanism
    assert (reason or "") in (status["reason"] or "")
    assert (status["reason"] is None) is (reason is None)
    if mechanism != "none":
        assert status["least_stack_size"] == 48 * 1024


def test_without_the_probe_the_mechanism_that_needs_it_cannot_be_forced(child):
    done = child(REFUSED, STACKWARDEN_PROBE="off", STACKWARDEN_MECHANISM=OWN)
    assert f"STACKWARDEN_MECHANISM={OWN} cannot work here: " in done.stdout
    assert "STACKWARDEN_PROBE=off" in done.stdout


PROTECTING = [{"STACKWARDEN_MECHANISM": m} for m in sorted(WORKS - {"none"})]
PROTECTING += [{"STACKWARDEN_PROBE": "observe"}]
PROTECTING += [{"STACKWARDEN_PROBE": "off"}] if OWN == "pointer" else []


@pytest.mark.parametrize("kib", [256, 1024])
@pytest.mark.parametrize("variables", PROTECTING, ids=lambda v: "=".join(*v.items()))
def test_each_mechanism_protects(child, variables, kib):
    done = child(RUNAWAY, arguments=[str(kib)], **variables)
    assert done.stdout == "RecursionError\n" * 4


def test_without_a_mechanism_the_same_program_dies(child):
    """The twin: 256 KiB are overrun on every version."""
    child(RUNAWAY, ends=-11, arguments=["256"], STACKWARDEN_MECHANISM="none")


@pytest.mark.parametrize("variables", PROTECTING, ids=lambda v: "=".join(*v.items()))
@pytest.mark.usefixtures("unchecked")
def test_each_mechanism_applies_the_same_bounds(child, variables):
    ours, others = child(BOUNDS), child(BOUNDS, **variables)
    assert json.loads(others.stdout) == json.loads(ours.stdout)


@pytest.mark.usefixtures("unchecked")
def test_without_a_mechanism_nothing_is_written(child):
    done = child(BOUNDS.replace("- offset", ""), STACKWARDEN_MECHANISM="none")
    values = [tuple(bounds.values()) for _, bounds in json.loads(done.stdout)]
    if OWN == "pointer":
        assert len(set(values)) == 1
    else:
        assert all(max(value) - min(value) <= 8 for value in zip(*values, strict=True))


if OWN == "pointer":

    @pytest.mark.parametrize("mechanism", ["pointer", "setter"])
    def test_sync_mends_what_others_set(child, mechanism):
        done = child(
            """
            import stackwarden, cpython_bounds, capi_probe as probe

            probe.import_table()
            base, before = probe.map_memory(1 << 20), cpython_bounds.read()
            probe.set_protection(base, 1 << 20)
            assert cpython_bounds.read() != before
            stackwarden.sync_stack()
            assert cpython_bounds.read() == before
            print("done")
            """,
            STACKWARDEN_MECHANISM=mechanism,
        )
        assert done.stdout == "done\n"

    @pytest.mark.parametrize("mechanism", ["pointer", "setter"])
    def test_what_a_thread_told_before_it_attached_applies_at_its_first_sync(child, mechanism):
        done = child(
            """
            import stackwarden, cpython_bounds, capi_probe as probe

            probe.import_table()
            base = probe.map_memory(1 << 20)

            def ask():
                stackwarden.sync_stack()
                return cpython_bounds.read()["top"] == base + (1 << 20)

            print(probe.call_in_told_thread(base, 1 << 20, ask))
            """,
            STACKWARDEN_MECHANISM=mechanism,
        )
        assert done.stdout == "(0, True)\n"

    def test_a_size_that_the_setter_would_refuse_never_reaches_it(child):
        """Refusing raises, and raising while detached is a SIGSEGV."""
        done = child(
            """
            import stackwarden, capi, cpython_bounds, capi_probe as probe

            probe.import_table()
            base = probe.map_memory(1 << 20)
            for calls in (capi.attached, capi.detached, capi.raising, capi.thread):
                print(calls.notify(base, 16 * 1024), calls.reset())
            """,
            STACKWARDEN_MECHANISM="setter",
        )
        assert done.stdout == "-8 0\n" * 4
