"""What usually follows each statement, and how soon: the memory that a window's steps are judged by.

Conditioning on the line before finds the first step that went another way; all that follows from it has
no history to contradict. Add a statistic of steps here. Avoid windows and alerts: `detector` has them.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from orchestration.ingest.logs.flow import END, KEY, LEAVE
from orchestration.ingest.logs.tails import SHARE_MEMORY, Floats, share_scores

MOST_TRIALS = 4_000.0
"""A place's counts are halved beyond this: old traffic fades, and memory stays bounded."""
LEAST_GAPS = 30.0
"""Gaps that a step needs in its history before its latency is judged: the warm-up of a step."""
MOST_GAPS = 300.0
"""Gaps that a step's histogram holds before it is halved: about an hour's, since tables grow."""
SLOW_QUANTILE, SLOW_FACTOR = 0.95, 2.0
"""A gap is slow above twice the 95th percentile of its step: a minute's load moves gaps by less."""
SLOW_PRIOR = 0.01
"""Share of slow gaps that is believed of a step without slow gaps in its history."""
STALE_AFTER_H, MOST_STALE_H = 0.5, 2.0
"""Latencies age: tables grow, and a query that took 5 ms in the morning takes 28 ms in the afternoon. Each
half hour without learning halves what a step's history weighs, each hour adds the quantile to the limit."""
LEAST_STEP_SCORE = 2.0
"""Steps below it add nothing to a source: the sum of many weak ones is load, not a fault."""
LATENCY_MEMORY = 60.0
"""Weight of a step's history of slow gaps: slowness comes in bursts, so trials count for less."""
PRIOR_WINDOWS, LEAST_MEMORY = 4.0, 5.0
"""A place counts as moving by chance alone until its windows say otherwise."""
NEIGHBOUR_CREDIT = 0.6
"""Part of a slow step that its receiver answers for: most of its time is the sender's."""
MOST_PER_STEP = 12.0
"""Most that one step adds to a source's latency evidence: many slow steps tell more than one."""

_BINS_PER_OCTAVE = 4
_SHORTEST_S = 1e-5
_BINS = 27 * _BINS_PER_OCTAVE  # up to 1,300 s


@dataclass
class StepCounts:
    """Steps of one or several windows, counted in traces.

    Attributes:
        trials: Traces that passed a place.
        hits: Of these, traces that went on to a place, by (place, next place).
        gaps: Seconds of the steps, by (place, next place).
    """

    trials: dict[str, float] = field(default_factory=dict[str, float])
    hits: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    gaps: dict[tuple[str, str], Floats] = field(default_factory=dict[tuple[str, str], Floats])

    @staticmethod
    def of(steps: pl.DataFrame) -> "StepCounts":
        """Count `flow.Steps.steps`."""
        counts = StepCounts()
        leaves = pl.col("leaves")
        within = steps.select(
            "trace_id", "place", next_place=pl.when(leaves).then(pl.lit(LEAVE)).otherwise("next_place")
        )
        # Where an answer goes depends on who asked: the step out of a span is judged by its caller as well.
        out = steps.filter(leaves & pl.col("caller").is_not_null()).select(
            "trace_id", place=pl.concat_str("place", "caller", separator=LEAVE), next_place="next_place"
        )
        both = pl.concat([within, out])
        by_place = both.group_by("place").agg(pl.col("trace_id").n_unique())
        counts.trials = {place: float(traces) for place, traces in by_place.iter_rows()}
        by_step = both.group_by("place", "next_place").agg(pl.col("trace_id").n_unique())
        for place, next_place, traces in by_step.iter_rows():
            counts.hits.setdefault(place, {})[next_place] = float(traces)
        timed = steps.filter(pl.col("next_place") != END).group_by("place", "next_place").agg("gap_s")
        for place, next_place, gaps in timed.iter_rows():
            counts.gaps[place, next_place] = np.maximum(np.asarray(gaps, float), 0.0)
        return counts

    def plus(self, other: "StepCounts") -> "StepCounts":
        """Both together."""
        total = StepCounts(dict(self.trials), {a: dict(b) for a, b in self.hits.items()}, dict(self.gaps))
        for place, traces in other.trials.items():
            total.trials[place] = total.trials.get(place, 0.0) + traces
        for place, following in other.hits.items():
            mine = total.hits.setdefault(place, {})
            for next_place, traces in following.items():
                mine[next_place] = mine.get(next_place, 0.0) + traces
        for step, gaps in other.gaps.items():
            mine = total.gaps.get(step)
            total.gaps[step] = gaps if mine is None else np.concatenate([mine, gaps])
        return total


