"""Every sentence of the project's reports, English and Chinese side by side, whole, with named placeholders.

A key with `_one` at its end is the English singular of the key without. The keys in REASONS are those that records may
hold as `reason` or among `cautions`: their sentences have no placeholders.
"""

from __future__ import annotations

from critbatch.reporting.sentences import Sentence
from critbatch.reporting.sentences.advice import ADVICE, ADVICE_REASONS
from critbatch.reporting.sentences.answers import ANSWERS
from critbatch.reporting.sentences.clock import CLOCK, CLOCK_REASONS
from critbatch.reporting.sentences.figures import BUTTONS, FIGURES
from critbatch.reporting.sentences.formats import FORMATS
from critbatch.reporting.sentences.lecture import LECTURE
from critbatch.reporting.sentences.lecture_claims import LECTURE_CLAIMS
from critbatch.reporting.sentences.lecture_figures import LECTURE_FIGURES
from critbatch.reporting.sentences.lecture_outcomes import LECTURE_OUTCOMES
from critbatch.reporting.sentences.lecture_reasons import LECTURE_REASONS
from critbatch.reporting.sentences.lecture_sections import LECTURE_SECTIONS
from critbatch.reporting.sentences.lecture_statements import LECTURE_STATEMENTS
from critbatch.reporting.sentences.loss_answers import LOSS_ANSWERS
from critbatch.reporting.sentences.loss_figures import LOSS_FIGURES
from critbatch.reporting.sentences.loss_methods import LOSS_METHODS
from critbatch.reporting.sentences.loss_reasons import LOSS_REASONS
from critbatch.reporting.sentences.loss_sections import LOSS_SECTIONS
from critbatch.reporting.sentences.methods import METHODS
from critbatch.reporting.sentences.monitor import MONITOR, MONITOR_REASONS
from critbatch.reporting.sentences.page import PAGE
from critbatch.reporting.sentences.reasons import REASON_SENTENCES
from critbatch.reporting.sentences.scale import SCALE, SCALE_REASONS
from critbatch.reporting.sentences.scale_figures import SCALE_FIGURES
from critbatch.reporting.sentences.sections import SECTIONS
from critbatch.reporting.sentences.study_answers import STUDY_ANSWERS
from critbatch.reporting.sentences.study_asked import STUDY_ASKED
from critbatch.reporting.sentences.study_figures import STUDY_FIGURES
from critbatch.reporting.sentences.study_methods import STUDY_METHODS
from critbatch.reporting.sentences.study_reasons import STUDY_REASONS
from critbatch.reporting.sentences.study_sections import STUDY_SECTIONS
from critbatch.reporting.sentences.terms import TERMS
from critbatch.reporting.sentences.use_it import USE_IT
from critbatch.reporting.sentences.watching import WATCHING

LANGUAGES = ("en", "zh")

_TABLES = (
    REASON_SENTENCES,
    ADVICE_REASONS,
    LOSS_REASONS,
    STUDY_REASONS,
    SCALE_REASONS,
    MONITOR_REASONS,
    LECTURE_REASONS,
    CLOCK_REASONS,
)
REASONS = frozenset(key for table in _TABLES for key in table) - {"unknown_reason"}

WORDS: dict[str, Sentence] = {
    **TERMS,
    **REASON_SENTENCES,
    **ANSWERS,
    **CLOCK,
    **CLOCK_REASONS,
    **FIGURES,
    **BUTTONS,
    **PAGE,
    **SECTIONS,
    **METHODS,
    **LOSS_REASONS,
    **LOSS_ANSWERS,
    **LOSS_FIGURES,
    **LOSS_SECTIONS,
    **LOSS_METHODS,
    **STUDY_REASONS,
    **STUDY_ANSWERS,
    **STUDY_ASKED,
    **STUDY_FIGURES,
    **STUDY_SECTIONS,
    **STUDY_METHODS,
    **SCALE_REASONS,
    **SCALE,
    **SCALE_FIGURES,
    **MONITOR_REASONS,
    **MONITOR,
    **USE_IT,
    **WATCHING,
    **FORMATS,
    **ADVICE_REASONS,
    **ADVICE,
    **LECTURE_REASONS,
    **LECTURE,
    **LECTURE_CLAIMS,
    **LECTURE_STATEMENTS,
    **LECTURE_OUTCOMES,
    **LECTURE_SECTIONS,
    **LECTURE_FIGURES,
}
