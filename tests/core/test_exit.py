"""The end of the interpreter: stacks registered and current, callbacks, threads that go on telling."""

import textwrap

import pytest

import children
import embedding

START = """
    import atexit, os, sys, threading, weakref
    import stackwarden, capi, capi_probe as probe

    probe.import_table()
    MIB = 1 << 20
    base = probe.map_memory(4 * MIB)
    stack = stackwarden.register_stack(base, MIB, name="left over")
"""

ENDS = {
    "with a stack registered": "",
    "with a registered stack current": "stackwarden.notify_stack_switch(base, MIB)",
    "with a transient stack current": "stackwarden.notify_stack_switch(base + MIB, MIB)",
    "with an estimate applied": "capi.attached.notify(base + MIB, 16)",
    "after memory of the current stack is gone": """
        stackwarden.notify_stack_switch(base, MIB)
        probe.unmap_memory(base, MIB)
    """,
    "with callbacks registered": """
        stackwarden.register_switch_callback(lambda old, new: None, all_threads=True)
        probe.register_callback(0, True)
        stackwarden.notify_stack_switch(base, MIB)
    """,
    "with a switch that no callback was told of": """
        stackwarden.register_switch_callback(lambda old, new: None)
        capi.detached.notify(base, MIB)
    """,
    "with a stack told of in a handler for the end": """
        atexit.register(stackwarden.notify_stack_switch, base, MIB)
        atexit.register(lambda: stackwarden.register_stack(base + MIB, MIB))
    """,
    "with telling destructors": """
        class Teller:
            def __init__(self, name):
                self.name, self.call, self.base = name, probe.call, base

            def __del__(self):
                self.call("attached", "notify", self.base, 1 << 20)
                self.call("attached", "sync")
                self.call("attached", "switch_to", 1)
                self.call("attached", "reset")

        stackwarden.register_switch_callback(lambda old, new: None)
        one, sys.teller, sys.modules["teller"] = Teller("a"), Teller("b"), Teller("c")
        stackwarden.teller, stackwarden.errors.teller = Teller("d"), Teller("e")
        cycle = Teller("f")
        cycle.itself = cycle
    """,
    "with a thread waiting on a foreign stack": """
        ready = threading.Event()

        def wait():
            stackwarden.notify_stack_switch(base, MIB)
            ready.set()
            threading.Event().wait()

        threading.Thread(target=wait, daemon=True).start()
        ready.wait()
    """,
    "on a foreign stack": """
        def leave():
            stackwarden.sync_stack()
            sys.stdout.flush()
            sys.exit(0)

        try:
            probe.call_on(base, MIB, leave)
        finally:
            stackwarden.sync_stack()
    """,
}


@pytest.mark.parametrize("way", ENDS)
@pytest.mark.usefixtures("unchecked")
def test_the_interpreter_ends_well(child, way):
    done = child(
        START + textwrap.indent(textwrap.dedent(ENDS[way]), "    ") + '\n    print("end")\n'
    )
    assert done.stdout == ("" if way == "on a foreign stack" else "end\n")
    assert done.stderr == ""


def test_threads_may_go_on_telling_while_the_interpreter_ends(child):
    """Detached, in C, as a runtime's own threads do; what they write to must not be freed memory."""
    for _ in range(5):
        done = child(
            START
            + """
    for number in range(3):
        threading.Thread(
            target=probe.tell_over, args=(base + number * MIB, MIB, 1 << 62), daemon=True
        ).start()
    print("end")
    """,
            MALLOC_PERTURB_="165",
        )
        assert done.stdout == "end\n"


def test_nothing_is_written_to_thread_states_that_were_freed(child):
    """CPython frees those of other threads early at the end; what takes their place must stay whole."""
    done = child(
        START
        + """
    class Late:
        def __init__(self):
            self.spend_time, self.write = probe.register_many, sys.stderr.write

        def __del__(self):
            sizes = range(520, 6000, 16)
            blocks = [bytearray(b"x") * size for size in sizes for _ in range(6)]
            for _ in range(2):
                self.spend_time(1 << 44, 100_000, 1 << 16, 1 << 16)
            self.write(str(sum(block.count(b"x") != len(block) for block in blocks)))

    region = probe.map_memory(24 * MIB)
    for number in range(24):
        threading.Thread(
            target=probe.tell_over, args=(region + number * MIB, MIB, 1 << 62), daemon=True
        ).start()
    sys.late = Late()
    """
    )
    assert done.stderr == "0"


@pytest.mark.usefixtures("unchecked")
def test_from_the_handlers_for_the_end_on_detached_threads_leave_thread_states_alone(child):
    """So what they tell takes effect with the next call that they make attached."""
    done = child(
        """
    import atexit

    def last():
        import cpython_bounds as bounds
        former = bounds.read()
        capi.detached.notify(base, MIB)
        print(bounds.read() == former, end=" ")
        capi.attached.notify(base, MIB)
        print(bounds.read() != former)

    atexit.register(last)  # before the core's own, which comes with the first stack: so it runs after that
    """
        + START
    )
    assert done.stdout == "True True\n"


def test_exiting_at_once_is_fine_too(child):
    child(START + "    stackwarden.notify_stack_switch(base, MIB)\n    os._exit(3)\n", ends=3)


EMBEDDER = r"""
#include <stackwarden/stackwarden.h>
#include <stdio.h>
#include <sys/mman.h>

#define MIB ((size_t)1 << 20)

static int callbacks;

static void count(const stackwarden_stack *left, const stackwarden_stack *entered, void *arg)
{
    (void)left;
    (void)entered;
    (void)arg;
    callbacks++;
}

static void say_all(const char *when, void *memory, stackwarden_handle handle)
{
    stackwarden_stack stack;
    stackwarden_stack made;
    int statuses[] = {
        stackwarden_notify_stack_switch(memory, MIB),
        stackwarden_switch_to(handle),
        stackwarden_reset_stack(),
        stackwarden_sync_stack(),
        stackwarden_register_stack(memory, MIB, "a", "b", 0, &made),
        stackwarden_unregister_stack(handle),
        stackwarden_current_stack(&stack),
        stackwarden_find_stack(memory, &stack),
        stackwarden_register_switch_callback(count, NULL, 1),
        stackwarden_unregister_switch_callback(count, NULL),
    };
    printf("%s:", when);
    for (unsigned i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        printf(" %d", statuses[i]);
    }
    printf(", %d\n", stackwarden_current_handle() == 0);
}

int main(void)
{
    void *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stackwarden_stack registered;
    say_all("before", memory, 1);
    Py_InitializeEx(0);
    if (stackwarden_import() < 0) {
        PyErr_Print();
        return 1;
    }
    printf("register: %d\n", stackwarden_register_stack(memory, MIB, "a", "b", 0, &registered));
    PyRun_SimpleString("import stackwarden\n"
                       "stackwarden.register_switch_callback(lambda old, new: print('switched', flush=True))\n");
    fflush(stdout);
    stackwarden_switch_to(registered.handle);
    stackwarden_reset_stack();
    printf("left on it: %d\n", stackwarden_switch_to(registered.handle));
    if (Py_FinalizeEx() < 0) {
        return 1;
    }
    say_all("finalised", memory, registered.handle);
    return 0;
}
"""


def test_before_and_after_python_runs_every_call_says_so(tmp_path):
    program = embedding.program(EMBEDDER, tmp_path)
    done = children.run(program, folder=tmp_path, **embedding.variables())
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "before:" + " -1" * 10 + ", 1",
        "register: 0",
        "switched",
        "left on it: 0",
        "finalised:" + " -2" * 10 + ", 1",
    ]
