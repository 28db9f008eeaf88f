"""Where the installed package keeps what other packages are built with."""

import os

_PACKAGE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 (pathlib costs import time)


def get_include() -> str:
    """The folder to put on a compiler's include path: ``#include <stackwarden/stackwarden.h>``."""
    return os.path.join(_PACKAGE, "include")  # noqa: PTH118


def get_cmake_dir() -> str:
    """The folder for ``stackwarden_DIR``: ``find_package(stackwarden CONFIG)``."""
    return os.path.join(_PACKAGE, "cmake")  # noqa: PTH118


def get_pkgconfig_dir() -> str:
    """The folder for ``PKG_CONFIG_PATH``: ``pkg-config --cflags stackwarden``."""
    return os.path.join(_PACKAGE, "pkgconfig")  # noqa: PTH118
