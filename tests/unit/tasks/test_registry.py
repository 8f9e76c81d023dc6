"""A name leads to a task, or to one sentence about the person's own code."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from critbatch.errors import UserError
from critbatch.tasks.registry import find_task
from critbatch.tasks.task import Task

WHOLE = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from torch import nn
import critbatch

@dataclass
class Net:
    width: int

    def __call__(self):
        return nn.Linear(self.width, 2)

def make():
    points = torch.randn(8, 3), torch.arange(8) % 2
    target = critbatch.Target(quantity="validation_metric", value=0.9)
    return critbatch.Task("mine", model=Net(3), train=points, validation=points, target=target)

def needs(width):
    return make()

class Nothing:
    pass

task = make()
number = 3
_hidden = 4
"""


@pytest.fixture(autouse=True)
def clean_modules() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("critbatch_task_", "own_")):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(code: str, name: str = "own_file.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
        return path

    return written


def test_a_built_in_name_is_that_task() -> None:
    assert find_task("digits-mlp").name == "digits-mlp"


@pytest.mark.parametrize("attribute", ["task", "make"])
def test_a_file_s_task_is_found_as_an_object_and_as_a_function(write: Callable[..., Path], attribute: str) -> None:
    before = list(sys.path)
    task = find_task(f"{write(WHOLE)}:{attribute}")
    assert isinstance(task, Task)
    assert task.name == "mine"
    assert sys.path == before


def test_a_relative_path_is_looked_up_from_here(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(WHOLE, "deep/own_file.py").parent.parent)
    assert find_task("deep/own_file.py:task").name == "mine"
    monkeypatch.chdir("deep")
    assert find_task("own_file.py:task").name == "mine"


def test_what_a_file_defines_can_be_pickled(write: Callable[..., Path]) -> None:
    task = find_task(f"{write(WHOLE)}:task")
    again = pickle.loads(pickle.dumps(task))
    assert again.model == task.model
    assert again.fingerprint() == task.fingerprint()


def test_two_files_of_one_name_are_two_modules(write: Callable[..., Path]) -> None:
    other = WHOLE.replace('"mine"', '"other"')
    paths = write(WHOLE, "a/own_file.py"), write(other, "b/own_file.py")
    assert [find_task(f"{path}:task").name for path in paths] == ["mine", "other"]


def test_a_file_may_import_its_neighbours(write: Callable[..., Path]) -> None:
    write(WHOLE, "own_neighbour.py")
    path = write("def task():\n    from own_neighbour import make\n    return make()\n")
    assert find_task(f"{path}:task").name == "mine"


def test_a_module_is_found_from_the_current_folder(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    write("", "own_package/__init__.py")
    monkeypatch.chdir(write(WHOLE, "own_package/inner.py").parent.parent)
    before = list(sys.path)
    assert find_task("own_package.inner:task").name == "mine"
    assert sys.path == before


def test_a_task_that_does_not_fit_keeps_its_own_sentence(write: Callable[..., Path]) -> None:
    path = write(WHOLE.replace("torch.arange(8) % 2", "torch.arange(8)"))
    with pytest.raises(
        UserError, match=r"^Task 'mine': the training labels run from 0 to 7, but the model has 2 outputs"
    ):
        find_task(f"{path}:task")


NAMES = {
    "digits-mpl": r"Task 'digits-mpl' is not known: use digits-mlp(, [\w-]+)*, or your own as path/to/file.py:task\.",
    "Fashion-CNN": r"use fashion-cnn,",
    "zebra": r"use digits-mlp, digits-narrow, mnist-mlp, fashion-mlp, fashion-cnn, cifar10-cnn, ",
    "<b>": r"Task '<b>' is not known",
    "": r"Task '' is not known",
    "own_file.py": r"names a file alone: add the task within it, as in own_file.py:task\.",
    "own_file.py:": r"lacks a part: write path/to/file.py:task or package.module:task",
    ":task": r"lacks a part",
    "nowhere.py:task": r"There is no file nowhere.py: give the path of a Python file",
    "no/where:task": r"There is no file no/where: give the path of a Python file",
    "own_nowhere:task": r"There is no module own_nowhere: give one that can be imported from here",
    "own_nowhere.inner:task": r"There is no module own_nowhere.inner",
    "own_file.inner:task": r"There is no module own_file.inner|could not be loaded: ModuleNotFoundError",
    "own_file.py:tusk": r"own_file.py has no 'tusk': use task\.",
    "own_file.py:number": r"own_file.py:number is a int: give a critbatch.Task, or a function",
    "own_file.py:Nothing": r"own_file.py:Nothing returned a Nothing: give a critbatch.Task",
    "own_file.py:needs": r"own_file.py:needs needs arguments: give a Task, or a function without arguments\.",
    "notes.txt:task": r"notes.txt is no Python file: its name must end with .py\.",
    "..own_file:task": r"could not be loaded: TypeError: the 'package' argument is required",
}


@pytest.mark.parametrize(("name", "sentence"), NAMES.items(), ids=list(NAMES))
def test_a_name_that_leads_nowhere_is_answered_in_a_sentence(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    write("just words", "notes.txt")
    monkeypatch.chdir(write(WHOLE).parent)
    before = list(sys.path)
    with pytest.raises(UserError, match=sentence) as caught:
        find_task(name)
    assert "\n" not in str(caught.value)
    assert sys.path == before


RAISING = {
    "import torch\n\nwidth = 1 / 0\n": r"ZeroDivisionError: division by zero \(\S+own_file.py, line 3\)\.",
    "def task():\n    return {}['width']\n": r"KeyError: 'width' \(\S+own_file.py, line 2\)\.",
    "def task(:\n": r"SyntaxError: .* \(\S+own_file.py, line 1\)\.",
    "import own_missing\n": r"ModuleNotFoundError: No module named 'own_missing' \(\S+own_file.py, line 1\)\.",
    "import sys\n\nsys.exit('usage')\n": r"SystemExit: usage \(\S+own_file.py, line 3\)\.",
    "import own_broken\n": r"ValueError: no \(\S+own_broken.py, line 4\)\.",
    "import json\n\ntask = json.loads('{')\n": r"JSONDecodeError: .* \(\S+own_file.py, line 3\)\.",
    "raise RuntimeError('first\\nsecond')\n": r"RuntimeError: first \(\S+own_file.py, line 1\)\.",
    "raise RuntimeError\n": r"RuntimeError: no message \(\S+own_file.py, line 1\)\.",
}


@pytest.mark.parametrize("by_module", [False, True], ids=["file", "module"])
@pytest.mark.parametrize(("code", "sentence"), RAISING.items())
def test_code_that_raises_is_answered_with_its_error_file_and_line(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, code: str, sentence: str, by_module: bool
) -> None:
    write("def check():\n\n\n    raise ValueError('no')\ncheck()\n", "own_broken.py")
    monkeypatch.chdir(write(code).parent)
    before = list(sys.path)
    with pytest.raises(UserError, match=rf"could not be loaded: {sentence}") as caught:
        find_task("own_file:task" if by_module else "own_file.py:task")
    assert "\n" not in str(caught.value)
    assert sys.path == before


def test_an_interrupt_while_loading_is_not_swallowed(write: Callable[..., Path]) -> None:
    before = list(sys.path)
    with pytest.raises(KeyboardInterrupt):
        find_task(f"{write('raise KeyboardInterrupt')}:task")
    assert sys.path == before
    assert not any(name.startswith("critbatch_task_own_file") for name in sys.modules)
