"""Judge the verdicts on a bank of scenarios: accuracy, confusion, the worst class, false verdicts.

Avoid drawing scenarios here: `kinds` does that from a seed.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ml.drift.scenarios.bases import Base
from ml.drift.scenarios.kinds import KINDS, STANDARD, Difficulty, draw_scenario, has_relation
from ml.drift.verdict import Judgement, Verdict, judge

K = TypeVar("K")


@dataclass(frozen=True)
class Judged:
    """One scenario's truth and what was said."""

    kind: str
    base: str
    truth: Verdict
    said: Judgement

    @property
    def is_right(self) -> bool:
        """Whether the verdict is the true one."""
        return self.said.verdict is self.truth


@dataclass(frozen=True)
class BankReport:
    """What a bank showed.

    Attributes:
        difficulty: `standard` or `hard`.
        seed: Draws the same scenarios again.
        judged: Every scenario.
    """

    difficulty: str
    seed: int
    judged: tuple[Judged, ...]

    @property
    def accuracy(self) -> float:
        """Share of right verdicts."""
        return _share([one.is_right for one in self.judged])

    @property
    def false_on_quiet(self) -> float:
        """Share of quiet series on which anything was said."""
        return _share([not one.is_right for one in self.judged if one.truth is Verdict.NO_DRIFT])

    @property
    def concept_on_sensor_fault(self) -> int:
        """Sensor faults that would have set off a retraining."""
        return self.confusion.get((Verdict.SENSOR_FAULT, Verdict.CONCEPT), 0)

    @property
    def confusion(self) -> Mapping[tuple[Verdict, Verdict], int]:
        """How often each truth was called each verdict."""
        return Counter((one.truth, one.said.verdict) for one in self.judged)

    @property
    def recall(self) -> Mapping[Verdict, float]:
        """Share of right verdicts by truth."""
        return self._by(lambda one: one.truth)

    @property
    def worst_class(self) -> tuple[Verdict, float]:
        """The truth that is found least often, and how often."""
        verdict = min(self.recall, key=lambda name: self.recall[name])
        return verdict, self.recall[verdict]

    @property
    def by_kind(self) -> Mapping[str, float]:
        """Share of right verdicts by kind of change, worst first."""
        found = self._by(lambda one: one.kind)
        return dict(sorted(found.items(), key=lambda item: item[1]))

    @property
    def by_base(self) -> Mapping[str, float]:
        """Share of right verdicts by series."""
        return self._by(lambda one: one.base)

    def _by(self, key: Callable[[Judged], K]) -> dict[K, float]:
        groups: dict[K, list[bool]] = {}
        for one in self.judged:
            groups.setdefault(key(one), []).append(one.is_right)
        return {name: _share(flags) for name, flags in groups.items()}


def judge_bank(bases: Sequence[Base], difficulty: Difficulty, seed: int, repeats: int = 2) -> BankReport:
    """Draw every kind on every base and judge it.

    Args:
        bases: Series to inject into.
        difficulty: Standard or hard.
        seed: Another seed draws other spans, sizes, sensors and outcomes.
        repeats: Scenarios of each kind and base.
    """
    root = np.random.SeedSequence([seed, 0 if difficulty.name == "standard" else 1])
    related = {base.name: has_relation(base, np.random.default_rng(seed)) for base in bases}
    judged: list[Judged] = []
    for kind, branch in zip(KINDS, root.spawn(len(KINDS)), strict=True):
        for base, leaf in zip(bases, branch.spawn(len(bases)), strict=True):
            if kind.needs_relation and not related[base.name]:
                continue
            rng = np.random.default_rng(leaf)
            for _ in range(repeats):
                scenario = draw_scenario(kind, base, difficulty, rng)
                judged.append(
                    Judged(kind.name, base.name, kind.truth, judge(scenario.readings, scenario.scored))
                )
    return BankReport(difficulty.name, seed, tuple(judged))


def judge_quiet(bases: Sequence[Base], seed: int, fewest: int = 200) -> tuple[Judged, ...]:
    """Quiet series alone, as many as a share of a few per cent needs, of every kind and base alike.

    Args:
        bases: Series.
        seed: Draws other ones than the bank of this seed.
        fewest: Series at least.
    """
    quiet = [kind for kind in KINDS if kind.truth is Verdict.NO_DRIFT]
    rng = np.random.default_rng([seed, 2])
    judged: list[Judged] = []
    for _ in range(-(-fewest // (len(quiet) * len(bases)))):
        for kind in quiet:
            for base in bases:
                scenario = draw_scenario(kind, base, STANDARD, rng)
                said = judge(scenario.readings, scenario.scored)
                judged.append(Judged(kind.name, base.name, kind.truth, said))
    return tuple(judged)


def _share(flags: Sequence[bool]) -> float:
    return float(np.mean(flags)) if flags else 0.0
