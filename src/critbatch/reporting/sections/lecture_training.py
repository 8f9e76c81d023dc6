"""The lecture's claims on training, in pictures: larger batches, noise, the choice of a size, and recipes."""

from __future__ import annotations

from critbatch.records.claims import Claim, Lecture, RecipeRow
from critbatch.reporting.answers import answer
from critbatch.reporting.blocks import Block, Bullets, Cell, Chart, Method, Table, Text
from critbatch.reporting.figures.critical import escape_picture
from critbatch.reporting.figures.lecture_recipes import is_base, recipes_picture
from critbatch.reporting.figures.time import time_to_target
from critbatch.reporting.findings import findings
from critbatch.reporting.lecture_readings import recipe_name
from critbatch.reporting.sections.budgets import budgets_section
from critbatch.reporting.sections.setup import cell, notes
from critbatch.reporting.sections.stuck import escape_section
from critbatch.reports.translator import Translator


def optimization_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """Training and validation at equal epochs, steps and seconds."""
    found = findings(lecture.study) if lecture.study is not None else None
    if found is None:
        return [_missing(t)]
    return list(budgets_section(found, t).blocks)


def noise_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """The escape experiment of each task, with what kind of point its starts stood at."""
    blocks: list[Block] = []
    methods: list[Block] = []
    for escape in lecture.escapes:
        told, picture = answer(escape, t), escape_picture(escape, t)
        if picture is None:
            continue
        parts = escape_section(escape, t).blocks
        blocks += [Text(told.headline), Chart(picture), Bullets(told.more)]
        blocks += [part for part in parts if isinstance(part, Table)]
        methods = [part for part in parts if isinstance(part, Method)]
    return [*blocks, *methods] if blocks else [_missing(t)]


def choice_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """The recommendation for this task, and the picture behind it."""
    advice = lecture.advice
    if advice is None:
        return [_missing(t)]
    told, picture = answer(advice, t), time_to_target(advice, t)
    blocks: list[Block] = [Text(sentence) for sentence in (told.headline, *told.lead)]
    blocks.append(Chart(picture, t("hero_note")) if picture is not None else _missing(t))
    return [*blocks, *([Bullets(told.more)] if told.more else [])]


def both_blocks(lecture: Lecture, claim: Claim, t: Translator) -> list[Block]:
    """Recipes at a large batch beside plain training with small ones."""
    if not lecture.recipes:
        return [_missing(t)]
    metric, small = t.metric(lecture.metric_name), lecture.small_batch_size
    picture = recipes_picture(lecture.recipes, small, metric, t)
    blocks: list[Block] = [Chart(picture, t("lecture_recipes_note"))] if picture is not None else [_missing(t)]
    keys = (
        "column_recipe",
        "learning_rate",
        "column_reached",
        "column_steps",
        "column_epochs",
        "column_seconds",
        "column_train_metric",
        "column_validation_metric",
    )
    rows = tuple(_recipe_row(row, small, t) for row in lecture.recipes)
    told = [
        estimate
        for row in lecture.recipes
        for estimate in (row.steps, row.epochs, row.seconds, row.train_metric, row.validation_metric)
    ]
    header = tuple(t(key, metric=metric) for key in keys)
    return [*blocks, Table(t("lecture_recipes_caption"), header, rows, notes(told, t), wraps=True)]


def _recipe_row(row: RecipeRow, small: int, t: Translator) -> tuple[Cell, ...]:
    marks = (t("mark_baseline"),) if is_base(row, small) else ()
    rate = row.learning_rate
    return (
        Cell(recipe_name(row, t), marks=marks),
        Cell(t.rate(rate) if rate is not None else "–"),
        Cell(t("of_seeds", reached=row.reached, runs=row.seeds)),
        cell(row.steps, t.about, t),
        cell(row.epochs, t.about, t),
        cell(row.seconds, t.seconds, t),
        cell(row.train_metric, t.score, t),
        cell(row.validation_metric, t.score, t),
    )


def _missing(t: Translator) -> Text:
    return Text(t("lecture_no_picture"))
