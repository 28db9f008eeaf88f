"""Each refusal has its own exception class, with the numbers in the message, and changes nothing."""

import re

import pytest

import stackwarden

KIB = 1024
MIB = 1024 * KIB
LEAST = stackwarden.status()["least_stack_size"]
END = 2**48

MALFORMED = {
    "no size": (MIB, 0, stackwarden.StackRangeError),
    "negative size": (MIB, -MIB, stackwarden.StackRangeError),
    "base zero": (0, MIB, stackwarden.StackRangeError),
    "negative base": (-MIB, MIB, stackwarden.StackRangeError),
    "base beyond 64 bits": (2**64, MIB, stackwarden.StackRangeError),
    "size beyond 64 bits": (MIB, 2**64 + MIB, stackwarden.StackRangeError),
    "size of 64 bits": (MIB, 2**64 - 16, stackwarden.StackRangeError),
    "a sum that wraps": (2**64 - MIB, 2 * MIB, stackwarden.StackRangeError),
    "a sum that wraps to zero": (2**64 - MIB, MIB, stackwarden.StackRangeError),
    "beyond 2**48": (END - MIB, MIB + 16, stackwarden.StackRangeError),
    "unaligned base": (MIB + 8, MIB, stackwarden.UnalignedStackError),
    "unaligned size": (MIB, MIB + 1, stackwarden.UnalignedStackError),
}
WAYS = {"notify": stackwarden.notify_stack_switch, "register": stackwarden.register_stack}


def numbers_of(base, size):
    """The numbers as they stand in a message, for a regular expression."""
    return rf"({base}|{base:#x})\b.*[ ]{size} bytes"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_range_is_refused_with_its_numbers(way, case):
    base, size, refusal = MALFORMED[case]
    with pytest.raises(refusal, match=numbers_of(base, size)) as caught:
        WAYS[way](base, size)
    assert type(caught.value) is refusal


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.usefixtures("unchecked")
def test_a_malformed_range_changes_nothing(everything, new_stack, way, case):
    base, size, refusal = MALFORMED[case]
    stack = new_stack()
    stackwarden.notify_stack_switch(stack.base, stack.size)
    before = everything()
    with pytest.raises(refusal):
        WAYS[way](base, size)
    assert everything() == before


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "values",
    [("1", MIB), (MIB, "1"), (None, MIB), (1.5, MIB), (MIB, 2.5), (True, MIB), (MIB, False)],
)
def test_what_is_no_integer_is_a_type_error_with_its_name(everything, way, values):
    before = everything()
    wrong = values[0] if values[1] is MIB else values[1]
    name = "base" if values[1] is MIB else "size"
    with pytest.raises(TypeError, match=rf"^{name} must be an int, not .*: {wrong!r}$"):
        WAYS[way](*values)
    assert everything() == before


def test_classes_are_what_callers_may_expect():
    for name in ("StackRange", "UnalignedStack", "UnmappedStack", "StackTooSmall", "StackOverlap"):
        refusal = getattr(stackwarden, f"{name}Error")
        assert issubclass(refusal, stackwarden.StackwardenError)
        assert issubclass(refusal, ValueError)
    for name in ("StackInUse", "StaleStack", "Callback", "NotRunning"):
        refusal = getattr(stackwarden, f"{name}Error")
        assert issubclass(refusal, stackwarden.StackwardenError)
        assert issubclass(refusal, RuntimeError)
    assert issubclass(stackwarden.RegistryFullError, MemoryError)
    assert issubclass(stackwarden.MechanismError, ImportError)


# ---- memory ----


def test_memory_that_is_not_mapped_is_refused(probe, memory, everything):
    base = memory(2 * MIB)
    probe.unmap_memory(base + MIB, 4 * KIB)
    before = everything()
    for start, size in [(base + MIB, 4 * KIB * 16), (base, 2 * MIB), (base + MIB - 48 * KIB, MIB)]:
        with pytest.raises(stackwarden.UnmappedStackError, match=numbers_of(start, size)):
            stackwarden.register_stack(start, size)
    assert everything() == before


def test_trimming_memory_that_cannot_be_read_at_all_is_refused(probe, memory, everything):
    base = memory()
    probe.forbid(base, MIB)
    before = everything()
    with pytest.raises(stackwarden.UnmappedStackError, match=numbers_of(base, MIB)):
        stackwarden.register_stack(base, MIB, trim_guard=True)
    assert everything() == before


# ---- size ----


