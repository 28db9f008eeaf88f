"""What the threads of soak.py do: each Actor takes one step after the other, by chance, and checks what it gets.

An Actor keeps suspended coroutines from one step to the next. Some it gives away: another thread drops the last
reference to them.
"""

import contextvars
import ctypes
import gc
import importlib
import mmap
import random
import sys
import threading
import time
from collections import deque
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import gevent
import greenlet
import stackwarden.adapters

import stackwarden
from stackwarden import call_on_stack

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import foreign

stackwarden.adapters.install("gevent")

ADAPTERS = []
for name in ("ucontext", "asm", "fcontext"):
    with suppress(ImportError):
        ADAPTERS.append(importlib.import_module(f"stackwarden.adapters.{name}"))
ISOLATIONS = [word for word in stackwarden.status()["isolation"] if word != "none"]
SIZES = (128 << 10, 256 << 10, 512 << 10)
MIB = 1 << 20

VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)


def load_foreign() -> Any:
    """Coroutines of a module that knows nothing of stackwarden; None: interposition is not to be had here."""
    if sys.platform != "linux":
        return None
    built = foreign.build("ucontext")
    sys.path.append(str(built.parent))
    return importlib.import_module(built.name.partition(".")[0])


FOREIGN = load_foreign()


def empty_pools() -> None:
    """Free stacks keep the memory that was touched, for the next coroutine."""
    for adapter in ADAPTERS:
        adapter._coroutine._pool.clear()


class Endless:
    """Recursion in C alone."""

    def __add__(self, other):
        return self + other


def too_deep() -> None:
    with suppress(RecursionError):
        Endless() + 1
        raise AssertionError("no RecursionError")


class Shared:
    """Between the threads of one round: coroutines that another thread is to drop, before their own ends."""

    def __init__(self, threads: int) -> None:
        self.given: deque[Any] = deque()
        self.all_are_through = threading.Barrier(threads, self.drop_all)

    def drop_all(self) -> None:
        self.given.clear()
        gc.collect()


# ---- bodies of coroutines: each checks what its stack must keep for it ----


def counts(suspend, number):
    total = 0
    for step in range(number % 17 + 1):
        total += suspend(step) or 0
    return total


def climbs(suspend, number):
    def climb(depth):
        if depth == 0:
            return suspend(number)
        return climb(depth - 1)

    for depth in range(number % 7):
        climb(10 * depth)
    return number


def handles(suspend, number):
    VARIABLE.set(number)
    try:
        raise KeyError(number)
    except KeyError:
        mine = sys.exc_info()[1]
        for _ in range(3):
            suspend(number)
            seen = sys.exc_info()[1], VARIABLE.get()
            assert seen == (mine, number)
    return number


def generates(suspend, number):
    def generate():
        for step in range(5):
            suspend(step)
            yield step + number

    assert list(generate()) == [step + number for step in range(5)]
    return number


def nests(suspend, number):
    def inside():
        assert stackwarden.current_stack().name == "call_on_stack"
        suspend(number)
        return number

    def below():
        suspend(number)
        return call_on_stack(inside, stack_size=MIB) + 1

    assert call_on_stack(below, stack_size=MIB) == number + 1
    suspend(number)
    return call_on_stack(inside)


def recurses(suspend, number):
    suspend(number)
    too_deep()
    suspend(number)
    return number


def refers(suspend, number):
    cycle: list[Any] = [bytearray(1000)]
    cycle.append(cycle)
    suspend(number)
    del cycle
    return number


def raises(suspend, number):
    suspend(number)
    raise LookupError(number)


def stays(suspend, number):
    """Suspends once more while it is ended."""
    try:
        suspend(number)
    finally:
        suspend(number)
    return number


BODIES = (counts, climbs, handles, generates, nests, recurses, refers, raises, stays)


