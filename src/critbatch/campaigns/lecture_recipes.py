"""The recipes at the large batch against plain training with small batches, each with the same tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from critbatch.campaigns.lecture_jobs import Part, make_study
from critbatch.campaigns.pool import Job
from critbatch.errors import UserError
from critbatch.predict.recipe_rows import recipe_row, untuned_row
from critbatch.recipes import options_of
from critbatch.records.claims import RecipeRow
from critbatch.records.study import Study

# Of the five papers that the lecture ends with, and growing batches.
RECIPES = ("goyal2017", "lars2017", "akiba2017", "lamb2020", "swap2020", "smith2017")


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Studies of one batch size and one recipe each.

    Args:
        plain: the task's own recipe, at the small and at the large batch size.
        recipes: the others, at the large one.
        examples: in the training set; batches that grow end there.
        epochs: of every run.
    """

    part: Part
    plain: str
    recipes: tuple[str, ...]
    small: int
    large: int
    examples: int
    epochs: float
    seeds: tuple[int, ...]
    folder: Path
    command: str

    def baseline(self, until: float | None) -> Job:
        """The small batch."""
        return self._study(self.plain, self.small, "small", until, may_fail=False)

    def others(self, baseline: Study | UserError, until: float | None) -> list[Job]:
        """The large batch: plain, also with the rate of the small one, and each recipe."""
        rate = rate_of(baseline)
        plain = self._study(self.plain, self.large, "large", until, learning_rates=[rate] if rate else None)
        return [plain, *(self._study(name, self.large, "large", until) for name in self.recipes)]

    def rows(self, baseline: Study | UserError | None, others: Sequence[Study | UserError]) -> tuple[RecipeRow, ...]:
        """The baseline first; a study that failed has no row."""
        told = [baseline, *others]
        found = [recipe_row(study) if isinstance(study, Study) else None for study in told]
        rate, plain = rate_of(baseline), others[0] if others else None
        if rate is not None and isinstance(plain, Study):
            found.insert(1, untuned_row(plain, rate))
        return tuple(row for row in found if row is not None)

    def _study(
        self, recipe: str, size: int, place: str, until: float | None, *, may_fail: bool = True, **more: object
    ) -> Job:
        settings = {
            "part": self.part,
            "out": self.folder / f"{place}-{self.epochs:g}",
            "recipe": recipe,
            "batch_sizes": [size],
            "search": "widening",
            "seeds": self.seeds,
            "epochs": self.epochs,
            "stops_at_target": False,
            "fixed": {"largest_batch": self.examples} if "largest_batch" in options_of(recipe) else {},
            "until": until,
            "command": self.command,
            **more,
        }
        return Job(f"{recipe}, batch size {size}", make_study, settings, may_fail=may_fail)


def rate_of(study: Study | UserError | None) -> float | None:
    """The best learning rate of a study of one batch size: by the steps to the target, or by what runs end with."""
    row = recipe_row(study) if isinstance(study, Study) else None
    return row.learning_rate if row is not None else None
