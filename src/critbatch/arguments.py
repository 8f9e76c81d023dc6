"""What public calls take: a task or its name, a path as text or as a Path, a device or its name, and plain numbers.

A public call is decorated with `checked_call`, which compares every argument with its annotation before any work
begins, so that a wrong type is one sentence and no error from deep inside. `as_path` here, `as_task` beside `find_task`
and `as_device` beside `pick_device` then make one type out of those that are accepted.
"""

from __future__ import annotations

import collections.abc
import hashlib
import inspect
import math
import numbers
import os
import re
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from critbatch.errors import UserError

# How large a count can be: processes, threads, devices, batch sizes, steps, seeds and whatever else is counted.
#
# Every command and every public call compares its counts with these limits before any work begins, by the names of
# their arguments, which are the same everywhere. What starts processes or threads asks again where it starts them. A
# limit is far above what anybody needs, and far below what fills a machine.

PROCESSES_PER_CORE = 8
"""Of workers and of threads: more only wait for each other."""

FEWEST_ALLOWED = 8
"""On a machine of one core, too."""

PROCESS_BYTES = 256 << 20
"""Memory that a process needs at least, torch loaded."""

MOST_DEVICES = 4096
MOST_SEED = 2**32 - 1
MOST_VALUES = 10_000
"""In a list of batch sizes, seeds or devices."""

MOST_DIGITS_SHOWN = 30  # digits


@dataclass(frozen=True)
class Limit:
    """The largest number that is possible, and the smallest where the call itself does not know better.

    Args:
        most: the largest.
        least: the smallest; None where the call says what it needs.
        reason: what the largest follows from, in words.
    """

    most: int
    least: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        reach = f"use {self.most} at most" if self.least is None else f"use {self.least} to {self.most}"
        return f"{reach}: {self.reason}" if self.reason else reach


EXAMPLES, STEPS, RUNS, DEVICES = Limit(10**12), Limit(10**12), Limit(10**5), Limit(MOST_DEVICES)
EIGENVALUES, PIXELS, PRODUCTS, SEED = Limit(10_000), Limit(10_000), Limit(10**6), Limit(MOST_SEED, least=0)

LIMITS: dict[str, Limit] = {
    **dict.fromkeys(
        ("batch_size", "chunk", "current_batch_size", "examples", "large", "micro_batch_size", "share"), EXAMPLES
    ),
    **dict.fromkeys(("small", "base_batch", "ghost_batch", "largest_batch", "second_batch_size"), EXAMPLES),
    **dict.fromkeys(("small_batch_size", "tokens_per_example"), EXAMPLES),
    **dict.fromkeys(("descent_steps", "every", "iterations", "local_steps", "noise_every", "steps"), STEPS),
    **dict.fromkeys(("draws", "starts", "trials"), RUNS),
    **dict.fromkeys(("largest", "smallest"), EIGENVALUES),
    **dict.fromkeys(("cutout", "padding"), PIXELS),
    "batches": Limit(10**6),
    "copies": Limit(1024),
    "devices_per_node": DEVICES,
    "factor": Limit(10**6),
    "most_products": Limit(PRODUCTS.most, least=1),
    "points": Limit(10_000),
    "seed": SEED,
    "seeds": Limit(1000),
    "subspace": Limit(10_000),
    "trace_products": PRODUCTS,
    # Beyond that of a call, whose models may have the seeds that follow its own.
    "weights_seed": Limit(2**63 - 1),
    "window": Limit(10**7),
}
"""By the name of an argument. Workers and threads, whose limits are those of the machine, are beside it."""

LISTS: dict[str, Limit] = {
    "at": EXAMPLES,
    "batch_sizes": EXAMPLES,
    "claims": Limit(1000),
    "devices": DEVICES,
    "seeds": Limit(MOST_SEED),
}
"""Of each number of a list."""

ONE = {"batch_sizes": "batch_size", "claims": "claim", "seeds": "seed"}
"""What one number of a list is called."""


