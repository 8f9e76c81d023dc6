from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critbatch.errors import UserError
from critbatch.learning_rate import DECAYS, cosine, join, linear_decay, ramp, warmed_up


def test_gradual_warm_up_begins_at_the_base_rate_and_ends_at_the_peak() -> None:
    rate = ramp(0.1, 3.2, epochs=5)
    assert rate(0) == 0.1
    assert rate(5) == rate(9) == pytest.approx(3.2)
    assert rate(2.5) == pytest.approx(1.65)


@given(epoch=st.floats(0, 30), decay=st.sampled_from(DECAYS), warm_up=st.floats(0, 5))
def test_a_rate_stays_between_zero_and_its_peak(epoch: float, decay: str, warm_up: float) -> None:
    rate = warmed_up(0.4, epochs=20, warm_up_epochs=warm_up, decay=decay)
    assert -1e-12 <= rate(epoch) <= 0.4 + 1e-12


@pytest.mark.parametrize(("decay", "end"), [("constant", 0.4), ("linear", 0.0), ("cosine", 0.0)])
def test_a_decay_ends_where_its_name_says(decay: str, end: float) -> None:
    rate = warmed_up(0.4, epochs=20, warm_up_epochs=2, decay=decay)
    assert rate(2) == pytest.approx(0.4)
    assert rate(20) == pytest.approx(end, abs=1e-12)


def test_cosine_is_at_half_its_height_in_the_middle_and_linear_too() -> None:
    assert cosine(1.0, epochs=10)(5) == pytest.approx(0.5) == linear_decay(1.0, epochs=10)(5)
    assert join(ramp(0, 1, epochs=4), 4, cosine(1.0, epochs=6))(4) == 1.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"peak": 0.0, "epochs": 1}, "learning_rate=0.0 is not possible"),
        ({"peak": float("nan"), "epochs": 1}, "learning_rate=nan is not possible"),
        ({"peak": 1.0, "epochs": 1, "warm_up_epochs": 2}, "warm_up_epochs=2 does not fit into epochs=1"),
        ({"peak": 1.0, "epochs": 1, "decay": "steps"}, "decay='steps' is not known: use constant, linear, cosine"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        warmed_up(**arguments)  # type: ignore[arg-type]
