/* versions.h: the CPython that this is compiled for, as macros that are always defined, to 0 or 1. */
#ifndef SWPY_VERSIONS_H
#define SWPY_VERSIONS_H

#include <Python.h>

#define SWPY_311 (PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000)
#define SWPY_312_313 (PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000)
#define SWPY_314_UP (PY_VERSION_HEX >= 0x030E0000)
/* Has the private layout of this minor version been studied? Newer ones get the public setter alone. */
#define SWPY_LAYOUT_STUDIED (PY_VERSION_HEX < 0x03100000)

#endif
