"""The examples in docstrings are tests, but for modules whose package is not there."""

from __future__ import annotations

from importlib.util import find_spec

NEEDS = {"lightning": ["lightning"], "huggingface": ["transformers", "accelerate"]}
collect_ignore = [f"{module}.py" for module, packages in NEEDS.items() if not all(map(find_spec, packages))]
