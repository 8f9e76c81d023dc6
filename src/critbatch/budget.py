"""How far a run may go."""

from __future__ import annotations

from dataclasses import dataclass

from critbatch.arguments import check_fields
from critbatch.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Where to stop: at whichever comes first. The epochs of the plan are a bound too.

    Args:
        steps: changes of the weights.
        examples: seen, each as often as it was.
        seconds: of training; evaluation is not counted.

    Raises:
        UserError: if nothing at all is allowed.
    """

    steps: int | None = None
    examples: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("steps", "examples", "seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"A budget of {value} {name} allows nothing: use a number above 0.")

    def spent(self, *, steps: int, examples: int, seconds: float) -> bool:
        return (
            (self.steps is not None and steps >= self.steps)
            or (self.examples is not None and examples >= self.examples)
            or (self.seconds is not None and seconds >= self.seconds)
        )


NO_BUDGET = Budget()

# Of a budget of wall clock, what is kept for the answer and its report; and what they take on a busy machine.
SHARE_TO_TELL, LEAST_TO_TELL, MOST_TO_TELL = 0.02, 0.15, 10.0


def seconds_to_tell(budget: float) -> float:
    """Of a budget of wall clock, the seconds at its end in which nothing is begun: for the answer and its report.

    >>> seconds_to_tell(30), seconds_to_tell(300), seconds_to_tell(3600)
    (4.5, 10.0, 72.0)
    """
    return max(SHARE_TO_TELL * budget, min(MOST_TO_TELL, LEAST_TO_TELL * budget))