@dataclass
class Dispersion:
    """How much a place's shares move from window to window beyond chance.

    Attributes:
        excess: Sum of the squared deviations in binomial variances, of each window's worst next place.
        windows: Windows counted.
        trials: Their traces.
    """

    excess: float = 0.0
    windows: float = 0.0
    trials: float = 0.0

    def add(
        self, hits: dict[str, float], trials: float, past_hits: dict[str, float], past_trials: float
    ) -> None:
        """Take a quiet window into account."""
        worst = 0.0
        for next_place in {*hits, *past_hits}:
            share = (past_hits.get(next_place, 0.0) + 0.5) / (past_trials + 1.0)
            variance = trials * share * (1 - share) * (1 + trials / (past_trials + 1.0))
            worst = max(worst, (hits.get(next_place, 0.0) - trials * share) ** 2 / variance)
        self.excess += worst
        self.windows += 1
        self.trials += trials

    @property
    def memory(self) -> float:
        """Weight of the place's history: trials that vary between windows as these shares do."""
        inflation = (self.excess + PRIOR_WINDOWS) / (self.windows + PRIOR_WINDOWS)
        mean_trials = self.trials / max(self.windows, 1.0)
        if inflation <= 1.0 or mean_trials <= 1.0:
            return SHARE_MEMORY
        return float(np.clip((mean_trials - 1) / (inflation - 1) - 1, LEAST_MEMORY, SHARE_MEMORY))


@dataclass(frozen=True)
class Divergence:
    """A place after which traces went another way than they used to.

    Attributes:
        place: Where they parted.
        missing: Usual next place that fell short the most; `END` where traces used to end.
        appeared: Next place that came up the most.
        blamed: Source that answers for it: the one whose line is missing.
        score: -log10 of the tail probability.
        missing_counts: Traces now (went there, passed the place), and before.
    """

    place: str
    missing: str
    appeared: str
    blamed: str
    score: float
    missing_counts: tuple[float, float, float, float]


@dataclass(frozen=True)
class Slowness:
    """Steps of one source that take longer than they used to.

    Attributes:
        source: Source that answers for them.
        score: -log10 of the tail probability, summed over its steps with each one's part.
        best: Highest score of one step.
        steps: (place, next place, slow gaps, gaps, slow threshold s) of the worst steps.
    """

    source: str
    score: float
    best: float
    steps: tuple[tuple[str, str, int, int, float], ...]