@pytest.mark.parametrize("size", [16, 4 * KIB, LEAST - 16])
def test_registering_too_small_a_stack_is_refused(memory, everything, size):
    base = memory()
    before = everything()
    match = rf"{numbers_of(base, size)}.*at least {LEAST} bytes"
    with pytest.raises(stackwarden.StackTooSmallError, match=match):
        stackwarden.register_stack(base, size)
    assert everything() == before


def test_what_trimming_leaves_may_be_too_small(probe, memory, everything):
    base = memory()
    probe.forbid(base, MIB - LEAST + 4 * KIB)
    before = everything()
    left = LEAST - 4 * KIB
    with pytest.raises(stackwarden.StackTooSmallError, match=numbers_of(base + MIB - left, left)):
        stackwarden.register_stack(base, MIB, trim_guard=True)
    assert everything() == before


def test_the_least_size_is_accepted(capi, memory):
    assert capi.attached.register(memory(), LEAST)[0] == capi.DONE
    assert capi.attached.notify(memory(), LEAST) == capi.DONE


@pytest.mark.parametrize("size", [16, 4 * KIB, LEAST - 16])
@pytest.mark.parametrize("left", ["native", "registered", "transient"])
@pytest.mark.usefixtures("unchecked")
def test_a_current_stack_that_is_too_small_gets_the_policy_for_unknown_stacks(
    memory, new_stack, effective_bounds, size, left
):
    if left != "native":
        stack = new_stack()
        stackwarden.notify_stack_switch(stack.base, MIB // (2 if left == "transient" else 1))
    former, bounds = stackwarden.current_stack(), effective_bounds()
    base = memory()
    match = rf"{numbers_of(base, size)}.*at least {LEAST} bytes"
    with pytest.raises(stackwarden.StackTooSmallError, match=match):
        stackwarden.notify_stack_switch(base, size)
    now = stackwarden.current_stack()
    assert now != former
    assert (now.policy, now.bounds_from) == ("estimate", "estimate")
    assert now.base < base + size <= now.top
    assert effective_bounds() != bounds


def test_a_small_stack_near_address_zero_is_refused_without_wrapping(everything):
    before = everything()
    with pytest.raises(stackwarden.StackwardenError):
        stackwarden.notify_stack_switch(16, 16)
    now = stackwarden.current_stack()
    assert now.base < now.top < END
    stackwarden.reset_stack()
    assert everything()[2:] == before[2:]


# ---- overlap ----

PARTS = {
    "all of it": (0, MIB),
    "its low end": (-MIB // 2, MIB // 2 + 16),
    "its high end": (MIB - 16, MIB),
    "its middle": (MIB // 4, MIB // 2),
    "more than it": (-MIB // 2, 2 * MIB),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", ["registered", "transient"])
def test_overlapping_a_stack_that_is_current_on_another_thread_is_refused(
    companion, everything, memory, kind, part
):
    base = memory(3 * MIB) + MIB
    if kind == "registered":
        stackwarden.register_stack(base, MIB)
    companion(stackwarden.notify_stack_switch, base, MIB)
    before = everything()
    offset, size = PARTS[part]
    ways = dict(WAYS)
    if (kind, part) == ("registered", "all of it"):
        del ways["notify"]  # it uses the record: the stack came over from the other thread
    for way in ways.values():
        with pytest.raises(stackwarden.StackOverlapError, match=numbers_of(base + offset, size)):
            way(base + offset, size)
        assert everything() == before
    companion(stackwarden.reset_stack)
    stackwarden.notify_stack_switch(base + offset, size)


def test_overlapping_the_stack_that_is_current_here_is_refused_when_registering(memory, everything):
    base = memory()
    stackwarden.notify_stack_switch(base, MIB)
    before = everything()
    with pytest.raises(stackwarden.StackOverlapError):
        stackwarden.register_stack(base, MIB)
    assert everything() == before


@pytest.mark.parametrize("whose", ["own", "another's"])
def test_overlapping_a_native_stack_is_refused(companion, everything, whose):
    native = stackwarden.current_stack() if whose == "own" else companion(stackwarden.current_stack)
    before = everything()
    start, size = native.top - 64 * KIB, 64 * KIB
    for way in WAYS.values():
        with pytest.raises(stackwarden.StackOverlapError, match=numbers_of(start, size)):
            way(start, size)
        assert everything() == before


def test_telling_again_checks_what_other_threads_told_meanwhile(companion, memory):
    base = memory()
    stackwarden.notify_stack_switch(base, MIB)
    stackwarden.reset_stack()
    companion(stackwarden.notify_stack_switch, base, MIB)
    with pytest.raises(stackwarden.StackOverlapError):
        stackwarden.notify_stack_switch(base, MIB)


# ---- unregistering ----


def test_unregistering_a_stack_that_is_current_is_refused(companion, everything, new_stack):
    stack = new_stack(name="busy")
    for tell in (stackwarden.notify_stack_switch, lambda *r: companion(lambda: tell_there(*r))):

        def tell_there(*stack_range):
            stackwarden.notify_stack_switch(*stack_range)

        tell(stack.base, stack.size)
        before = everything()
        with pytest.raises(
            stackwarden.StackInUseError, match="busy.*" + re.escape(hex(stack.base))
        ):
            stack.unregister()
        assert everything() == before
        stackwarden.reset_stack()
    companion(stackwarden.reset_stack)
    stack.unregister()


def test_native_and_transient_stacks_cannot_be_unregistered(memory, everything):
    stacks = [stackwarden.current_stack(), stackwarden.notify_stack_switch(memory(), MIB)]
    stackwarden.reset_stack()
    before = everything()
    for stack in stacks:
        with pytest.raises(stackwarden.StackInUseError):
            stack.unregister()
    assert everything() == before


def test_unregistering_twice_is_refused(everything, new_stack):
    stack = new_stack(name="gone")
    stack.unregister()
    before = everything()
    with pytest.raises(stackwarden.StaleStackError, match="gone.*" + re.escape(hex(stack.base))):
        stack.unregister()
    assert everything() == before


# ---- the same in C: a status, and no exception ----

C_WAYS = ("attached", "detached", "raising", "thread")


@pytest.mark.parametrize("how", C_WAYS)
@pytest.mark.usefixtures("unchecked")
def test_c_refuses_malformed_ranges_with_a_status(capi, everything, new_stack, how):
    calls = getattr(capi, how)
    expected = {
        stackwarden.StackRangeError: capi.BAD_RANGE,
        stackwarden.UnalignedStackError: capi.UNALIGNED,
    }
    stack = new_stack()
    stackwarden.notify_stack_switch(stack.base, stack.size)
    before = everything()
    for base, size, refusal in MALFORMED.values():
        if 0 <= base < 2**64 and 0 <= size < 2**64:
            assert calls.notify(base, size) == expected[refusal]
            assert calls.register(base, size) == (expected[refusal], capi.UNTOUCHED)
    assert everything() == before


@pytest.mark.parametrize("how", C_WAYS)
def test_c_refuses_the_rest_with_a_status_each(capi, companion, probe, memory, everything, how):
    calls, base = getattr(capi, how), memory(4 * MIB)
    _, busy = capi.attached.register(base, MIB)
    _, gone = capi.attached.register(base + MIB, MIB)
    capi.attached.unregister(gone)
    companion(capi.attached.switch_to, busy)
    probe.forbid(base + 2 * MIB, MIB)
    before = everything()
    assert calls.register(base + 3 * MIB, LEAST - 16) == (capi.TOO_SMALL, capi.UNTOUCHED)
    assert calls.register(base + 16, MIB) == (capi.OVERLAP, capi.UNTOUCHED)
    assert calls.register(base + 2 * MIB, MIB, None, None, capi.TRIM_GUARD) == (
        capi.UNMAPPED,
        capi.UNTOUCHED,
    )
    assert calls.notify(base + 16, MIB) == capi.OVERLAP
    assert calls.unregister(busy) == capi.IN_USE
    assert calls.unregister(gone) == capi.STALE_HANDLE
    assert calls.switch_to(gone) == capi.STALE_HANDLE
    for never in (0, 1, 2**32, 2**64 - 1, busy + 2**32, busy + 2**33):
        assert calls.switch_to(never) == capi.STALE_HANDLE
        assert calls.unregister(never) == capi.STALE_HANDLE
    assert everything() == before


@pytest.mark.parametrize("how", ["attached", "detached", "raising"])
def test_c_applies_the_policy_for_unknown_stacks(capi, new_stack, memory, effective_bounds, how):
    calls, stack = getattr(capi, how), new_stack()
    capi.attached.switch_to(stack.handle)
    bounds = effective_bounds()
    assert calls.notify(memory(), 4 * KIB) == capi.TOO_SMALL
    assert stackwarden.current_stack().policy == "estimate"
    assert effective_bounds() != bounds
