"""Look at studies while others work on them: nothing is written, no lock is taken, and nobody waits."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from critbatch.campaigns.database import Database, explained, open_to_read
from critbatch.campaigns.held import is_held
from critbatch.campaigns.seen_shelf import Onlooker, SeenShelf
from critbatch.campaigns.store import FILE
from critbatch.campaigns.stored_studies import store_of
from critbatch.campaigns.terms import Terms
from critbatch.campaigns.trials import TERMS
from critbatch.errors import UserError
from critbatch.records.monitor import Look

# A folder of studies has them so deep at the most: `lecture` puts each study into a folder of its own.
DEEPEST = 3


def stores_in(place: str) -> list[Path | str]:
    """The store of a folder, those of the folders in it, or the URL as it is.

    Raises:
        UserError: if there is none.
    """
    if (store := store_of(place)) is not None:
        return [store]
    folder = Path(place)
    if not folder.exists():
        raise UserError(
            f"There is no folder {place}: give the --out of `critbatch sweep` or `advise`, or the URL of a --storage."
        )
    below = [path for depth in range(1, DEEPEST + 1) for path in sorted(folder.glob(f"{'*/' * depth}{FILE}"))]
    if not below:
        raise UserError(
            f"{place} holds no study: give the --out of `critbatch sweep` or `advise`, once it has begun to make runs, "
            "or the URL of a --storage."
        )
    return [*below]


class Watch:
    """Several looks at the same stores: what has come to its end is read once.

    with Watch("critbatch-out/digits-mlp") as watch:
        watch.look()

    Raises:
        UserError: if there is no study, or a database cannot be read.
    """

    def __init__(self, place: str | Path) -> None:
        self.places: dict[str, str] = {}  # by what sentences call a database: its folder, or its URL
        self._place = str(place)
        self._stores: dict[Path | str, tuple[Database, Onlooker]] = {}
        self._shelves: dict[tuple[str, int], SeenShelf] = {}
        self._closing = ExitStack()
        with ExitStack() as closing:
            closing.callback(self.close)
            self._open_new()
            closing.pop_all()

    def _open_new(self) -> None:
        """Also those that were begun since: one command may make several studies."""
        for store in stores_in(self._place):
            if store not in self._stores:
                database = open_to_read(store)
                self._closing.callback(database.close)
                folder = Path() if isinstance(store, str) else store.parent
                self._stores[store] = database, Onlooker(folder / "workers")
                self.places[database.where] = store if isinstance(store, str) else str(folder)

    def look(self) -> Look:
        """What there is by now.

        Raises:
            UserError: if a database cannot be read.
        """
        self._open_new()
        studies = []
        for database, onlooker in self._stores.values():
            with explained(database.where):
                found = database.storage.get_all_studies()
            for study in sorted(found, key=lambda study: -study._study_id):
                if TERMS not in study.user_attrs:
                    continue
                place = (database.where, study._study_id)
                if place not in self._shelves:
                    terms = Terms.from_json(study.user_attrs[TERMS])
                    self._shelves[place] = SeenShelf(database, study._study_id, terms, onlooker)
                if (told := self._shelves[place].so_far()) is not None:
                    studies.append(told)
        return Look(
            at=datetime.now().astimezone().isoformat(timespec="seconds"),
            studies=tuple(studies),
            held=any(is_held(Path(place) / "store.lock") for place in {self._place, *self.places.values()}),
        )

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
