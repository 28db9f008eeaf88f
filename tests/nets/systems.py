"""Operations of what belongs to other systems, for operations.py: interposition, and the adapter of greenlet."""

import contextlib
import sys

from operations import Work, operation

import stackwarden
from stackwarden import adapters

# ---- interposition ----


if sys.platform == "linux":
    for kind in ("none", "frames"):
        if kind in stackwarden.status()["isolation"]:
            operation(
                f"interpose, {kind}",
                lambda kind=kind: kind,
                lambda kind: stackwarden.interpose(isolation=kind),
                lambda _, made: made.undo(),
            )
            operation(
                f"interpose, {kind}, its end",
                lambda kind=kind: stackwarden.interpose(isolation=kind),
                lambda made: made.undo(),
            )

# ---- greenlet ----


def installed():
    adapters.install("greenlet")
    return Work()


def install(made):
    adapters.install("greenlet")
    return made


def uninstall(*_):
    adapters.uninstall("greenlet")


def add_greenlets(system):
    """Making, switching and ending are left out: greenlet ends the process where it gets no memory, without the
    adapter too (3.5.6: SIGSEGV in expose_frames(), "Failed low-level slp_switch()")."""

    def suspended():
        made = system.greenlet(lambda: system.getcurrent().parent.switch())
        made.switch()
        return made

    def suspended_and_installed():
        made = suspended()
        adapters.install("greenlet")
        return made

    def end(made, _):
        uninstall()
        made.throw()

    operation("install greenlet", Work, install, uninstall)
    operation("install greenlet, with suspended ones", suspended, install, end)
    operation("uninstall greenlet", installed, uninstall)
    operation(
        "a greenlet's record",
        suspended_and_installed,
        lambda made: repr(adapters.greenlet.record_of(made)),
        end,
    )


with contextlib.suppress(ImportError):
    import greenlet

    add_greenlets(greenlet)
