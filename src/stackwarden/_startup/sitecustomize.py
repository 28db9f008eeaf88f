"""For PYTHONPATH: begins what STACKWARDEN and ``-X stackwarden`` ask for, in every Python of a process tree.

Another version of Python may run this, which has no stackwarden: then nothing is done. A sitecustomize that
this one hides is run after it.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec


def _run_hidden() -> None:
    own = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 (at every start)
    others = [folder for folder in sys.path if os.path.abspath(folder) != own]  # noqa: PTH100
    found = PathFinder.find_spec("sitecustomize", others)
    if found is not None and found.loader is not None:
        module = module_from_spec(found)
        sys.modules["sitecustomize"] = module
        found.loader.exec_module(module)


try:
    from _stackwarden_start.begin import begin
except ModuleNotFoundError:
    pass
else:
    begin()
_run_hidden()
