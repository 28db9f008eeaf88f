"""Tracebacks of suspended stacks, in the form that faulthandler gives those of threads."""

import sys

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from types import FrameType
    from typing import TextIO

    from stackwarden import Stack


def _frame_lines(frame: "FrameType | None") -> list[str]:
    lines = []
    while frame is not None:
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_qualname}')
        frame = frame.f_back
    return lines or ["  <no Python frame>"]


def format_stack(stack: "Stack") -> str:
    """The Python frames of a suspended stack, most recent call first.

    A stack that runs, or that shares the execution state of another, shows no frame of its own.
    """
    title = f"Stack {stack.name or hex(stack.base)} ({stack.system or 'unnamed system'}"
    return "\n".join(
        [f"{title}, {stack.size} bytes, most recent call first):", *_frame_lines(stack.frame)]
    )


def print_stacks(file: "TextIO | None" = None) -> None:
    """Print the traceback of every suspended stack to a file, sys.stderr by default; where there is none, a line
    that says so.
    """
    from stackwarden import stacks

    suspended = [stack for stack in stacks() if stack.frame is not None]
    text = (
        "\n\n".join(map(format_stack, suspended))
        or "<no stack is suspended in the middle of Python>"
    )
    print(text, file=file if file is not None else sys.stderr)
