"""What a run has written down so far: counts, curve, noise and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from critbatch.records.core import CurvePoint, MemberEnd, NoisePoint, Outcome


@dataclass
class Ledger:
    """Grows while a run goes on; becomes part of its `Run` record and of its checkpoints."""

    step: int = 0
    examples: int = 0
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    compile_seconds: float = 0.0
    compiled_steps: int = 0
    curve: list[CurvePoint] = field(default_factory=list)
    noise: list[NoisePoint] = field(default_factory=list)
    members: list[MemberEnd] = field(default_factory=list)
    saved_seconds: float = 0.0  # by copies that could have been trained at the same time
    outcome: Outcome | None = None
    diverged_at: int | None = None

    def to_plain(self) -> dict[str, Any]:
        """Plain values only, so that they can be loaded without running code."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {
            "curve": [point.to_json() for point in self.curve],
            "noise": [point.to_json() for point in self.noise],
            "members": [member.to_json() for member in self.members],
            "outcome": self.outcome.value if self.outcome else None,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Ledger:
        """The ledger that `to_plain` wrote, now or in another version: what is not known here is left out."""
        plain = {field.name: plain[field.name] for field in fields(cls) if field.name in plain}
        curve = [CurvePoint.from_json(point) for point in plain["curve"]]
        noise = [NoisePoint.from_json(point) for point in plain["noise"]]
        members = [MemberEnd.from_json(member) for member in plain["members"]]
        outcome = Outcome(plain["outcome"]) if plain["outcome"] else None
        return cls(**plain | {"curve": curve, "noise": noise, "members": members, "outcome": outcome})