def host_memory_bytes() -> int:
    """Memory of the whole machine, or of this process's control group, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
        total = min(total, int(text))
    return total


def process_limit() -> Limit:
    """Processes that this machine can hold: by its cores, and by its memory."""
    cores, memory = os.cpu_count() or 1, host_memory_bytes()
    most = max(1, min(max(FEWEST_ALLOWED, PROCESSES_PER_CORE * cores), memory // PROCESS_BYTES))
    return Limit(most, reason=f"this machine has {_cores(cores)} and {memory / 2**30:.3g} GiB of memory")


def thread_limit() -> Limit:
    """Threads that torch may use within one operation on this machine."""
    cores = os.cpu_count() or 1
    return Limit(max(FEWEST_ALLOWED, PROCESSES_PER_CORE * cores), reason=f"this machine has {_cores(cores)}")


def _cores(number: int) -> str:
    return "1 core" if number == 1 else f"{number} cores"


def check_count(spelled: str, value: int, limit: Limit) -> None:
    """Refuse a number that is not possible.

    Args:
        spelled: as the user gave it, such as ``--workers 99`` or ``workers=99``.
        value: the number.
        limit: of it.

    Raises:
        UserError: if it is beyond its limit.
    """
    if value > limit.most or (limit.least is not None and value < limit.least):
        raise UserError(f"{spelled} is not possible: {limit}.")


def check_counts(given: Mapping[str, Any], spell: Callable[[str, str], str]) -> None:
    """Refuse counts beyond their limits among the arguments of a command or a call.

    Args:
        given: by name; what is no whole number, and no list of them, is left alone, and so are names without a limit.
        spell: an argument with its value in text, as the user would recognize it.

    Raises:
        UserError: if a number is beyond its limit, or a list too long.
    """
    # The nodes of a Ray cluster have cores of their own.
    elsewhere = given.get("ray") is not None
    for name, value in given.items():
        if _is_count(value):
            limit = _limit_of(name, elsewhere)
            if limit is not None:
                check_count(spell(name, _shown(value)), int(value), limit)
        elif name in LISTS and isinstance(value, Sequence) and not isinstance(value, str):
            if len(value) > MOST_VALUES:
                raise UserError(f"{spell(name, f'of {len(value)} values')} is too long: give {MOST_VALUES} at most.")
            for each in value:
                if _is_count(each):
                    check_count(spell(ONE.get(name, name), _shown(each)), int(each), LISTS[name])


def _limit_of(name: str, elsewhere: bool) -> Limit | None:
    if name in ("workers", "threads") and elsewhere:
        return DEVICES
    if name == "workers":
        return process_limit()
    return thread_limit() if name == "threads" else LIMITS.get(name)


def _is_count(value: Any) -> bool:
    """Whether it is a whole number, also one of numpy or torch."""
    return not isinstance(value, bool) and hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0


def _shown(value: Any) -> str:
    digits = int(int(value).bit_length() * 0.30103) + 1
    # Python refuses to write numbers of thousands of digits.
    return f"1e{digits - 1}" if digits > MOST_DIGITS_SHOWN else str(int(value))


P = ParamSpec("P")
R = TypeVar("R")

OUTPUT_FOLDER = Path("critbatch-out")
MOST_CHARACTERS_SHOWN = 60
LARGEST_INTEGER = (1 << 63) - 1  # that a tensor or a database holds
LONGEST_NAME, LONGEST_PATH = 255, 4096  # in bytes, of Linux and macOS


def as_path(place: str | os.PathLike[str]) -> Path:
    """The path.

    Raises:
        UserError: if no file can have this name.
    """
    try:
        raw = os.fsencode(place)
        if b"\0" in raw:
            raise ValueError("it has a NUL character")
        if len(raw) >= LONGEST_PATH or max(map(len, raw.split(b"/"))) > LONGEST_NAME:
            raise ValueError("it is too long")
    except ValueError as error:
        shown = f"{os.fspath(place)!r:.{MOST_CHARACTERS_SHOWN}}"
        raise UserError(f"{shown} cannot be the name of a file ({error}): give another path.") from None
    return Path(place)


def output_folder(out: str | os.PathLike[str] | None, name: str) -> Path:
    """The folder `out`, or `critbatch-out/NAME` where it is None."""
    return as_path(out) if out is not None else OUTPUT_FOLDER / as_file_name(name)


def as_file_name(name: str) -> str:
    """A task's name with nothing in it that a folder's name cannot have.

    >>> as_file_name("../my task<b>")
    'my-task-b'
    """
    clean = re.sub(r"[^\w.]+", "-", name).strip("-.") or "task"
    if len(clean) <= MOST_CHARACTERS_SHOWN:
        return clean
    return f"{clean[:MOST_CHARACTERS_SHOWN]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def checked_call(function: Callable[P, R]) -> Callable[P, R]:
    """Compare all arguments with their annotations before the function is called.

    A number must be finite. Where an annotation is an enumeration, the text of one of its members is accepted.

    Raises:
        UserError: if an argument has another type. The sentence says what was given and what would work.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        bound = signature.bind(*args, **given)
        bound.arguments.update(checked_arguments(function.__name__, bound.arguments, function))
        return function(*bound.args, **bound.kwargs)

    return call


