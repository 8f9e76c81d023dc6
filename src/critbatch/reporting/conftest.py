"""The examples in docstrings are tests, but for modules whose package is not there."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("matplotlib") else ["paper_*.py"]