class Actor:
    """One thread's part of a round."""

    def __init__(self, seed: str, number: int, shared: Shared) -> None:
        self.random = random.Random(seed)
        self.number = number
        self.shared = shared
        self.alive: list[Any] = []

    def live(self, until: float) -> None:
        steps = (
            [self.start] * 4
            + [self.resume] * 20
            + [self.give, self.drop_given, self.close, self.drop] * 2
        )
        steps += [
            self.switch_greenlets,
            self.ask_blocks,
            self.listen,
            self.register,
            self.in_thread,
            self.collect,
        ]
        if (
            self.number == 0
        ):  # the main thread: a hub of gevent that ends leaves 34 objects, without us too
            steps += [self.interpose, self.run_gevent]
        try:
            while time.monotonic() < until:
                self.random.choice(steps)()
            self.end()
        finally:
            self.shared.all_are_through.wait(60)
        adapter_calls = [adapter.Coroutine(int).resume() for adapter in ADAPTERS]
        assert not any(adapter_calls)

    def end(self) -> None:
        while self.alive:
            self.alive.pop().close()

    # ---- coroutines ----

    def start(self) -> None:
        if len(self.alive) < 40:
            adapter = self.random.choice(ADAPTERS)
            one = adapter.Coroutine(
                self.random.choice(BODIES),
                adapter.suspend,
                self.random.randrange(1000),
                stack_size=self.random.choice(SIZES),
                isolation=self.random.choice(ISOLATIONS),
            )
            self.alive.append(one)

    def take(self) -> Any:
        if not self.alive:
            return None
        place = self.random.randrange(len(self.alive))
        self.alive[place], self.alive[-1] = self.alive[-1], self.alive[place]
        return self.alive.pop()

    def resume(self) -> None:
        one = self.take()
        if one is None:
            return
        try:
            one.resume()
        except LookupError:
            assert one.done
        if not one.done:
            self.alive.append(one)

    def close(self) -> None:
        one = self.take()
        if one is not None:
            with suppress(LookupError):
                one.close()
            assert one.done

    def drop(self) -> None:
        self.take()

    def give(self) -> None:
        """Another thread is to drop it; one that stands in a cycle is the collector's, on whichever thread."""
        one = self.take()
        if one is not None and self.random.random() < 0.5:
            cycle = [one]
            cycle.append(cycle)
        elif one is not None:
            self.shared.given.append(one)

    def drop_given(self) -> None:
        with suppress(IndexError):
            self.shared.given.popleft()

    # ---- others that switch ----

    def switch_greenlets(self) -> None:
        main = greenlet.getcurrent()

        def work(number):
            for _ in range(number):
                self.start()
                self.resume()
                main.switch()
            if number % 3 == 0:
                too_deep()
            return number

        alive = [greenlet.greenlet(work) for _ in range(self.random.randrange(1, 8))]
        while alive:
            one = alive.pop(self.random.randrange(len(alive)))
            one.switch(self.random.randrange(5)) if not one else one.switch()
            if not one.dead and self.random.random() < 0.9:
                alive.append(one)

    def run_gevent(self) -> None:
        def work(number):
            for _ in range(number % 4):
                gevent.sleep(0)
                self.start()
                self.resume()
            return number

        spawned = [gevent.spawn(work, number) for number in range(self.random.randrange(1, 10))]
        assert sum(one.get() for one in spawned) == sum(range(len(spawned)))

    def interpose(self) -> None:
        if FOREIGN is None:
            return
        isolation = self.random.choice(["none", "frames"])
        with stackwarden.interpose(isolation=isolation):
            crowd = [
                FOREIGN.make(lambda number=number: self.foreign(number, isolation))
                for number in range(5)
            ]
            waiting = list(crowd)
            while waiting:
                self.random.shuffle(waiting)
                waiting = [one for one in waiting if not FOREIGN.resume(one)]
            assert [FOREIGN.result(one) for one in crowd] == list(range(5))

    def foreign(self, number: int, isolation: str) -> int:
        if isolation == "frames":
            FOREIGN.park()
        too_deep()
        return number

    def in_thread(self) -> None:
        """A short life: what it leaves is ended with it."""
        other = Actor(str(self.random.random()), 9, self.shared)

        def live():
            for _ in range(20):
                other.start()
                other.resume()
            other.end()

        thread = threading.Thread(target=live)
        thread.start()
        thread.join()

    # ---- requests, callbacks, records ----

    def ask_blocks(self) -> None:
        """Blocks that end in any order."""
        makers = [
            lambda: stackwarden.stack_budget(MIB),
            lambda: stackwarden.stack_policy(unknown="estimate", scope="thread"),
            lambda: stackwarden.on_stack(stackwarden.current_stack()),
        ]
        entered = []
        for _ in range(3):
            with suppress(stackwarden.StackInUseError):
                block = self.random.choice(makers)()
                block.__enter__()
                entered.append(block)
        self.resume()
        self.random.shuffle(entered)
        for block in entered:
            block.__exit__(None, None, None)

    def listen(self) -> None:
        calls: list[int] = []

        def callback(old, new):
            calls.append(1)
            if self.random.random() < 0.2:
                gc.collect(0)

        stackwarden.register_switch_callback(callback)
        try:
            for _ in range(5):
                self.start()
                self.resume()
        finally:
            stackwarden.unregister_switch_callback(callback)

    def register(self) -> None:
        with mmap.mmap(-1, MIB) as memory:
            view = ctypes.c_char.from_buffer(memory)
            base = ctypes.addressof(view)
            with ExitStack() as stack:
                registered = stackwarden.register_stack(base, MIB, name="soaked")
                stack.enter_context(registered)
                assert stackwarden.find_stack(base + 5) == registered
                registered.budget = 512 << 10
                registered.paint()
                assert registered.high_water == 0
            del view

    def collect(self) -> None:
        gc.collect(self.random.randrange(3))
        if self.random.random() < 0.1:
            stackwarden.drain()
            stackwarden.status()
            for one in stackwarden.stacks():
                with suppress(stackwarden.StaleStackError):
                    stackwarden.format_stack(one)
