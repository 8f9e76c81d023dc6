"""Texts derived from a claims report: verdicts, findings, effects, and the statement that decides each claim."""

from __future__ import annotations

from critbatch.records.claims import (
    Claim,
    ClaimId,
    ClaimsReport,
    ClaimTest,
    ClaimVerdict,
    Measure,
    NetworkPair,
    RecipeRow,
)
from critbatch.records.core import Speed
from critbatch.reports.translator import Translator, Write

SIGNS = {ClaimVerdict.HELD: "✓", ClaimVerdict.NOT_HELD: "✗", ClaimVerdict.UNDECIDED: "?"}
ORDERS = ("reshuffle", "shuffle_once", "sequential", "with_replacement")
DATA, WEIGHTS = ("diabetes",), ("slope", "intercept")
ROWS = ("update_alone", "update_parallel", "epoch", "gradient", "optimization", "generalization")
STATEMENTS = (
    "every_example_once",
    "new_partition",
    "order_costs",
    "unsteady",
    "many_updates",
    "parallel_update",
    "about_the_same",
    "grows",
    "shorter_epoch",
    "parallel_hardware",
    "train_worse_fixed",
    "train_worse_tuned",
    "train_worse_steps",
    "train_worse_seconds",
    "validation_worse",
    "escapes_more",
    "generalizes",
    "sharper",
    "sharper_eigenvalue",
    "sharper_adaptive",
    "suffers_validation",
    "suffers_noise",
    "sharpness_ranks",
    "table_row",
    "size_matters",
    "best_inside",
    "one_has_both",
    "fewer_steps",
    "sooner",
    "as_accurate",
)
# Among statements with the same verdict, these say most about the claim.
TELLING = ("shorter_epoch", "train_worse_tuned")
# The finding of these claims lists all the statements that decide them.
ALL_STATEMENTS_TOLD = (ClaimId.BATCHES, ClaimId.MINIMA)
SHARES = ("escapes_more",)  # effects that are differences of shares, not of metrics


def count_of(report: ClaimsReport, holds: ClaimVerdict) -> int:
    """How many claims have this verdict."""
    return sum(claim.holds is holds for claim in report.claims)


def verdict(holds: ClaimVerdict, t: Translator) -> str:
    """The verdict with its sign, such as '✓ held'."""
    return f"{SIGNS[holds]} {t(f'holds_{holds}')}"


def number_of(name: ClaimId) -> int:
    """The number of the claim in the lecture, from 1."""
    return list(ClaimId).index(name) + 1


def section_of(name: ClaimId) -> str:
    """The key of the claim's section."""
    return f"claim-{name}"


def deciding(claim: Claim) -> ClaimTest | None:
    """The statement that decides the claim: it has the claim's verdict and, if possible, an interval."""
    main = [statement for statement in claim.statements if statement.main] or list(claim.statements)
    same = [statement for statement in main if statement.holds is claim.holds] or main
    return min(same, key=_rank) if same else None


def _rank(statement: ClaimTest) -> tuple[int, bool]:
    effect = statement.effect
    return 2 if effect is None else 0 if effect.low is not None else 1, statement.key not in TELLING


def finding(report: ClaimsReport, claim: Claim, t: Translator) -> str:
    """The finding of a claim: a sentence with its number, and the reason if it is undecided."""
    statement = deciding(claim)
    if statement is None:
        return t.reason(claim.reason) if claim.reason else t("claims_unmeasured")
    if claim.name is ClaimId.SUMMARY:
        rows_held = sum(each.holds is ClaimVerdict.HELD for each in claim.statements)
        return t("claims_finding_summary", n=t.count(rows_held), rows=t.count(len(claim.statements)))
    sentences = [effect_sentence(report, each, t) for each in _statements_to_tell(claim, statement)]
    if statement.holds is ClaimVerdict.UNDECIDED and statement.reason and statement.effect is not None:
        sentences.append(t.reason(statement.reason))
    return t.join(dict.fromkeys(sentences))


def _statements_to_tell(claim: Claim, statement: ClaimTest) -> list[ClaimTest]:
    """The deciding statement, and those that are needed to understand it."""
    same = [each for each in claim.statements if each.subject == statement.subject]
    if claim.name in ALL_STATEMENTS_TOLD and statement.main:
        return [each for each in same if each.main]
    return [statement, *(each for each in same if statement.key == "one_has_both" and each.key == "as_accurate")]


