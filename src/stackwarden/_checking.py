"""The checking mode, ``STACKWARDEN=check``: a warning where what was told is not what the stack pointer says.

Promises: one warning for each place that told it. Imported only when there is something to say.
"""

import ctypes
import sys
import warnings

from stackwarden._contract import range_text
from stackwarden.errors import StackMismatchWarning

ERROR = False
"""``check=error``: the warning is raised, whatever filters say."""


def site() -> bytes:
    """Where in Python the caller of a compiled function is: "file:line"; empty: C has called it."""
    try:
        frame = sys._getframe(1)
    except ValueError:
        return b""
    return f"{frame.f_code.co_filename}:{frame.f_lineno}".encode(errors="replace")


def warn(
    told: tuple[int, int], found: tuple[int, int], stack_pointer: int, caller: int, site: bytes
) -> None:
    """Say what disagrees: ranges as (base, top); `found` is (0, 0) where the stack is not known."""
    where = site.decode(errors="replace") or symbol(caller)
    under = f"on {_text(found)}" if found[0] else "on no stack that is known"
    text = f"{where} told of a switch to stack {_text(told)}, but the stack pointer {stack_pointer:#x} is {under}"
    if ERROR:
        raise StackMismatchWarning(text)
    warnings.warn(text, StackMismatchWarning, stacklevel=2)


def _text(bounds: tuple[int, int]) -> str:
    base, top = bounds[0], bounds[1] & ~1  # that of an unknown stack is odd
    return range_text(base, top - base)


class _Symbol(ctypes.Structure):
    """Dl_info of dladdr()."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("start", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_size_t),
    )


def symbol(address: int) -> str:
    """The function and the file that hold an address, as far as the loader knows."""
    found = _Symbol()
    try:
        known = ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(found))
    except (AttributeError, OSError, TypeError):  # not on Windows
        known = 0
    if not known:
        return f"the code at {address:#x}"
    file = (found.file or b"").decode(errors="replace")
    name = (found.name or b"").decode(errors="replace")
    return f"{name} in {file}" if name else f"{file}+{address - found.start:#x}"
