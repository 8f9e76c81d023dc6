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
from critbatch.reporting.voice import Voice


def optimization_blocks(lecture: Lecture, claim: Claim, voice: Voice) -> list[Block]:
    """Training and validation at equal epochs, steps and seconds."""
    found = findings(lecture.study) if lecture.study is not None else None
    if found is None:
        return [_missing(voice)]
    return list(budgets_section(found, voice).blocks)


def noise_blocks(lecture: Lecture, claim: Claim, voice: Voice) -> list[Block]:
    """The escape experiment of each task, with what kind of point its starts stood at."""
    blocks: list[Block] = []
    methods: list[Block] = []
    for escape in lecture.escapes:
        told, picture = answer(escape, voice), escape_picture(escape, voice)
        if picture is None:
            continue
        parts = escape_section(escape, voice).blocks
        blocks += [Text(told.headline), Chart(picture), Bullets(told.more)]
        blocks += [part for part in parts if isinstance(part, Table)]
        methods = [part for part in parts if isinstance(part, Method)]
    return [*blocks, *methods] if blocks else [_missing(voice)]


def choice_blocks(lecture: Lecture, claim: Claim, voice: Voice) -> list[Block]:
    """The recommendation for this task, and the picture behind it."""
    advice = lecture.advice
    if advice is None:
        return [_missing(voice)]
    told, picture = answer(advice, voice), time_to_target(advice, voice)
    blocks: list[Block] = [Text(sentence) for sentence in (told.headline, *told.lead)]
    blocks.append(Chart(picture, voice("hero_note")) if picture is not None else _missing(voice))
    return [*blocks, *([Bullets(told.more)] if told.more else [])]


def both_blocks(lecture: Lecture, claim: Claim, voice: Voice) -> list[Block]:
    """Recipes at a large batch beside plain training with small ones."""
    if not lecture.recipes:
        return [_missing(voice)]
    metric, small = voice.metric(lecture.metric_name), lecture.small_batch_size
    picture = recipes_picture(lecture.recipes, small, metric, voice)
    blocks: list[Block] = [Chart(picture, voice("lecture_recipes_note"))] if picture is not None else [_missing(voice)]
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
    rows = tuple(_recipe_row(row, small, voice) for row in lecture.recipes)
    told = [
        estimate
        for row in lecture.recipes
        for estimate in (row.steps, row.epochs, row.seconds, row.train_metric, row.validation_metric)
    ]
    header = tuple(voice(key, metric=metric) for key in keys)
    return [*blocks, Table(voice("lecture_recipes_caption"), header, rows, notes(told, voice), wraps=True)]


def _recipe_row(row: RecipeRow, small: int, voice: Voice) -> tuple[Cell, ...]:
    marks = (voice("mark_baseline"),) if is_base(row, small) else ()
    rate = row.learning_rate
    return (
        Cell(recipe_name(row, voice), marks=marks),
        Cell(voice.rate(rate) if rate is not None else "–"),
        Cell(voice("of_seeds", reached=row.reached, runs=row.seeds)),
        cell(row.steps, voice.about, voice),
        cell(row.epochs, voice.about, voice),
        cell(row.seconds, voice.seconds, voice),
        cell(row.train_metric, voice.score, voice),
        cell(row.validation_metric, voice.score, voice),
    )


def _missing(voice: Voice) -> Text:
    return Text(voice("lecture_no_picture"))
