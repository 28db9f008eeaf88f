"""What can be seen of suspended stacks: frames, tracebacks, sys._current_frames, faulthandler."""

import array
import contextlib
import faulthandler
import gc
import io
import sys
import threading
import traceback

from stackwarden.adapters.ucontext import suspend

import stackwarden


def outermost():
    middle(2)


def middle(depth):
    if depth:
        middle(depth - 1)
    else:
        innermost()


def innermost():
    mark = "a local"
    suspend("left here")
    suspend(mark)


NAMES = ["innermost", "middle", "middle", "middle", "outermost"]
LEFT_AT = innermost.__code__.co_firstlineno + 2


def stack_of(made):
    (stack,) = [stack for stack in stackwarden.stacks() if stack.base == made.stack_base]
    return stack


def names_from(frame):
    return [frame.f_code.co_name for frame, _ in traceback.walk_stack(frame)]


def suspended(coroutine):
    made = coroutine(outermost)
    assert made.resume() == "left here"
    return made


def test_the_frame_of_a_suspended_stack_is_its_innermost(coroutine):
    made = suspended(coroutine)
    frame = stack_of(made).frame
    assert frame.f_code is innermost.__code__
    assert frame.f_lineno == LEFT_AT
    assert frame.f_locals == {"mark": "a local"}
    assert frame is stack_of(made).frame
    made.close()


def test_its_chain_of_frames_ends_at_the_function_of_the_coroutine(coroutine):
    made = suspended(coroutine)
    assert names_from(stack_of(made).frame) == NAMES
    made.close()


def test_the_chain_is_the_same_seen_from_another_coroutine_and_from_another_thread(coroutine):
    made = suspended(coroutine)
    stack, seen = stack_of(made), []

    def look():
        seen.append(names_from(stack.frame))

    coroutine(look).resume()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [NAMES] * 2
    assert made.resume() == "a local"
    made.close()


def test_a_stack_that_runs_or_is_done_or_shares_shows_no_frame(coroutine):
    stacks = []

    def work():
        stacks.append(stackwarden.current_stack())
        return stacks[0].frame

    assert coroutine(work).resume() is None
    assert stacks[0].frame is None
    assert stackwarden.current_stack().frame is None


def test_one_that_waits_for_another_shows_its_frames_too(coroutine):
    def inner(outer_stack):
        return names_from(outer_stack.frame)

    def outer():
        return coroutine(inner, stackwarden.current_stack()).resume()

    assert coroutine(outer, stack_size=1 << 20).resume() == ["outer"]


def test_a_frame_that_was_kept_stays_valid(coroutine):
    kept = []
    for end in ("resume", "close", "drop"):
        made = suspended(coroutine)
        kept.append(stack_of(made).frame)
        if end == "resume":
            made.resume()
            made.resume()
        elif end == "close":
            made.close()
        del made
    coroutine(int).resume()
    gc.collect()
    for frame in kept:
        assert names_from(frame) == NAMES
        assert frame.f_locals == {"mark": "a local"}
    assert kept[0].f_lineno == LEFT_AT + 1
    frame.clear()
    assert frame.f_locals == {}


def test_looking_leaves_nothing_behind(coroutine):
    made = suspended(coroutine)
    stack = stack_of(made)

    blocks = array.array("q", bytes(8 * 3))  # counting is not to allocate what it counts

    for number, times in enumerate((10, 10, 200)):
        for _ in range(times):
            names_from(stack.frame)
            stackwarden.format_stack(stack)
        gc.collect()
        blocks[number] = sys.getallocatedblocks()
    assert blocks[1] == blocks[2]
    made.close()


def test_format_stack_shows_the_traceback_as_faulthandler_does(coroutine):
    made = suspended(coroutine)
    stack = stack_of(made)
    title, *lines = stackwarden.format_stack(stack).splitlines()
    assert title == (
        f"Stack {stack.base:#x} (ucontext, {stack.size} bytes, most recent call first):"
    )
    assert [line.rpartition(" in ")[2] for line in lines] == NAMES
    assert lines[0] == f'  File "{__file__}", line {LEFT_AT} in innermost'
    made.close()
    assert stackwarden.format_stack(stack).splitlines()[1:] == ["  <no Python frame>"]


def test_print_stacks_shows_every_suspended_stack(coroutine):
    made = [suspended(coroutine) for _ in range(3)]
    printed = io.StringIO()
    stackwarden.print_stacks(printed)
    for one in made:
        assert stackwarden.format_stack(stack_of(one)) in printed.getvalue()
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        stackwarden.print_stacks()
    assert stderr.getvalue() == printed.getvalue()
    for one in made:
        one.close()


def test_the_frames_of_the_running_coroutine_end_at_its_function(coroutine):
    def work():
        return names_from(sys._getframe())

    assert coroutine(work).resume() == ["work"]


def test_current_frames_while_others_are_suspended(coroutine, mode):
    made = [suspended(coroutine) for _ in range(5)]
    me = threading.get_ident()
    assert sys._current_frames()[me] is sys._getframe()

    def inside():
        return sys._current_frames()[me] is sys._getframe()

    # A thread has one entry: with thread-state that of its own thread state, which was there first.
    assert coroutine(inside).resume() is (mode == "frames")
    for one in made:
        one.close()


def test_faulthandler_shows_the_running_stack_while_others_are_suspended(coroutine, mode, tmp_path):
    made = [suspended(coroutine) for _ in range(3)]

    def shown(all_threads=False):
        with (tmp_path / "traceback").open("w+") as file:
            faulthandler.dump_traceback(file, all_threads=all_threads)
            file.seek(0)
            return [line.split(" in ")[1].strip() for line in file if " in " in line]

    def inside():
        return shown(), shown(all_threads=True)

    only, everything = coroutine(inside).resume()
    assert only == ["shown", "inside"]
    # Each suspended thread state counts as a thread there.
    assert everything.count("outermost") == (0 if mode == "frames" else 3)
    assert shown()[:2] == ["shown", sys._getframe().f_code.co_name]
    for one in made:
        one.close()
