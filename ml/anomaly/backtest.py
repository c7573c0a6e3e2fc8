"""Which detector suits a class of machines: fitted on the past, judged on what came after.

Labels of the judged part are read by the judgement alone; no detector and no threshold sees them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ml.anomaly.machine_model import METHODS, fit_machine
from ml.anomaly.machine_rows import BEFORE_FAILURE, LEAST_ROWS, MachineRows
from ml.evaluation.intervals import Estimate, wilson

PAST_SHARE = 0.6
# A class's machines resemble each other; more of them only cost time.
MOST_MACHINES = 3
MOST_FALSE_POSITIVES = 0.05


@dataclass(frozen=True)
class MethodScore:
    """How a detector did on machines of one class.

    Attributes:
        normal_hours: Judged normal hours.
        false_positives: Those above the threshold.
        failures: Judged failures.
        seen: Those with an hour above the threshold in the 48 h before.
    """

    normal_hours: int = 0
    false_positives: int = 0
    failures: int = 0
    seen: int = 0

    def __add__(self, other: "MethodScore") -> "MethodScore":
        return MethodScore(
            self.normal_hours + other.normal_hours,
            self.false_positives + other.false_positives,
            self.failures + other.failures,
            self.seen + other.seen,
        )

    @property
    def false_positive_share(self) -> float:
        """Share of normal time above the threshold."""
        return self.false_positives / self.normal_hours if self.normal_hours else 0.0

    @property
    def recall(self) -> Estimate:
        """Share of failures seen, with its interval."""
        return wilson(self.seen, self.failures)

    @property
    def value(self) -> float:
        """Youden's J: share of failures seen minus share of normal time alarmed; too many alarms lose."""
        seen = self.seen / self.failures if self.failures else 0.0
        excess = max(self.false_positive_share - MOST_FALSE_POSITIVES, 0.0)
        return seen - self.false_positive_share - 10.0 * excess


@dataclass(frozen=True)
class ClassChoice:
    """The detector of a class of machines.

    Attributes:
        equipment_model: The class.
        method: What won.
        scores: Every detector's score on the class.
    """

    equipment_model: str
    method: str
    scores: Mapping[str, MethodScore]


def choose_by_class(machines: Sequence[MachineRows]) -> dict[str, ClassChoice]:
    """Backtest every detector on every class; the earlier in `METHODS` wins a tie."""
    classes: dict[str, list[MachineRows]] = {}
    for rows in machines:
        classes.setdefault(rows.equipment_model, []).append(rows)
    found: dict[str, ClassChoice] = {}
    for name, members in sorted(classes.items()):
        scores = {
            method: sum((judge(rows, method) for rows in members[:MOST_MACHINES]), MethodScore())
            for method in METHODS
        }
        best = max(scores, key=lambda method: scores[method].value)
        found[name] = ClassChoice(name, best, scores)
    return found


def judge(rows: MachineRows, method: str) -> MethodScore:
    """Fit on the first part of a machine's hours and judge the rest; nothing where it is too short."""
    cut = int(PAST_SHARE * len(rows.hour_at))
    is_past = np.arange(len(rows.hour_at)) < cut
    chosen = is_past & rows.is_normal
    if chosen.sum() < LEAST_ROWS:
        return MethodScore()
    model = fit_machine(rows, chosen, method)
    is_anomalous = model.scale.is_anomalous(model.raw(rows))
    is_judged = ~is_past & rows.is_normal
    failures = [failed_at for failed_at in rows.failures if failed_at > rows.hour_at[cut]]
    alarmed = rows.hour_at.filter(pl.Series(is_anomalous & ~is_past))
    return MethodScore(
        normal_hours=int(is_judged.sum()),
        false_positives=int((is_anomalous & is_judged).sum()),
        failures=len(failures),
        seen=sum(
            bool(alarmed.is_between(failed_at - BEFORE_FAILURE, failed_at).any()) for failed_at in failures
        ),
    )
