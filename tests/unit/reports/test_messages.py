"""Messages: the catalogs agree, and what a record says is whole and true to it."""

from __future__ import annotations

import ast
import math
import re
import string
from dataclasses import replace
from pathlib import Path

import pytest

import sample_records as sample
from critbatch.records.claims import ClaimId, ClaimVerdict
from critbatch.records.core import Estimate, Goal, NoiseScale, Outcome, Record
from critbatch.records.loss_surface import Box, Mode, PointType
from critbatch.records.study import BudgetUnit, Regime, SearchMethod
from critbatch.reports.derived.study import Trend
from critbatch.reports.translator import MESSAGES, Translator, catalog, languages, significant
from critbatch.reports.views.chapters import summary
from sample_gaps import MISSING, RECORDS, bare_advice, hostile

SOURCE = Path(__file__).parents[3] / "src" / "critbatch"
EN, ZH = Translator("en"), Translator("zh")
REASONS = catalog("en").reasons
FORMATS = ("png", "svg", "csv")


def placeholders(message: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(message) if name)


def numbers(message: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:\.\d+)?", message))


@pytest.mark.parametrize("language", languages())
def test_each_catalog_has_the_keys_placeholders_and_numbers_of_the_english_one(language: str):
    own, english = catalog(language).messages, catalog("en").messages
    # A language in which singular and plural are the same leaves the singular out.
    assert set(own) <= set(english)
    missing = set(english) - set(own)
    assert [key for key in missing if not key.endswith("_one") or key.removesuffix("_one") not in own] == []
    # A singular says its number as a word where the other language has a placeholder, never another number.
    assert [key for key in own if placeholders(own[key]) != placeholders(english[key])] == []
    assert [key for key in own if numbers(own[key]) != numbers(english[key])] == []
    assert catalog(language).reasons == catalog("en").reasons


def test_no_key_is_in_two_tables():
    for language in languages():
        text = (MESSAGES / f"{language}.toml").read_text(encoding="utf-8")
        keys = re.findall(r"^([a-z_0-9A-Z]+) = ", text.split("\n\n", 2)[2], flags=re.MULTILINE)
        assert len(keys) == len(set(keys)) == len(catalog(language).messages)


def test_no_message_is_empty_and_every_chinese_one_ends_as_its_english_one_does():
    ends = {".": "\u3002", "": ""}
    english = catalog("en").messages
    for key, message in catalog("zh").messages.items():
        assert message and english[key], key
        assert message.endswith(ends["." if english[key].endswith(".") else ""]), key


def test_chinese_messages_have_chinese_punctuation():
    han = "[\u4e00-\u9fff]"
    wrong = [key for key, text in catalog("zh").messages.items() if re.search(f"{han}[,:;!?]|[,;]{han}", text)]
    assert wrong == []