def renamed_arguments(**current: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take the old names of its arguments for one release, each with a `DeprecationWarning`.

    Args:
        current: the name of today by the old one.

    >>> @renamed_arguments(price="price_per_hour")
    ... def cost(*, price_per_hour: float) -> float:
    ...     return price_per_hour
    >>> with warnings.catch_warnings(record=True) as notices:
    ...     warnings.simplefilter("always")
    ...     cost(price=2.0), str(notices[0].message)
    (2.0, 'cost: price is now called price_per_hour. The old name stops working in the next release.')
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        called = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]

        @wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> R:
            for old in [name for name in given if name in current]:
                notice_renamed(f"{called}: {old}", current[old])
                if current[old] in given:
                    raise UserError(f"{called}: {old} is the old name of {current[old]}: give one of them.")
                given[current[old]] = given.pop(old)
            return function(*args, **given)

        return call

    return decorate


def notice_renamed(old: str, current: str) -> None:
    """Warn whoever wrote the call that a name has changed."""
    sentence = f"{old} is now called {current}. The old name stops working in the next release."
    warnings.warn(sentence, DeprecationWarning, stacklevel=3)


RENAMED_OPTIONS = {"decay": "lr_decay", "warm_up_epochs": "warmup_epochs"}
"""Options of recipes: the name of today by the one of version 0.1."""

RENAMED_CHOICES = {("lr_decay", "stairs"): "step"}
"""Values of such options, likewise."""


def current_options(options: Mapping[str, Any], *, notice: bool = False) -> dict[str, Any]:
    """Options of a recipe under their names of today, whichever release wrote them.

    Args:
        options: values by name, or several values of each.
        notice: warn about old names, where a user gave them.

    >>> current_options({"decay": "stairs", "momentum": (0.8, 0.9)})
    {'lr_decay': 'step', 'momentum': (0.8, 0.9)}
    """
    current: dict[str, Any] = {}
    for name, value in options.items():
        new = RENAMED_OPTIONS.get(name, name)
        if notice and new != name:
            notice_renamed(f"The option {name}", new)
        several = isinstance(value, list | tuple)
        values = [RENAMED_CHOICES.get((new, one), one) for one in (value if several else [value])]
        current[new] = type(value)(values) if several else values[0]
    return current


def first_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same options under their names of version 0.1: the keys of stored runs are made of these.

    >>> first_options({"lr_decay": "step", "momentum": 0.9})
    {'decay': 'stairs', 'momentum': 0.9}
    """
    names = {new: old for old, new in RENAMED_OPTIONS.items()}
    choices = {(name, new): old for (name, old), new in RENAMED_CHOICES.items()}
    return {
        names.get(name, name): choices.get((name, value), value) if isinstance(value, str) else value
        for name, value in options.items()
    }


_hints: dict[Callable[..., Any], dict[str, Any]] = {}


def checked_arguments(call: str, given: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Those of the arguments that the function's annotations know, compared with them as `checked_call` does.

    Args:
        call: how the sentence of an error names the call.
        given: arguments by their names.
        function: its annotations count.

    Raises:
        UserError: if one has another type.
    """
    if function not in _hints:
        # Not before the first call, since it imports what the annotations name.
        _hints[function] = get_type_hints(function)
    hints = _hints[function]
    parameters = inspect.signature(function).parameters
    plain = [name for name in given if name in hints and parameters[name].kind is not inspect.Parameter.VAR_KEYWORD]
    check_counts({name: given[name] for name in plain}, lambda name, value: f"{call}: {name}={value}")
    return {name: _checked(call, name, given[name], hints[name]) for name in plain}


