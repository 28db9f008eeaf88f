"""Lookups are right while other threads register and unregister; many stacks; several threads that switch."""

import threading

import pytest

import stackwarden

KIB = 1024
STRIDE = 80 * KIB  # so that neighbours share granules of 64 KiB, and none is aligned to one
PLACES = 64
FOREVER = 1 << 62


@pytest.fixture
def at_once(probe):
    """at_once(seconds, *functions): call them at once in threads, stop their loops, return results."""

    def run(seconds, *functions):
        results = {}

        def work(number, function):
            results[number] = function()

        threads = [threading.Thread(target=work, args=pair) for pair in enumerate(functions)]
        probe.stop(False)
        timer = threading.Timer(seconds, probe.stop, [True])
        for thread in [*threads, timer]:
            thread.start()
        for thread in threads:
            thread.join()
        timer.cancel()
        timer.join()
        return [results[number] for number in range(len(functions))]

    return run


def test_no_lookup_is_wrong_while_two_threads_register_and_unregister(probe, capi, memory, at_once):
    region = memory(STRIDE * (2 * PLACES + 1))
    status, kept = capi.attached.register(region, STRIDE)
    assert status == capi.DONE

    def churn(number):
        first = region + number * STRIDE
        return probe.churn(first, PLACES, 2 * STRIDE, 48 * KIB, STRIDE, number, FOREVER)

    def look_up(seed):
        return probe.look_up(region, STRIDE * (2 * PLACES + 1), STRIDE, region, kept, seed)

    refused_1, refused_2, *lookups = at_once(
        3, lambda: churn(1), lambda: churn(2), lambda: look_up(3), lambda: look_up(4)
    )
    assert (refused_1, refused_2) == (0, 0)
    for tried, found, wrong in lookups:
        assert wrong == 0
        assert 0 < found < tried
    assert stackwarden.status()["registered"] == 1


def test_no_lookup_is_wrong_where_one_record_is_used_over_and_over(probe, capi, memory, at_once):
    region = memory(3 * STRIDE)
    _, kept = capi.attached.register(region, STRIDE)
    refused, (_, found, wrong) = at_once(
        3,
        lambda: probe.churn(region + STRIDE, 1, STRIDE, 48 * KIB, STRIDE, 1, FOREVER),
        lambda: probe.look_up(region, 3 * STRIDE, STRIDE, region, kept, 2),
    )
    assert (refused, wrong) == (0, 0)
    assert found > 0


def test_stacks_that_give_way_to_what_is_told_leave_the_index_whole(child):
    """Records are retired without a lock while others register in the same granule of 64 KiB."""
    done = child(
        """
        import threading
        import stackwarden, capi, capi_probe as probe

        probe.import_table()
        KIB, FOREVER = 1024, 1 << 62
        granule = probe.map_memory(1024 * KIB) + 256 * KIB & ~0xFFFF
        kept = [granule - 60 * KIB, granule + 60 * KIB]
        handles = [capi.attached.register(base, 64 * KIB)[1] for base in kept]
        wrong = []
        threads = [
            threading.Thread(target=lambda f=f, a=a: wrong.append(f(*a)))
            for f, a in [
                (probe.tell_over, (granule + 4 * KIB, 50 * KIB, FOREVER)),
                (probe.register_stale, (granule + 8 * KIB, 48 * KIB, FOREVER)),
                (probe.register_stale, (granule + 6 * KIB, 50 * KIB, FOREVER)),
                (probe.register_stale, (granule + 10 * KIB, 48 * KIB, FOREVER)),
            ]
        ]
        threading.Timer(6, probe.stop, [True]).start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [capi.attached.find(base).handle for base in kept] == handles
        print(wrong)
    """,
        seconds=60,
    )
    assert done.stdout == "[0, 0, 0, 0]\n"


def test_retiring_never_takes_another_stack_for_the_one_that_gives_way(probe, memory, at_once):
    """Here a record is retired by telling, and at once used for a stack elsewhere."""
    region, told = memory(PLACES * STRIDE), memory(4 * STRIDE)
    assert at_once(
        3,
        lambda: probe.churn(region, 2, STRIDE, 48 * KIB, STRIDE, 1, FOREVER),
        lambda: probe.tell_over(told, STRIDE, FOREVER),
        lambda: probe.register_stale(told + KIB, STRIDE - KIB, FOREVER),
    ) == [0, 0, 0]


@pytest.mark.usefixtures("unchecked")
def test_threads_switch_among_many_stacks_at_once(probe, at_once, memory):
    def work():
        base = memory(64 * 256 * KIB)
        stacks = [stackwarden.register_stack(base + i * 256 * KIB, 256 * KIB) for i in range(64)]
        wrong = probe.switch_among([stack.handle for stack in stacks], 200_000)
        switches = sum(stack.switches for stack in stacks)
        for stack in stacks:
            stack.unregister()
        return wrong, switches

    assert at_once(20, *[work] * 6) == [(0, 200_000)] * 6


@pytest.mark.parametrize("stride", [64 * KIB, 48 * KIB + 16])
def test_many_stacks_side_by_side_are_all_found(probe, stride):
    """No memory lies behind these addresses: in C the caller answers for it."""
    count = 100_000
    assert probe.register_many(1 << 44, count, stride, 48 * KIB) == (count, count, count)


@pytest.mark.slow
def test_a_million_stacks(probe):
    count = 1_000_000
    assert probe.register_many(1 << 44, count, 64 * KIB, 48 * KIB) == (count, count, count)
    assert stackwarden.status()["registered"] == 0


@pytest.mark.slow
def test_more_than_two_million_records_are_refused(child):
    done = child("""
        import stackwarden, capi, capi_probe as probe

        probe.import_table()
        count = 2**21 + 8
        made, _, gone = probe.register_many(1 << 44, count, 64 * 1024, 48 * 1024)
        assert made == gone == 2**21 - 1, (made, gone)
        assert capi.attached.register(1 << 43, 1 << 20)[0] == capi.DONE
        print(stackwarden.status()["registered"])
    """)
    assert done.stdout == "1\n"
