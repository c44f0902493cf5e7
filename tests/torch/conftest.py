"""Finds the package that was built in this tree, if none is installed."""

import importlib.util
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
if importlib.util.find_spec("libcoll_torch") is None:
    sys.path.insert(0, str(HERE.parents[1] / "build/release/python"))
