"""Studies and fits with something missing."""

from __future__ import annotations

from dataclasses import replace

import sample_records as sample
from critbatch.records.core import Estimate, Outcome, Record
from critbatch.records.study import GoalPoint, SizeResult
from sample_studies import (
    BARE,
    BARE_FIT,
    analysis,
    budgets,
    fit,
    missed,
    size_result,
    study,
    unbounded,
    with_law,
    without_target,
)

MISSING: dict[str, Record] = {
    "analysed without target": without_target(),
    "analysed without target or budgets": replace(without_target(), analysis=replace(BARE, budgets=())),
    "analysed, nothing found": study(analysis=BARE),
    "no size": study(analysis=replace(BARE, sizes=())),
    "one size": study(analysis=replace(analysis(), sizes=(size_result(64),), trade_off=None, rate_law=None)),
    "all missed": study(
        runs=tuple(sample.run(size, target=sample.TARGET, outcome=Outcome.FINISHED, steps=90) for size in (8, 64)),
        analysis=replace(analysis(), sizes=(missed(8), missed(64)), trade_off=None, rate_law=None, budgets=()),
    ),
    "no regimes": study(
        analysis=replace(
            analysis(),
            sizes=tuple(replace(size, regime=None, usable_rates=None) for size in analysis().sizes),
            perfect_until=None,
            useful_until=None,
        )
    ),
    "law refuted": study(analysis=with_law(holds=False, p_value=0.003, test="bend", reason="law_misfit")),
    "law not tested": study(analysis=with_law(holds=False, p_value=None, test="", reason="too_few_points")),
    "law that cannot be told": study(
        analysis=with_law(
            holds=False,
            p_value=0.4,
            test="bend",
            reason="little_power",
            exponent=Estimate(value=0.93, n=7, low=0.7, high=1.2, level=0.95),
            critical_if_exact=Estimate(value=130.0, n=7, low=110.0, high=150.0, level=0.95),
        )
    ),
    "law that cannot be told with a small misfit": fit(
        law_holds=False,
        reason="little_power",
        analysis=with_law(holds=False, p_value=0.004, test="lack_of_fit", reason="little_power"),
    ),
    "rounded repeats": fit(analysis=replace(with_law(rounded=True), cautions=("rounded_repeats",))),
    "law with a small misfit": study(analysis=with_law(p_value=0.004, reason="small_misfit")),
    "perfect scaling all the way": fit(
        analysis=with_law(
            critical_batch_size=unbounded(900.0, None, "all_perfect_scaling"),
            min_steps=unbounded(None, 90.0, "all_perfect_scaling", value=0.0),
        )
    ),
    "no perfect scaling": fit(
        analysis=with_law(
            critical_batch_size=unbounded(None, 6.0, "no_perfect_scaling", value=0.0),
            min_examples=unbounded(None, 9e3, "no_perfect_scaling", value=0.0),
            min_epochs=None,
        )
    ),
    "no bound at all": fit(analysis=with_law(critical_batch_size=unbounded(None, None, "too_few_points"))),
    "a bound on one side": fit(
        analysis=with_law(critical_batch_size=unbounded(80.0, None, "all_perfect_scaling", value=140.0))
    ),
    "constant budget": fit(
        law_holds=False,
        reason="constant_budget",
        analysis=replace(
            with_law(holds=False, p_value=None, test="", reason="constant_budget"), cautions=("constant_budget",)
        ),
    ),
    "rates without a law": study(analysis=replace(analysis(), rate_law=None)),
    "empty fit": BARE_FIT,
    "fit without numbers": fit(
        points=(GoalPoint(batch_size=8, examples=900.0),),
        analysis=replace(BARE, sizes=(SizeResult(batch_size=8, runs=1, rates=0, epochs=sample.bare(3.0)),)),
        law_holds=False,
        reason="few_sizes",
    ),
}
single = budgets()[0]
MISSING["one budget of one size"] = replace(
    without_target(),
    analysis=replace(without_target().analysis or BARE, budgets=(replace(single, points=single.points[:1]),)),
)
MISSING["budgets with one seed"] = replace(
    without_target(),
    analysis=replace(
        without_target().analysis or BARE,
        budgets=(
            replace(
                single,
                points=tuple(
                    replace(point, train_metric=sample.bare(0.9), validation_metric=sample.bare(0.8))
                    for point in single.points
                ),
            ),
        ),
    ),
)
