"""Starts with each interpreter of the environment: installs an adapter there and says so in a file.

STACKWARDEN_SUITE names the adapter; without it nothing is done. What fails here ends the process.
"""

import os
import sys


def install() -> None:
    from stackwarden import adapters

    adapters.install(os.environ["STACKWARDEN_SUITE"])
    with open(os.environ["STACKWARDEN_SUITE_LOG"], "a") as log:  # noqa: PTH123 (starts each process)
        log.write(f"{os.getpid()} {sys.argv}\n")


if "STACKWARDEN_SUITE" in os.environ:
    try:
        install()
    except BaseException as error:  # site prints it, and would go on
        print(f"in_every_process: {error!r}", file=sys.stderr)
        os._exit(99)
