"""What several test files need."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from critbatch.tasks.datasets import find_in, given_folder
from critbatch.tasks.published_sets import SETS

# Processes that tests start find the fixtures, and the tests themselves.
TESTS = Path(__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(TESTS), str(TESTS / "fixtures"), *filter(None, [os.environ.get("PYTHONPATH")])]
)

# A shell that puts the tests into the background has them, and all they start, ignore Ctrl-C: some of them send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_hooks() -> Iterator[None]:
    """The command line changes what belongs to its process, which a test shares with the others."""
    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGINT)
    yield
    sys.unraisablehook = hook
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set, given its name; the test is skipped where there is none."""

    def folder_of(name: str) -> Path:
        root = given_folder()
        found = find_in(root, SETS[name]) if root is not None else None
        if found is None:
            pytest.skip(f"$CRITBATCH_DATA ({root or 'not set'}) has no {name}: `make data` fetches it")
        return found

    return folder_of
