"""Ends with fibers suspended: of the interpreter, of a thread, of the process that forked."""

import signal

import pytest

import children
import embedding

WAYS = {
    "never-entered": "",
    "suspended": "fiber.resume()",
    "suspended-without-frames": "fiber = fibers.Fiber(stack, None, 'p'); fiber.resume()",
    "finished": "fiber.resume(); fiber.resume()",
    "finished-and-renewed": "fiber.resume(); fiber.resume(); stack.renew()",
    "kept-by-the-module-that-ends-last": "fiber.resume(); sys.kept = fiber",
    "in-a-cycle": "fiber.resume(); stacks = [fiber, stack]; stacks.append(stacks); fiber = None",
}
MAKE = """
    import types

    def deep(depth):
        try:
            raise KeyError(depth)
        except KeyError:
            return deep(depth - 1) + 1 if depth else park()

    # Its names are apart: what a suspended function can see is never freed.
    apart = {"park": park}
    apart["deep"] = types.FunctionType(deep.__code__, apart)

    def made(isolation, way):
        for _ in range(20):
            stack = Stack(isolation=isolation)
            fibers_made.append((stack, way(stack, Fiber(stack, apart["deep"], number=5))))

    fibers_made = []
"""


def textual(code):
    return code.replace("\n", "\n    ")


@pytest.mark.parametrize("way", WAYS)
def test_the_interpreter_ends_well(fiber_child, isolation, way):
    """Freed memory does not look as it did: thread states go before the modules do."""
    program = f"""
    {textual(MAKE)}
        def way(stack, fiber):
            {WAYS[way]}
            return fiber
        made({isolation!r}, way)
        print("end")
    """
    assert fiber_child(program, MALLOC_PERTURB_="85") == ["end"]


@pytest.mark.parametrize("way", WAYS)
def test_the_interpreter_ends_well_after_their_thread_has_ended(fiber_child, isolation, way):
    program = f"""
    {textual(MAKE)}
        def way(stack, fiber):
            {WAYS[way]}
            return fiber
        thread = threading.Thread(target=made, args=({isolation!r}, way))
        thread.start()
        thread.join()
        print("end")
    """
    assert fiber_child(program, MALLOC_PERTURB_="85") == ["end"]


def test_the_interpreter_ends_well_while_another_thread_is_on_a_fiber(fiber_child, isolation):
    program = f"""
        ready = threading.Event()

        def work(number):
            ready.set()
            threading.Event().wait()

        fiber = Fiber(Stack(isolation={isolation!r}), work)
        threading.Thread(target=fiber.resume, daemon=True).start()
        ready.wait()
        print("end")
    """
    assert fiber_child(program) == ["end"]


def test_the_interpreter_ends_well_on_a_fiber(fiber_child, isolation):
    program = f"""
        fiber = Fiber(Stack(isolation={isolation!r}), lambda number: sys.exit(0))
        print("end", flush=True)
        fiber.resume()
    """
    assert fiber_child(program) == ["end"]


def test_destructors_that_run_late_may_resume_and_unregister(fiber_child, isolation):
    """What can't go on any more is refused, or leaked."""
    program = f"""
    {textual(MAKE)}
        class Late:
            def __init__(self, pairs):
                self.pairs = pairs

            def __del__(self):
                for stack, fiber in self.pairs:
                    fiber.resume()
                    stack.unregister()
                    stack.renew()

        made({isolation!r}, lambda stack, fiber: (fiber.resume(), fiber)[1])
        made({isolation!r}, lambda stack, fiber: fiber)
        sys.late = Late(fibers_made)
        print("end", flush=True)
    """
    assert fiber_child(program, MALLOC_PERTURB_="85") == ["end"]


@pytest.mark.parametrize("entered", [False, True])
def test_after_a_fork_fibers_of_the_forking_thread_go_on_or_are_refused(
    fiber_child, isolation, entered
):
    """CPython deletes all thread states but one in the child: what was suspended in one is gone."""
    program = f"""
        import os
        def work(number):
            park()
            park()
        stack = Stack(isolation={isolation!r})
        fiber = Fiber(stack, work)
        if {entered}:
            fiber.resume()
        child = os.fork()
        while not fiber.done and fiber.resume() == DONE:
            pass
        stack.unregister()
        if not child:
            os._exit(0 if fiber.done == ({isolation!r} == "frames" or not {entered}) else 1)
        print(fiber.done, os.waitpid(child, 0)[1])
    """
    assert fiber_child(program, MALLOC_PERTURB_="85") == ["True 0"]


def test_a_thread_that_ends_on_its_native_stack_leaves_its_fibers_suspended(fiber_child, isolation):
    """They are lost: unregistered, they count as leaked."""
    program = f"""
    {textual(MAKE)}
        way = lambda stack, fiber: (fiber.resume(), fiber)[1]
        thread = threading.Thread(target=made, args=({isolation!r}, way))
        thread.start()
        thread.join()
        gc.collect()
        assert all(stack.unregister() == LOST for stack, fiber in fibers_made)
        print(stackwarden.status()["leaked_stacks"])
    """
    assert fiber_child(program) == ["20"]


def test_unguarded_leaving_a_thread_with_a_suspended_fiber_and_resuming_it_crashes(fiber_child):
    program = f"""
    {textual(MAKE)}
        fiber = Fiber(Stack(isolation=None), apart["deep"], number=5, raw=True)
        thread = threading.Thread(target=fiber.resume)
        thread.start()
        thread.join()
        fiber.resume()
        gc.collect()
    """
    fiber_child(program, ends=-signal.SIGSEGV)


EMBEDDER = r"""
#include <stackwarden/stackwarden.h>
#include <stdio.h>
#include <sys/mman.h>

#define MIB ((size_t)1 << 20)

static void say_all(const char *when, const stackwarden_stack *stack)
{
    int statuses[] = {
        stackwarden_start_switch(stack, 0),
        stackwarden_start_switch(NULL, 0),
        stackwarden_start_switch(NULL, STACKWARDEN_SWITCH_ENDS),
        stackwarden_start_switch_blocking(stack, 0),
        stackwarden_start_switch_blocking(NULL, STACKWARDEN_SWITCH_ENDS),
        stackwarden_finish_switch(),
        stackwarden_unregister_stack(stack->handle),
    };
    printf("%s:", when);
    for (unsigned i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        printf(" %d", statuses[i]);
    }
    printf("\n");
}

int main(void)
{
    void *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stackwarden_stack stack = {.base = (uintptr_t)memory, .size = MIB};
    say_all("before", &stack);
    Py_InitializeEx(0);
    if (stackwarden_import() < 0) {
        PyErr_Print();
        return 1;
    }
    printf("running: %d", stackwarden_register_stack(memory, MIB, "a", "b", STACKWARDEN_ISOLATION_FRAMES,
                                                     &stack));
    printf(" %d", stackwarden_renew_stack(stack.handle, NULL));
    printf(" %d", stackwarden_start_switch(&stack, 0));
    printf(" %d", stackwarden_finish_switch());
    printf(" %d", stackwarden_start_switch(NULL, 0));
    printf(" %d\n", stackwarden_finish_switch());
    if (Py_FinalizeEx() < 0) {
        return 1;
    }
    say_all("finalised", &stack);
    return 0;
}
"""


def test_before_and_after_python_runs_every_call_says_so(tmp_path):
    program = embedding.program(EMBEDDER, tmp_path)
    done = children.run(program, folder=tmp_path, **embedding.variables())
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "before:" + " -1" * 7,
        "running:" + " 0" * 6,
        "finalised:" + " -2" * 7,
    ]
