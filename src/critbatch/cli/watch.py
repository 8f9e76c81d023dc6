"""The command that shows a study while it goes on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from critbatch.cli.app import app
from critbatch.reports.translator import languages

if TYPE_CHECKING:
    from critbatch.records.monitor import Look


@app.command()
def watch(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="A folder of sweep, advise or lecture, or the URL of a --storage."),
    ],
    every: Annotated[float, typer.Option("--every", min=0.1, metavar="SECONDS", help="Between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One look. So it is where the output is no terminal.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Write report.html anew when more runs are done.")] = False,
    language: Annotated[str, typer.Option("--language", help=f"{' or '.join(languages())}.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print one look as JSON and nothing else.")] = False,
) -> None:
    """Show how far a study is while others work on it: runs, time left, the best so far, the curves.

    It takes no part: nothing is written but the report, and only if that is asked for. It ends when nothing is left and
    nobody is at work, or with Ctrl-C.

    \b
        critbatch watch critbatch-out/digits-mlp
        critbatch watch critbatch-out/digits-mlp --report
        critbatch watch postgresql+psycopg://user@host/name --every 10
    """
    from rich.console import Console
    from rich.live import Live

    from critbatch.reports.live import farewell, view
    from critbatch.reports.translator import Translator
    from critbatch.studies.watch import Watch

    t, console = Translator(language), Console()
    try:
        with Watch(study) as watching:
            reports = Reports(watching.places, language) if report else None
            look = watching.look()
            if reports is not None:
                reports.write(look)
            if as_json:
                print(look.to_json(indent=1))
                return
            if once or not console.is_terminal:
                console.print(view(look, t, width=console.width, height=console.height))
                return
            with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
                while True:
                    live.update(
                        view(look, t, width=console.width, height=console.height, live=not look.over), refresh=True
                    )
                    if look.over:
                        return
                    time.sleep(every)
                    look = watching.look()
                    if reports is not None:
                        reports.write(look)
    except KeyboardInterrupt:
        console.print(farewell(t))


class Reports:
    """The reports of studies, written again when there is more to tell.

    Args:
        places: of each database its folder, or its URL; those that are opened later come to it.
    """

    def __init__(self, places: Mapping[str, str], language: str) -> None:
        self.places, self.language = places, language
        self._told: dict[str, int] = {}

    def write(self, look: Look) -> None:
        """An advice is told of by its own command, at its end."""
        from critbatch.reports.write import report as write_report

        done = Counter[str]()
        for study in look.studies:
            done[study.where] += study.done if study.question is not None else 0
        for where, runs in done.items():
            if runs > self._told.get(where, 0):
                write_report(self.places[where], language=self.language)
                self._told[where] = runs