def test_every_message_is_used_somewhere_and_every_message_used_is_there():
    files = [path for package in ("reporting", "reports") for path in (SOURCE / package).rglob("*")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files if path.suffix == ".py"]
    templates = [path.read_text(encoding="utf-8") for path in files if path.suffix == ".j2"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    literals = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    literals |= {key for text in templates for key in re.findall(r"\bt\('([a-z_]+)'", text)}
    fillings = literals.union(
        *(Outcome, Goal, PointType, Box, Mode, Regime, SearchMethod, BudgetUnit, Trend, ClaimId, ClaimVerdict),
        {"image", "sequence", "example", "accuracy", "finished_without_target"},
    )
    composed = set()
    for node in nodes:
        if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            end = node.values[2].value if len(node.values) == 3 and isinstance(node.values[2], ast.Constant) else ""
            composed |= {f"{node.values[0].value}{filling}{end}" for filling in fillings}
    for text in templates:
        composed |= {f"{start}{filling}" for start in re.findall(r"\bt\('([a-z_]+)' ~", text) for filling in FORMATS}
    used, messages = literals | composed, set(catalog("en").messages)
    unused = {key for key in messages - REASONS if key not in used and key.removesuffix("_one") not in used}
    assert unused == set()
    called = [node.args[0] for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "t"]
    keys = {key.value for key in called if isinstance(key, ast.Constant)}
    assert len(keys) > 300
    assert keys <= messages


def test_every_reason_that_the_source_gives_has_a_message():
    sources = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")]
    given = {key for text in sources for key in re.findall(r'reason\s*=\s*"([a-z_]+)"', text)}
    assert "too_few_pairs" in given
    assert given <= REASONS


def test_a_reason_needs_no_number_to_be_said():
    for key in REASONS:
        assert "{" not in EN.reason(key) + ZH.reason(key)


def test_a_reason_that_is_not_known_is_shown_and_not_a_crash():
    assert "from_a_later_version" in EN.reason("from_a_later_version")


@pytest.mark.parametrize(
    ("value", "english", "chinese"),
    [
        (4.2e-7, "0.42 µs", "0.42 微秒"),
        (1.26e-4, "126 µs", "126 微秒"),
        (0.0523, "52 ms", "52 毫秒"),
        (1.34, "1.3 s", "1.3 秒"),
        (119.4, "119 s", "119 秒"),
        (252, "4.2 min", "4.2 分钟"),
        (9000, "2.5 h", "2.5 小时"),
        (400_000, "4.6 d", "4.6 天"),
        (math.inf, "∞", "∞"),
        (math.nan, "?", "?"),
    ],
)
def test_seconds_have_the_unit_that_suits_them(value: float, english: str, chinese: str):
    assert (EN.seconds(value), ZH.seconds(value)) == (english, chinese)


def test_numbers_are_rounded_and_grouped():
    assert [EN.count(1437), EN.about(1234.5), EN.rate(0.1234), EN.rate(3e-5), EN.score(0.97)] == [
        "1,437",
        "1,230",
        "0.123",
        "3e-5",
        "0.97",
    ]
    assert [EN.bytes(512), EN.bytes(1.5 * 2**30), EN.percent(0.8)] == ["512 B", "1.5 GiB", "80 %"]
    assert [significant(9.99, 2), significant(-0.05), significant(0, 3)] == ["10", "-0.05", "0"]


def test_an_interval_says_its_level_its_ends_and_n():
    estimate = Estimate(value=1.3, n=3, low=1.1, high=1.6, level=0.8)
    assert EN.estimate(estimate, EN.seconds) == "1.3 s (80 % interval 1.1 to 1.6 s, n = 3)"
    assert EN.estimate(Estimate(value=1.3, n=1, reason="one_seed"), EN.seconds) == "1.3 s (no interval, n = 1)"
    assert EN.span(0.9, 130, EN.seconds) == "900 ms to 2.2 min"


def test_a_noise_scale_without_upper_bound_says_its_lower_one():
    scale = NoiseScale(gradient_norm2=1.0, covariance_trace=200.0, pairs=9, low=80.0)
    assert EN.noise(scale) == "200 (at least 80 at the 95 % level, n = 9)"


def test_the_summary_of_an_advice_answers_first_and_then_says_what_to_distrust():
    advice = sample.advice()
    assert advice.best is not None
    first, *_ = summary(advice).splitlines()
    assert first == (
        "Train digits-mlp with batch size 128 and learning rate 0.144 (sgd). "
        f"Training then reaches a validation accuracy of 0.97 in {EN.estimate(advice.best.seconds, EN.seconds)}. "
        "Any batch size from 128 to 256 is within 10 % of that time."
    )
    assert "80 % interval" in first
    assert summary(advice).splitlines()[-1].startswith("- ")
    assert EN.reason("few_points") in summary(advice)


def test_the_summary_of_an_unanswered_advice_says_why_and_what_would_help():
    told = summary(sample.unanswered())
    assert told.startswith("No batch size can be recommended for digits-mlp yet. None of the 3 runs reached")
    assert "--budget" in told
    assert EN.reason("no_run_reached_target") in told


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "record",
    [*RECORDS.values(), *MISSING.values(), bare_advice(), hostile()],
    ids=[*RECORDS, *MISSING, "bare", "hostile"],
)
def test_every_record_has_a_summary_without_holes(record: Record, language: str):
    told = summary(record, language)  # type: ignore[arg-type]
    assert told
    assert not re.search(r"\{[a-z_]+\}|\bNone\b(?! of)|\bnan\b", told.replace(sample.HOSTILE, ""))


@pytest.mark.parametrize(
    ("knee", "start"),
    [
        (0.5, "The step time of digits-mlp grows"),
        (200.0, "Up to a batch size of about 200, "),
        (9e9, "Up to batch size 1,437, the largest measured"),
    ],
)
def test_a_knee_below_within_and_above_the_measured_sizes_is_said_differently(knee: float, start: str):
    speed = sample.speed()
    assert speed.fit is not None
    moved = replace(speed, fit=replace(speed.fit, knee=replace(speed.fit.knee, value=knee)))
    assert summary(moved).startswith(start)


def test_a_straight_line_that_misses_far_is_a_caution():
    speed = sample.speed()
    assert speed.fit is not None
    bent = replace(speed, fit=replace(speed.fit, worst_miss=0.6))
    assert EN.reason("time_not_affine") in summary(bent)
    assert EN.reason("time_not_affine") not in summary(speed)
