"""Finds a task by name: a built-in task, or one in the user's own file or module."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from critbatch.arguments import as_path, checked_call
from critbatch.errors import UserError
from critbatch.tasks.builtin import TASKS
from critbatch.tasks.checks import first_line
from critbatch.tasks.task import Task


def as_task(task: Task | str) -> Task:
    """The task, or the one with this name."""
    return find_task(task) if isinstance(task, str) else task


@checked_call
def find_task(name: str) -> Task:
    """Return the task called `name`.

    Args:
        name: A built-in name such as "digits-mlp", or `path/to/file.py:task`, or `package.module:task`. The part after
            the colon is a `Task`, or a function without arguments that returns one. While the code is loaded, it can
            import from its own folder; a module can import from the current folder.

    Raises:
        UserError: If there is no such task, or the code that creates it raises an exception. The sentence names the
            line of the user's code.
        DataMissing: If the data of a built-in task are in none of the places.
    """
    if name in TASKS:
        return TASKS[name].build()
    place, colon, attribute = name.rpartition(":")
    if not colon:
        raise UserError(_unknown(name))
    with load_user_module(name, what="Task") as module:
        return _task_of(module, attribute, place)


@contextmanager
def load_user_module(name: str, *, what: str) -> Iterator[ModuleType]:
    """Load the module of `path/to/file.py:NAME` or `package.module:NAME`; NAME itself is looked up by the caller.

    Within the block, what the person's code raises becomes one sentence with the line where it happened.

    Args:
        name: as the person typed it.
        what: "Task" or "Recipe", for the sentences.

    Raises:
        UserError: if a part of the name is missing, or the code cannot be loaded.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        word = what.lower()
        raise UserError(f"{what} {name!r} lacks a part: write path/to/file.py:{word} or package.module:{word}.")
    file = as_path(place).expanduser()
    is_file = file.suffix == ".py" or file.is_file() or len(file.parts) > 1
    folder = file.resolve().parent if is_file else Path.cwd()
    with _importable(folder), _blamed_on(name, folder, what):
        yield _load_file(file, what) if is_file else _load_module(place, what)


def _unknown(name: str) -> str:
    if name.endswith(".py"):
        return f"Task {name!r} names a file alone: add the task within it, as in {name}:task."
    close = difflib.get_close_matches(name.lower(), TASKS, n=3) or list(TASKS)
    return f"Task {name!r} is not known: use {', '.join(close)}, or your own as path/to/file.py:task."


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the user's code import modules beside it. Only this entry of `sys.path` is removed afterwards."""
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


@contextmanager
def _blamed_on(name: str, folder: Path, what: str) -> Iterator[None]:
    """Turn an exception of the user's code into a one-sentence UserError with the line where it occurred."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{what} {name!r} could not be loaded: {first_line(error)}{_where(error, folder)}.") from error


def _where(error: BaseException, folder: Path) -> str:
    """The last line of the user's own code in the traceback."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(frame.filename, folder)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _is_own(filename: str, folder: Path) -> bool:
    path = Path(filename).resolve()
    ours = Path(__file__).resolve().parents[1]
    return path.is_relative_to(folder) and not path.is_relative_to(ours) and "site-packages" not in path.parts


def _load_file(file: Path, what: str) -> ModuleType:
    if not file.is_file():
        word = what.lower()
        raise UserError(f"There is no file {file}: give the path of a Python file, as in path/to/file.py:{word}.")
    path = file.resolve()
    # A name of its own, so that the file hides no other module; registered, since dataclasses and pickle look there.
    name = f"critbatch_task_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file: its name must end with .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _load_module(name: str, what: str) -> ModuleType:
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Another name is missing: an import within the module, which is the person's own error.
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise UserError(
            f"There is no module {name}: give one that can be imported from here, or path/to/file.py:{what.lower()}."
        ) from error


def _task_of(module: ModuleType, attribute: str, place: str) -> Task:
    if not hasattr(module, attribute):
        names = [name for name, value in vars(module).items() if isinstance(value, Task)]
        close = names or difflib.get_close_matches(attribute, [name for name in vars(module) if name[0] != "_"])
        hint = f"use {' or '.join(close)}" if close else "define a critbatch.Task by that name"
        raise UserError(f"{place} has no {attribute!r}: {hint}.")
    result = getattr(module, attribute)
    verb = ""
    if not isinstance(result, Task) and callable(result):
        if not _needs_nothing(result):
            raise UserError(f"{place}:{attribute} needs arguments: give a Task, or a function without arguments.")
        result, verb = result(), " returned"
    if not isinstance(result, Task):
        raise UserError(
            f"{place}:{attribute}{verb or ' is'} a {type(result).__name__}: give a critbatch.Task, or a function "
            "without arguments that returns one."
        )
    return result


def _needs_nothing(function: Any) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:  # a built-in without a signature: calling it will tell
        return True
    return True
