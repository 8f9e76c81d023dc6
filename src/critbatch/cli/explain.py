"""The commands that explain: reports of records, the built-in tasks, the recipes."""

from __future__ import annotations

import inspect
from typing import Any

from critbatch.cli.options import command


@command("report", panel="Explain", words={"records": "STUDY"}, flags={"path": "--out"})
def report(records: str, **options: Any) -> None:
    """
    critbatch report critbatch-out/digits-mlp --language zh
    critbatch report critbatch-out/digits-mlp --format md
    critbatch report critbatch-out/digits-mlp --out paper/appendix.pdf
    """
    from critbatch.reports.write import report

    print(report(records, **options))


@command("", panel="Explain")
def tasks(*, json: bool = False) -> None:
    """List the built-in tasks.

        critbatch tasks

    Args:
        json: Print the list as JSON.
    """
    list_tasks(as_json=json)


def list_tasks(*, as_json: bool) -> None:
    """The built-in tasks on standard output."""
    from json import dumps

    from critbatch.tasks.builtin import TASKS

    if as_json:
        rows = {name: {"description": entry.description, "model": entry.model} for name, entry in TASKS.items()}
        print(dumps(rows, indent=1))
        return
    width = max(map(len, TASKS))
    for name, entry in TASKS.items():
        print(f"{name:<{width}}  {entry.model}; {entry.description}")
    print("\nYour own: path/to/file.py:task or package.module:task, where `task` is a critbatch.Task or makes one.")


@command("", panel="Explain", words={"name": "RECIPE"})
def recipes(name: str | None = None, *, json: bool = False) -> None:
    """List the recipes, with their papers and options.

        critbatch recipes
        critbatch recipes lamb2020

    Args:
        name: Recipe to describe, with its options. Default: all recipes.
        json: Print the list as JSON.
    """
    from json import dumps

    from critbatch.recipes import RECIPES, options_of, recipe_info

    names = list(RECIPES) if name is None else [name]
    infos = {one: recipe_info(one) for one in names}
    rows: dict[str, dict[str, Any]] = {
        one: {"options": options_of(one), "paper": info.paper, "changes": info.changes, "needs": info.needs}
        for one, info in infos.items()
    }
    if json:
        print(dumps(rows, indent=1))
    elif name is not None:
        row = rows[name]
        print(f"{name}: {row['paper']}\n  changes  {row['changes']}\n  needs    {row['needs']}\n")
        print(inspect.getdoc(infos[name].make_plan))
        print(f"\nOptions: {', '.join(f'{key}={value}' for key, value in options_of(name).items())}")
    else:
        width = max(map(len, names))
        for one in names:
            row = rows[one]
            print(f"{one:<{width}}  {row['paper']}")
            print(f"{'':<{width}}  {row['changes']}; needs {row['needs']}")
        print("\n`critbatch recipes NAME` shows its options; `critbatch train TASK --recipe NAME` trains with it.")
