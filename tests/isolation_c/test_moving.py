"""Stacks with a thread state of their own go on on any thread that has one too.

Two threads that Python did not start, each with a thread state of its own, take fibers from one queue
in random order. A fiber that is parked in the middle of Python goes on wherever it is taken next.
"""

import pytest

WORK = """
    COUNT, PARKS = 200, 6

    variable = contextvars.ContextVar("variable", default=None)

    def numbers(seed):
        roll = random.Random(seed)
        while True:
            yield roll.randrange(1000)

    def deep(depth, end):
        here = [depth]
        if depth == 0:
            return end()
        try:
            raise KeyError(depth)
        except KeyError as error:
            result = deep(depth - 1, end)
            assert sys.exc_info()[1] is error
        assert here == [depth]
        return result + 1

    def work(number):
        variable.set(number)
        mine = numbers(number)
        trail = []
        def end():
            for _ in range(PARKS):
                trail.append(next(mine))
                assert pause() == DONE
                assert variable.get() == number
            return 0
        assert deep(number % 40, end) == number % 40
        assert trail == [first for first, _ in zip(numbers(number), range(PARKS))]
        done.append(number)

    done = []

    def carried(program="c", blocking=False, attached=True):
        many = [
            Fiber(Stack(isolation="thread-state"), work, program, number=n, blocking=blocking)
            for n in range(COUNT)
        ]
        refusal, moves = carry(many, 2, 5, True, attached)
        assert refusal == DONE and all(fiber.done and fiber.refusal == DONE for fiber in many)
        assert sorted(done) == list(range(COUNT))
        return moves
"""


def textual(code):
    return code.replace("\n", "\n    ")


PAUSES = {
    "parked": "pause = park",
    "parked-inside-allow-threads": "pause = park_detached",
    "parked-between-ensure-and-release": "pause = lambda: ensured(park)",
}


@pytest.mark.parametrize("pause", PAUSES)
def test_fibers_go_on_on_other_threads(fiber_child, pause):
    """How often they move is up to the threads; that it happens at all is looked at in the next."""
    program = f"""
    {textual(WORK)}
        {PAUSES[pause]}
        moves = carried(blocking={pause == "parked-inside-allow-threads"})
        print(moves <= COUNT * PARKS)
    """
    assert fiber_child(program) == ["True"]


@pytest.mark.parametrize("pause", PAUSES)
def test_fibers_are_carried_by_threads_that_switch_detached(fiber_child, pause):
    program = f"""
    {textual(WORK)}
        {PAUSES[pause]}
        moves = carried("ecr", blocking=True, attached=False)
        print(moves <= COUNT * PARKS)
    """
    assert fiber_child(program) == ["True"]


@pytest.mark.parametrize("pause", PAUSES)
def test_each_step_on_another_thread_than_the_last(fiber_child, pause):
    program = f"""
    {textual(WORK)}
        {PAUSES[pause]}
        fiber = Fiber(Stack(isolation="thread-state"), work, number=30, blocking=True)
        threads = []
        def step():
            if not fiber.done:
                threads.append(threading.get_ident())
                assert fiber.resume() == DONE
        while not fiber.done:
            step()
            thread = threading.Thread(target=step)
            thread.start()
            thread.join()
        print(done, len(threads) > PARKS, len(set(threads)) > 1)
    """
    assert fiber_child(program) == ["[30] True True"]


def test_python_code_sees_one_thread_state_wherever_it_goes_on(fiber_child):
    program = """
        def work(number):
            for _ in range(5):
                seen.append((state_id(), ensured(state_id)))
                park()

        seen = []
        fiber = Fiber(Stack(isolation="thread-state"), work)
        while not fiber.done:
            thread = threading.Thread(target=fiber.resume)
            thread.start()
            thread.join()
        print(len(seen), len(set(seen)), seen[0][0] == seen[0][1] != state_id())
    """
    assert fiber_child(program) == ["5 1 True"]


def test_with_frames_a_fiber_stays_on_its_thread(fiber_child):
    program = f"""
    {textual(WORK)}
        pause = park
        fiber = Fiber(Stack(isolation="frames"), work)
        fiber.resume()
        assert carry([fiber], 2, 1)[0] == OTHER_THREAD
        while not fiber.done:
            assert fiber.resume() == DONE
        print(done)
    """
    assert fiber_child(program) == ["[0]"]


@pytest.mark.parametrize("program", ["c", "ecr"])
def test_carriers_without_a_thread_state_are_refused(fiber_child, program):
    """They would have none to attach again, and PyGILState_Ensure would hang (3.12) or abort."""
    program = f"""
        called = []
        many = [
            Fiber(Stack(isolation="thread-state"), called.append, {program!r}, blocking=True)
            for _ in range(4)
        ]
        refusal, moves = carry(many, 2, 1, False)
        print(refusal < 0, moves, called)
    """
    assert fiber_child(program) == ["True 0 []"]


def test_a_thread_without_a_thread_state_cannot_resume_one(fiber_child):
    program = """
        def call(number):
            park()
            return number

        many = [Fiber(Stack(isolation="thread-state"), call, number=n, blocking=True) for n in (1, 2)]
        for fiber in many:
            fiber.resume()
        ((refusal, notes),) = run_threads("x0x1x", [many], call)
        assert refusal < 0 and notes == "000", (refusal, notes)
        for fiber in many:
            assert fiber.resume() == DONE
        print([fiber.result for fiber in many])
    """
    assert fiber_child(program) == ["[1, 2]"]


def test_a_thread_may_have_its_thread_state_for_the_time_of_a_switch(fiber_child):
    """Ensure, resume, Release: each round has a new one."""
    program = """
        def call(number):
            park()
            return number

        many = [Fiber(Stack(isolation="thread-state"), call, number=n) for n in range(4)]
        reports = run_threads("e0re1re0re1r", [many[:2], many[2:]], call)
        print(reports, [fiber.result for fiber in many])
    """
    assert fiber_child(program) == ["[(0, ''), (0, '')] [0, 1, 2, 3]"]