def check_fields(instance: Any) -> None:
    """Compare the fields of a dataclass with their annotations, as `checked_call` does: for `__post_init__`."""
    kind = type(instance)
    given = {field.name: getattr(instance, field.name) for field in fields(instance)}
    for name, value in checked_arguments(kind.__name__, given, kind).items():
        object.__setattr__(instance, name, value)


def _checked(call: str, name: str, value: Any, hint: Any) -> Any:
    if _fits(value, hint):
        return value
    for kind in _options(hint):
        if inspect.isclass(kind) and issubclass(kind, Enum) and isinstance(value, str):
            if value in [member.value for member in kind]:
                return kind(value)
            known = " or ".join(repr(member.value) for member in kind)
            raise UserError(f"{call}: {name}={shown(value)} is not known: use {known}.")
        if get_origin(kind) is Literal and isinstance(value, str) and len(get_args(kind)) > 1:
            raise UserError(f"{call}: {name}={shown(value)} is not known: use {_words(kind)}.")
    if isinstance(value, numbers.Real) and not _is_finite(value) and _fits(0.0, hint):
        raise UserError(f"{call}: {name}={shown(value)} is not possible: use a finite number.")
    text = shown(value)
    kind = type(value).__name__
    what = text if text == kind else f"{text}, {'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    raise UserError(f"{call}: {name} is {what}: give {_words(hint)}.")


def shown(value: Any) -> str:
    """The value as Python writes it, or only its type where that is long or fails, as for a number of 5,000 digits."""
    try:
        text = re.sub(r"\s+", " ", repr(value))
    except Exception:
        return type(value).__name__
    return text if len(text) <= MOST_CHARACTERS_SHOWN else type(value).__name__


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    """Whether the value is of the annotated type; for a number also whether it is finite."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool) or type(value).__name__ == "bool_"
    if hint is int:
        return (
            not isinstance(value, bool) and isinstance(value, numbers.Integral) and abs(int(value)) <= LARGEST_INTEGER
        )
    if hint is float:
        return is_number(value)
    if origin is tuple:
        if not isinstance(value, tuple if Any in parts else tuple | list):
            return False
        if len(parts) == 2 and parts[1] is Ellipsis:
            return all(_fits(part, parts[0]) for part in value)
        return len(value) == len(parts) and all(map(_fits, value, parts))
    if origin is collections.abc.Mapping or origin is dict:
        return isinstance(value, collections.abc.Mapping) and all(
            _fits(key, parts[0]) and _fits(part, parts[1]) for key, part in value.items()
        )
    if origin in (collections.abc.Sequence, list):
        if isinstance(value, str | bytes | collections.abc.Mapping) or not hasattr(value, "__getitem__"):
            return False
        return hasattr(value, "__len__") and all(_fits(part, parts[0]) for part in value)
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return callable(value)
    return isinstance(value, origin or hint)


def is_number(value: Any) -> bool:
    """Whether it is a finite number. True and False are none.

    >>> is_number(0.5), is_number(float("nan")), is_number(10**400), is_number("1"), is_number(True)
    (True, False, False, False, False)
    """
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and _is_finite(value)


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


_NAMES = {
    int: "a whole number below 2^63",
    float: "a finite number",
    str: "text",
    bool: "True or False",
    Path: "a Path",
}


def _words(hint: Any) -> str:
    """What would fit, in words.

    >>> _words(int | None)
    'a whole number below 2^63 or None'
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        words = [_words(part) for part in parts]
        return f"{', '.join(words[:-1])} or {words[-1]}"
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if hint is type(None):
        return "None"
    if origin is tuple and not (len(parts) == 2 and parts[1] is Ellipsis):
        return f"a tuple of {len(parts)}: {', '.join(map(_words, parts))}"
    if origin in (collections.abc.Sequence, list, tuple):
        return f"a list, each part {_words(parts[0])}"
    if origin in (collections.abc.Mapping, dict):
        return f"a dict, each key {_words(parts[0])}, each value {_words(parts[1])}"
    if origin is collections.abc.Callable:
        return "a function"
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return " or ".join(repr(member.value) for member in hint)
    if hint in _NAMES:
        return _NAMES[hint]
    name = getattr(origin or hint, "__name__", str(hint))
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