class FlowHistory:
    """Counts of steps and histograms of gaps, learned from windows in which nothing was wrong."""

    def __init__(self) -> None:
        """Start without any history."""
        self.trials: dict[str, float] = {}
        self.hits: dict[str, dict[str, float]] = {}
        self.gaps: dict[tuple[str, str], Floats] = {}
        self.slow: dict[tuple[str, str], Floats] = {}
        self.spread: dict[str, Dispersion] = {}
        self.learned_at: dict[tuple[str, str], datetime] = {}

    def divergences(self, counts: StepCounts, least: float = 1.0) -> list[Divergence]:
        """Judge where traces went.

        Args:
            counts: Steps to judge.
            least: Scores below are left out.

        Returns:
            One divergence per place at most, highest score first.
        """
        rows: list[tuple[str, str, float, float, float, float]] = []
        for place, trials in counts.trials.items():
            now, before = counts.hits.get(place, {}), self.hits.get(place, {})
            past = self.trials.get(place, 0.0)
            if not past:
                continue
            rows.extend(
                (place, b, now.get(b, 0.0), trials, before.get(b, 0.0), past) for b in {*now, *before}
            )
        if not rows:
            return []
        numbers = np.array([row[2:] for row in rows])
        memory = [self.spread[row[0]].memory if row[0] in self.spread else SHARE_MEMORY for row in rows]
        up, down = share_scores(*numbers.T, memory=np.array(memory))
        by_place: dict[str, list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            by_place[row[0]].append(i)
        found: list[Divergence] = []
        for place, indexes in by_place.items():
            lost, new = max(indexes, key=lambda i: down[i]), max(indexes, key=lambda i: up[i])
            score = float(max(down[lost], up[new]))
            if score < least:
                continue
            missing = rows[lost][1]
            blamed = source_of(missing if missing not in (END, LEAVE) else place)
            found.append(Divergence(place, missing, rows[new][1], blamed, score, rows[lost][2:]))
        return sorted(found, key=lambda item: -item.score)

    def slowness(self, counts: StepCounts, now: datetime) -> list[Slowness]:
        """Judge how long steps took.

        Args:
            counts: Steps to judge.
            now: Instant by the data's clock, for the age of what was learned.

        Returns:
            One entry per source with a slow step, highest score first.
        """
        keys: list[tuple[str, str]] = []
        rows: list[tuple[float, float, float, float]] = []
        thresholds: list[float] = []
        memory: list[float] = []
        for step, gaps in counts.gaps.items():
            known = self.gaps.get(step)
            if known is None or (total := float(known.sum())) < LEAST_GAPS:
                continue
            age_h = min((now - self.learned_at[step]).total_seconds() / 3600, MOST_STALE_H)
            threshold = (SLOW_FACTOR + age_h) * quantile(known, SLOW_QUANTILE)
            memory.append(LATENCY_MEMORY * 0.5 ** (age_h / STALE_AFTER_H))
            slow_before = self.slow[step][0] + SLOW_PRIOR * LEAST_GAPS
            keys.append(step)
            rows.append((float((gaps > threshold).sum()), float(gaps.size), slow_before, total))
            thresholds.append(threshold)
        if not rows:
            return []
        numbers = np.array(rows)
        up, _ = share_scores(*numbers.T, memory=np.array(memory))
        scores: dict[str, float] = defaultdict(float)
        best: dict[str, float] = defaultdict(float)
        steps: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for i, (a, b) in enumerate(keys):
            if up[i] < LEAST_STEP_SCORE:
                continue
            sender, receiver = source_of(a), source_of(b)
            part = min(float(up[i]), MOST_PER_STEP)
            scores[sender] += part
            best[sender] = max(best[sender], float(up[i]))
            steps[sender].append((float(up[i]), i))
            if receiver != sender:
                scores[receiver] += NEIGHBOUR_CREDIT * part
                steps[receiver].append((float(up[i]), i))
        found = [
            Slowness(
                source,
                score,
                best[source],
                tuple(
                    (*keys[i], int(rows[i][0]), int(rows[i][1]), thresholds[i])
                    for _, i in sorted(steps[source], reverse=True)[:3]
                ),
            )
            for source, score in scores.items()
        ]
        return sorted(found, key=lambda item: -item.score)

    def learn(self, counts: StepCounts, now: datetime, without: frozenset[str] = frozenset()) -> None:
        """Take steps into the history.

        Args:
            counts: Steps of a window in which nothing was wrong.
            now: Instant by the data's clock.
            without: Places that looked wrong all the same, and sources whose steps looked slow.
        """
        for place, trials in counts.trials.items():
            if place in without or source_of(place) in without:
                continue
            if place in self.trials:
                self.spread.setdefault(place, Dispersion()).add(
                    counts.hits.get(place, {}), trials, self.hits[place], self.trials[place]
                )
            self.trials[place] = self.trials.get(place, 0.0) + trials
            mine = self.hits.setdefault(place, {})
            for next_place, hits in counts.hits.get(place, {}).items():
                mine[next_place] = mine.get(next_place, 0.0) + hits
            if self.trials[place] > MOST_TRIALS:
                self.trials[place] /= 2
                self.hits[place] = {b: k / 2 for b, k in mine.items() if k > 1}
        for step, gaps in counts.gaps.items():
            if step[0] in without or source_of(step[0]) in without:
                continue
            known = self.gaps.setdefault(step, np.zeros(_BINS))
            self.learned_at[step] = now
            slow = self.slow.setdefault(step, np.zeros(1))
            if known.sum() >= LEAST_GAPS:
                slow += (gaps > SLOW_FACTOR * quantile(known, SLOW_QUANTILE)).sum()
            np.add.at(known, _bins(gaps), 1.0)
            if known.sum() > MOST_GAPS:
                known /= 2
                slow /= 2


def source_of(place: str) -> str:
    """Source of a place's name."""
    return place.split(KEY, 1)[0]


def statement_of(place: str) -> str:
    """Statement of a place's name; empty for `END`."""
    return place.split(LEAVE, 1)[0].split(KEY, 1)[1] if place not in (END, LEAVE) else ""


def quantile(histogram: Floats, share: float) -> float:
    """Upper edge of the bin that holds a quantile of the gaps, in seconds."""
    at = int(np.searchsorted(np.cumsum(histogram), share * float(histogram.sum())))
    return _SHORTEST_S * 2.0 ** ((min(at, _BINS - 1) + 1) / _BINS_PER_OCTAVE)


def _bins(gaps: Floats) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    octaves = np.log2(np.maximum(gaps, _SHORTEST_S) / _SHORTEST_S)
    return np.minimum((octaves * _BINS_PER_OCTAVE).astype(np.int64), _BINS - 1)