def effect_sentence(report: ClaimsReport, statement: ClaimTest, t: Translator) -> str:
    """The statement as a sentence with its number, or the reason why there is none."""
    if statement.effect is None:
        return t.reason(statement.reason) if statement.reason else t("claims_unmeasured")
    number = effect_text(report, statement, t)
    if statement.key not in STATEMENTS:
        return t("hover_value", name=statement.key, value=number)
    return t(f"finding_{_key(statement)}", effect=number, **_filled(report, statement, t))


def statement_label(report: ClaimsReport, statement: ClaimTest, t: Translator) -> str:
    """The name of a statement in a table row. For an unknown one, from a later version, this is its key."""
    if statement.key not in STATEMENTS:
        return statement.key
    return t(f"statement_{_key(statement)}", **_filled(report, statement, t))


def _key(statement: ClaimTest) -> str:
    beside = statement.key == "parallel_hardware" and statement.subject == "accelerator"
    return "parallel_hardware_accelerator" if beside else statement.key


def _filled(report: ClaimsReport, statement: ClaimTest, t: Translator) -> dict[str, str]:
    small, large = statement.small_batch_size, statement.large_batch_size
    return {
        "subject": subject_name(statement, t),
        "metric": t.metric(report.metric_name),
        "small": t.count(small if small is not None else report.small_batch_size),
        "large": t.count(large if large is not None else report.large_batch_size),
    }


def subject_name(statement: ClaimTest, t: Translator) -> str:
    """The name of the subject: data orders and table rows in words, networks, recipes and tasks by their names."""
    name = statement.subject
    if statement.key == "order_costs" and name in ORDERS:
        return t(f"order_{name}")
    return row_name(name, t) if statement.key == "table_row" else name


def data_name(name: str, t: Translator) -> str:
    """The name of a data set, translated if it is known."""
    return t(f"claims_data_{name}") if name in DATA else name


def weight_name(name: str, t: Translator) -> str:
    """The name of a weight, translated if it is known."""
    return t(f"claims_weight_{name}") if name in WEIGHTS else name


def row_name(key: str, t: Translator) -> str:
    """The name of a row in the lecture's last table."""
    return t(f"claims_row_{key}") if key in ROWS else key


def effect_formatter(report: ClaimsReport, statement: ClaimTest, t: Translator) -> Write:
    """The formatter of an effect: differences have a sign, differences of shares are in percentage points."""
    if statement.measure is Measure.RATIO:
        return lambda value: t("times", times=t.times(value))
    if statement.measure is Measure.CORRELATION:
        return t.about
    of_shares = statement.key in SHARES or (report.metric_name == "accuracy" and statement.key != "unsteady")
    return signed(t.points if of_shares else t.score)


def signed(write: Write) -> Write:
    return lambda value: f"+{write(value)}" if value > 0 else write(value)


def effect_text(report: ClaimsReport, statement: ClaimTest, t: Translator) -> str:
    """'1.2 (95 % interval 1.1 to 1.3, n = 5)'; yes or no where the statement is true or false."""
    effect = statement.effect
    assert effect is not None
    if statement.measure is Measure.EXACT:
        return t("yes" if effect.value else "no")
    return t.estimate(effect, effect_formatter(report, statement, t))


def open_reasons(claim: Claim, t: Translator) -> tuple[str, ...]:
    """The reasons why statements are undecided or nothing was measured, each once."""
    keys = [statement.reason for statement in claim.statements if statement.holds is ClaimVerdict.UNDECIDED]
    return tuple(t.reason(key) for key in dict.fromkeys([claim.reason, *keys]) if key)


def hardware_name(speed: Speed, t: Translator) -> str:
    """The hardware of a speed: the accelerator, or the number of threads."""
    machine = speed.provenance.machine
    return machine.accelerator or t("claims_threads", n=machine.threads)


def has_reduced_data(report: ClaimsReport) -> bool:
    """Whether a network was trained on a part of its data only."""
    return any(pair.examples < pair.of_examples for pair in report.networks)


def network_name(pair: NetworkPair) -> str:
    """The name in the paper, or else the task."""
    return pair.network or pair.task


def recipe_name(row: RecipeRow, t: Translator) -> str:
    """A recipe with its batch size, and a note if its learning rate was tuned at the small batch size."""
    key = "claims_recipe" if row.tuned else "claims_recipe_untuned"
    return t(key, recipe=row.recipe, batch_size=t.count(row.batch_size))
