"""Stacks that are registered and give way, and on_stack() blocks: honest and lying, on several threads."""

import functools
import mmap

from blocks import KINDS, WAYS, Held
from hypothesis import strategies as st
from machine import KIB, MIB, Place, a_thread, anywhere, error_of, here, pick, some, step, when
from policy_rules import Policies

import stackwarden

REGION = 8 * MIB
_memory = mmap.mmap(-1, REGION + MIB)


def _address(memory):
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


BASE = -(-_address(_memory) // (64 * KIB)) * 64 * KIB

offsets = st.integers(0, 2 * (REGION - MIB) // MIB).map(lambda i: i * 512 * KIB)
sizes = st.sampled_from([512 * KIB, 768 * KIB, MIB])


class Stacks(Policies):
    def __init__(self):
        super().__init__()
        self.stacks = []  # that were registered: some are stale
        self.superseded = self.start["superseded"]
        self.blocks = []  # of all threads

    @step(where=anywhere, offset=offsets, size=sizes)
    def register(self, where, offset, size):
        base, top = BASE + offset, BASE + offset + size
        with self.on(self.place(where)) as do:
            if any(thread.current.overlaps(base, top) for thread in self.threads):
                register = functools.partial(stackwarden.register_stack, base, size)
                assert do(error_of, register) is stackwarden.StackOverlapError
                return
            for stack in self._registered():
                if stack.place.overlaps(base, top):
                    stack.is_stale = True
                    self.superseded += 1
            self.stacks.append(Stack(do(stackwarden.register_stack, base, size)))

    @when("stacks")
    @step(which=some, where=anywhere)
    def unregister(self, which, where):
        stack = pick(which, self.stacks)
        with self.on(self.place(where)) as do:
            self._unregister(stack, do)

    @when("stacks")
    @step(which=some, where=a_thread, kind=st.sampled_from(KINDS))
    def begin_a_block(self, which, where, kind):
        """Whose code does not go there: nothing is told of the stack under it."""
        stack, thread = pick(which, self.stacks), self.threads[where]
        if (
            not self.may_lie
            or len(thread.levels) > 1
            or any(b.stack is stack for b in self.blocks if b.thread is not thread)
        ):
            return  # WAITING in model.py
        held = Held(kind, functools.partial(stackwarden.on_stack, stack.stack))
        if stack.is_stale:
            assert thread.do(error_of, held.begin) is stackwarden.StaleStackError
            return
        thread.do(held.begin)
        thread.told += 1
        around = thread.blocks[-1] if thread.blocks else None
        nests = around is not None and thread.current == around.stack.place
        block = Block(held, thread, stack, around.outer if nests else thread.current)
        thread.blocks.append(block)
        self.blocks.append(block)
        self.enter(thread, stack.place)

    @when("blocks")
    @step(which=some, where=anywhere, way=st.sampled_from(WAYS))
    def end_a_block(self, which, where, way):
        self._end_block(pick(which, self.blocks), self.place(where), way)

    @step(where=anywhere, offset=offsets, resets=st.booleans())
    def look_around(self, where, offset, resets):
        place = self.place(where)
        holding = [stack.stack for stack in self._registered() if stack.place.holds(BASE + offset)]
        with self.on(place) as do:
            assert do(stackwarden.find_stack, BASE + offset) == (holding[0] if holding else None)
        if place in self.threads and resets and self.may_lie:
            place.do(stackwarden.reset_stack)
            place.told += 1
            self.enter(place, place.native)
        else:
            with self.on(place) as do:
                assert do(sync_and_ask)
                self.synced(place)

    # ---- the ends ----

    def _unregister(self, stack, do):
        expected = None
        if stack.is_stale:
            expected = stackwarden.StaleStackError
        elif any(thread.current == stack.place for thread in self.threads):
            expected = stackwarden.StackInUseError
        else:
            stack.is_stale = True
        assert do(error_of, stack.stack.unregister) is expected

    def _end_block(self, block, place, way):
        """The current stack is another one only if it was that of the block, or is not under the caller."""
        thread = block.thread
        if way == "drop" and not place.thread.is_honest:
            way = "close"  # 3.14 and later put off freeing where the bounds are not those under the caller
        with self.on(place) as do:
            do(block.held.end, way)
            thread.blocks.remove(block)
            self.blocks.remove(block)
            lies = place is thread and not thread.is_honest
            if thread.current == block.stack.place or lies:
                stack = thread.blocks[-1].stack.place if thread.blocks else block.outer
                if place.thread is not thread:
                    self.enter_elsewhere(thread, thread.here if self._is_gone(stack) else stack)
                elif not self._is_gone(stack):
                    self.enter(thread, stack)
                elif self._is_used_anew(stack, thread):
                    self.synced(place)
                else:
                    self.enter(thread, here(thread))  # told again: another record
                    assert thread.current == stack

    def _is_gone(self, place):
        return place.handle in [stack.place.handle for stack in self.stacks if stack.is_stale]

    def _is_used_anew(self, place, by):
        others = [thread.current for thread in self.threads if thread is not by]
        others += [stack.place for stack in self._registered()]
        return any(other.overlaps(place.base, place.top) for other in others)

    def enter_elsewhere(self, thread, stack):
        """The same, and that thread does not hear of it."""
        thread.current = stack

    # ---- what must hold ----

    def _registered(self):
        return [stack for stack in self.stacks if not stack.is_stale]

    def expected_status(self, thread):
        return super().expected_status(thread) | {"superseded": self.superseded}

    def compare(self):
        super().compare()
        ours = {
            stack.handle for stack in stackwarden.stacks() if BASE <= stack.base < BASE + REGION
        }
        assert ours == {stack.place.handle for stack in self._registered()}
        for stack in self._registered():
            on = [t.actor.ident for t in self.threads if t.current == stack.place]
            assert stack.stack.thread == (on[0] if on else None)

    def let_go(self):
        for number, block in enumerate(list(self.blocks)):
            self._end_block(block, pick(number, self.threads), "close")
        for thread in self.threads:
            thread.do(stackwarden.sync_stack)
            self.synced(thread)
        for stack in self._registered():
            self._unregister(stack, self.threads[0].do)
        super().let_go()


def sync_and_ask():
    return stackwarden.sync_stack() == stackwarden.current_stack()


class Stack:
    """The model of one that was registered."""

    def __init__(self, stack):
        self.stack, self.is_stale = stack, False
        self.place = Place(stack.handle, stack.base, stack.top)


class Block:
    def __init__(self, held, thread, stack, outer):
        """`outer`: the current stack around it."""
        self.held, self.thread, self.stack, self.outer = held, thread, stack, outer
