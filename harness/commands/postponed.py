"""Modules that a command loads only when something of them is used, though a library imports them by name."""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module

STARRED = ("f2py", "testing")
"""Modules of numpy that `scipy.special` asks for with `from numpy import *`, and does not use.

Others could be postponed too, but a program may import modules inside them, which would load them twice.
"""


def postpone_numpy_modules() -> None:
    """Let `scipy.special` be imported without the modules of numpy that it does not use: a third of its time.

    Only for a command that is alone in its process: Python 3.11 lets two threads load such a module at once.
    """
    numpy = import_module("numpy")
    for name in STARRED:
        full = f"numpy.{name}"
        found = None if full in sys.modules else importlib.util.find_spec(full)
        if found is None or found.loader is None:
            continue
        found.loader = importlib.util.LazyLoader(found.loader)
        module = importlib.util.module_from_spec(found)
        sys.modules[full] = module
        found.loader.exec_module(module)
        setattr(numpy, name, module)
