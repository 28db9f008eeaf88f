"""What the calls cost from Python, measured by pyperf in processes of its own.

Command line: that of pyperf.Runner; run.py calls it.
"""

import ctypes
import mmap

import pyperf

import stackwarden

SIZE = 1 << 20

memory = mmap.mmap(-1, SIZE)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))


def tell_and_reset() -> None:
    stackwarden.notify_stack_switch(base, SIZE)
    stackwarden.reset_stack()


runner = pyperf.Runner()
runner.bench_func("notify_stack_switch() and reset_stack()", tell_and_reset)
runner.bench_func("sync_stack()", stackwarden.sync_stack)
runner.bench_func("current_stack()", stackwarden.current_stack)
