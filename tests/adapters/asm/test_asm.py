"""The adapter keeps what every adapter must, with a jump that keeps what every compiler keeps in registers."""

import random
import sys
from pathlib import Path

import pytest

import backtraces
import children
import commands
import conformance
import extensions
import paths
from availability import unavailable

try:
    from stackwarden.adapters.asm import Coroutine, suspend
except ImportError as error:
    unavailable("asm", str(error))

ADAPTER = "stackwarden.adapters.asm"
JUMP = paths.CHECKOUT / "adapters" / "asm"
REGISTERS = Path(__file__).with_name("registers.c")


def test_the_adapter_conforms():
    conformance.check(ADAPTER)


@pytest.mark.parametrize(
    "options",
    [
        ["-O0"],
        ["-O1"],
        ["-O2"],
        ["-O2", "-fPIC"],
        ["-O2", "-fno-omit-frame-pointer"],
        ["-O3", "-march=native"],
        ["-O3", "-fcf-protection=full"],
    ],
    ids=" ".join,
)
def test_every_register_that_is_in_use_comes_back(tmp_path, options):
    program = tmp_path / "registers"
    commands.output(*extensions.compiler(), *options, f"-I{JUMP}", REGISTERS, "-o", program)
    children.run(program)


def test_a_crowd_in_random_order():
    order = random.Random(11)

    def member(number):
        total, half = 0, number / 2
        for step in range(200):
            total += suspend(step) or 0
            assert half == number / 2
        return number, total

    members = {number: Coroutine(member, number) for number in range(200)}
    given = dict.fromkeys(members, 0)
    while members:
        number = order.choice(list(members))
        coroutine = members[number]
        result = coroutine.resume(number) if given[number] else coroutine.resume()
        given[number] += 1
        if coroutine.done:
            assert result == (number, 200 * number)
            del members[number]


def test_each_coroutine_is_closed_in_another_ones_middle():
    ended = []

    def waits(number):
        try:
            suspend()
        finally:
            ended.append(number)

    def closes(coroutine):
        coroutine.close()
        suspend("closed")

    first = Coroutine(waits, 1)
    first.resume()
    second = Coroutine(closes, first)
    assert second.resume() == "closed"
    assert ended == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="backtrace(3) is glibc's")
def test_backtrace_ends_at_the_entry():
    ran = children.run_python(backtraces.PROGRAM, arguments=[ADAPTER, "20"])
    assert "asm/_coroutine" in ran.stdout.splitlines()[-1]
