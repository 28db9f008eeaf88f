"""A program that prints what backtrace(3) sees from inside a coroutine of an adapter.

Its arguments: the adapter's module, and how many C calls lie under the one that resumes.
"""

PROGRAM = """
import ctypes, importlib, sys

Coroutine = importlib.import_module(sys.argv[1]).Coroutine

library = ctypes.CDLL(None)
library.backtrace_symbols.restype = ctypes.POINTER(ctypes.c_char_p)

def backtrace():
    frames = (ctypes.c_void_p * 1000)()
    count = library.backtrace(frames, 1000)
    texts = library.backtrace_symbols(frames, count)
    return [texts[place].decode() for place in range(count)]

class Deeper:
    # Sorting makes C calls on the stack of the resumer.
    def __init__(self, depth):
        self.depth = depth

    def __lt__(self, other):
        resume_below(self.depth - 1)
        return True

seen = []

def resume_below(depth):
    if depth:
        sorted([Deeper(depth), Deeper(depth)])
    elif not seen:
        seen.append(Coroutine(backtrace).resume())

backtrace()
resume_below(int(sys.argv[2]))
print(*seen[0], sep="\\n")
"""
