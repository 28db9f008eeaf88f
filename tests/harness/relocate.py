"""Make unpacked Debian packages work where they lie, though built to lie in the root directory.

Programs in `usr/bin` run with the libraries that lie beside them, the C library included; where one
of these libraries has a RUNPATH (libLLVM does), LD_LIBRARY_PATH must help. A Python finds its own
headers, time zones and bundled wheels. Other absolute paths, such as those in `.pc` files, stay as
they are.
"""

import re
from pathlib import Path

import commands
import tools


def relocate(folder: Path, final: Path) -> None:
    """Adjust the packages unpacked in `folder`, which is going to be renamed to `final`."""
    libraries = [
        path.relative_to(folder)
        for pattern in ("usr/lib/*-linux-*", "lib/*-linux-*")
        for path in folder.glob(pattern)
    ]
    for path in folder.glob("usr/bin/*"):
        if _is_elf(path):
            _use_libraries_beside(path, folder, final, libraries)
    for path in folder.glob("usr/lib/python3*/_sysconfig*"):
        if not path.is_symlink():
            text = path.read_text()
            path.write_text(re.sub(r"/usr(?=/(include|lib|share)\b)", f"{final}/usr", text))
    for path in folder.glob("usr/include/*/python3*/pyconfig.h"):
        # The file of this name in usr/include/python3.x includes this one, and finds it only when
        # usr/include is searched, where headers that do not fit the machine's compiler may lie.
        path.replace(folder / "usr/include" / path.parent.name / "pyconfig.h")


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _use_libraries_beside(program: Path, folder: Path, final: Path, libraries: list[Path]) -> None:
    patchelf = tools.program("patchelf")
    linker = Path(commands.output(patchelf, "--print-interpreter", program).strip()).name
    for library in libraries:
        if (folder / library / linker).exists():
            commands.output(patchelf, "--set-interpreter", final / library / linker, program)
    # An old-style RPATH also serves the libraries that are loaded later; a RUNPATH does not.
    search = ":".join(str(final / library) for library in libraries)
    commands.output(patchelf, "--force-rpath", "--set-rpath", search, program)
