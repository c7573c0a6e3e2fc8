"""Judges lines without traces: counts of statements, errors, response times and silence of each source.

Expectations follow the source's own shares, so that traffic may rise and fall; how much its counts usually
scatter is measured, so that a bursty statement needs more to be news. Volume knows the hour of the day.
Add a statistic of untraced lines here. Avoid traces: `traces` judges them.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from orchestration.ingest.logs.evidence import Evidence, WindowLines
from orchestration.ingest.logs.statement_kinds import kind_of
from orchestration.ingest.logs.tails import Floats, count_scores, share_scores
from orchestration.ingest.signals import SignalKind

WARM_UP_WINDOWS = 5
"""Windows that a source needs before it is judged; until then it is learned only."""
LEARNING_LAG = 2
HOT_SCORE = 3.0
TESTS_AT_PAR = 100.0
"""Tests of a window that the threshold is meant for; with more of them, scores lose log10 of the excess."""
MOST_WINDOWS = 1440.0
"""Counts are halved after a day of windows: what was new yesterday is usual today."""
MOST_STATEMENTS = 50_000
"""(source, statement) pairs remembered; beyond, the rarest are forgotten. About 10 MB."""
SLOW_FACTOR, SLOW_QUANTILE, LEAST_TIMES = 2.0, 0.95, 100
LEAST_LINES_FOR_SILENCE = 10.0
ERROR_LEVELS = ("ERROR", "CRITICAL")
HOURS_SEEN = 30.0
"""Windows of an hour of the day from which on volume is compared with that hour's alone."""

_COUNTS = {"source": pl.String, "statement": pl.String, "level": pl.String, "lines": pl.Float64}


@dataclass
class _Volume:
    """Lines per window of one source, overall and by hour of the day."""

    windows: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    errors: float = 0.0
    error_squares: float = 0.0
    by_hour: Floats = field(default_factory=lambda: np.zeros((24, 3)))
    times: Floats = field(default_factory=lambda: np.zeros(0))
    threshold_ms: float = 0.0
    slow: float = 0.0
    timed: float = 0.0


@dataclass(frozen=True)
class StatementFindings:
    """What the untraced lines of a window show: reasons, and what is to be learned."""

    evidence: tuple[Evidence, ...]
    counts: pl.DataFrame
    sources: pl.DataFrame
    hot: frozenset[str]


@dataclass
class StatementJudge:
    """Memory of untraced lines; `judge` changes nothing, `close` learns."""

    history: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(
            schema={
                "source": pl.String, "statement": pl.String,
                "past": pl.Float64, "squares": pl.Float64,
            }
        )
    )  # fmt: skip
    volumes: dict[str, _Volume] = field(default_factory=dict[str, _Volume])
    pending: deque[tuple[StatementFindings, datetime, frozenset[str]]] = field(
        default_factory=deque[tuple["StatementFindings", datetime, frozenset[str]]]
    )

    @property
    def is_warm(self) -> bool:
        """Whether any source is known long enough."""
        return any(volume.windows >= WARM_UP_WINDOWS for volume in self.volumes.values())

    def judge(self, window: WindowLines, judged_at: datetime, *, is_whole: bool) -> StatementFindings:
        """Judge the untraced lines of a window.

        Args:
            window: Its lines; traced ones are left out.
            judged_at: Up to when lines were seen.
            is_whole: Whether the window is over: silence shows at its end only.
        """
        lines = window.lines.filter(pl.col("trace_id").is_null())
        counts, sources = count_lines(lines)
        warm = {name for name, volume in self.volumes.items() if volume.windows >= WARM_UP_WINDOWS}
        evidence: list[Evidence] = []
        if counts.height and warm:
            evidence += self._statements(counts.filter(pl.col("source").is_in(warm)), lines)
            for row in sources.filter(pl.col("source").is_in(warm)).iter_rows(named=True):
                evidence += self._levels_and_times(row, lines)
        if is_whole:
            evidence += self._vanished(counts, sources)
            evidence += self._silence(sources, warm, judged_at)
        hot = {f"{item.source}\x1f{name}" for item in evidence if item.score >= HOT_SCORE
               for name in item.statements}  # fmt: skip
        return StatementFindings(tuple(evidence), counts, sources, frozenset(hot))

    def close(self, window: WindowLines, findings: StatementFindings, alerting: frozenset[str]) -> None:
        """Take a judged window in, two windows later, without the sources that alert."""
        self.pending.append((findings, window.ends_at, alerting))
        while len(self.pending) > (LEARNING_LAG if self.is_warm else 0):
            oldest, at, without = self.pending.popleft()
            later = [item for item, *_ in self.pending]
            frozen = without.union(*(names for _, _, names in self.pending))
            self._learn(oldest, at, oldest.hot.union(*(item.hot for item in later)), frozen)

    def _statements(self, counts: pl.DataFrame, lines: pl.DataFrame) -> list[Evidence]:
        known = counts.join(self.history, on=["source", "statement"], how="left").fill_null(0.0)
        windows = np.array([self.volumes[name].windows for name in known["source"]])
        usual_lines = np.array(
            [self.volumes[name].total / self.volumes[name].windows for name in known["source"]]
        )
        now = known.select(pl.col("lines").sum().over("source"))["lines"].to_numpy()
        past, squares = known["past"].to_numpy(), known["squares"].to_numpy()
        # A statement never seen in W windows is expected half a time in W more.
        mean = (past + 0.5) / windows
        variance = np.maximum(squares / windows - mean**2, 0.0)
        traffic = np.clip(now / np.maximum(usual_lines, 1e-9), 0.2, 5.0)
        shape = np.minimum(mean**2 / np.maximum(variance - mean, mean**2 / 200.0), past + 0.5)
        up, _ = count_scores(known["lines"].to_numpy(), mean * traffic, shape)
        up = up - np.log10(max(1.0, known.height / TESTS_AT_PAR))
        found: list[Evidence] = []
        for i in np.flatnonzero(up >= 2.0):
            source, statement, level, count = known.row(int(i))[:4]
            samples = _samples(lines, source, statement)
            kind = kind_of(level, " ".join((statement, *samples)), is_new=past[i] == 0)
            usual = "never before" if past[i] == 0 else f"usually {mean[i]:.1f} a minute"
            found.append(
                Evidence(
                    kind, source, float(up[i]),
                    f"{source}: {count:.0f} lines like “{samples[0][:160]}”, {usual}",
                    (statement,), (),
                    {"lines": count, "expected": round(float(mean[i] * traffic[i]), 3), "level": level,
                     "windows_known": float(windows[i])},
                    samples,
                )
            )  # fmt: skip
        return found

    def _vanished(self, counts: pl.DataFrame, sources: pl.DataFrame) -> list[Evidence]:
        """Statements that a source writes every minute, and now hardly or not at all, though it writes."""
        present = sources.join(
            pl.DataFrame({
                "source": list(self.volumes),
                "windows": [volume.windows for volume in self.volumes.values()],
                "total": [volume.total for volume in self.volumes.values()],
            }, schema_overrides={"source": pl.String}),
            on="source",
        ).filter(pl.col("windows") >= WARM_UP_WINDOWS)  # fmt: skip
        usual = self.history.join(
            present.select("source", "windows", "total", now_all="lines"), on="source"
        ).filter(pl.col("past") >= LEAST_LINES_FOR_SILENCE * pl.col("windows"))
        if usual.is_empty():
            return []
        usual = usual.join(
            counts.select("source", "statement", "lines"), on=["source", "statement"], how="left"
        ).fill_null(0.0)
        windows, past = usual["windows"].to_numpy(), usual["past"].to_numpy()
        mean = past / windows
        variance = np.maximum(usual["squares"].to_numpy() / windows - mean**2, 0.0)
        shape = np.minimum(mean**2 / np.maximum(variance - mean, mean**2 / 100.0), windows * 2)
        traffic = np.clip(usual["now_all"].to_numpy() / (usual["total"].to_numpy() / windows), 0.2, 1.0)
        _, down = count_scores(usual["lines"].to_numpy(), mean * traffic, shape)
        down = down - np.log10(max(1.0, usual.height / TESTS_AT_PAR))
        return [
            Evidence(
                SignalKind.LOG_TEMPLATES, source, float(down[i]),
                f"{source}: statement {statement} came {lines:.0f} times, usually {mean[i]:.0f} a minute",
                (statement,), (), {"lines": lines, "expected": round(float(mean[i] * traffic[i]), 1)},
            )
            for i in np.flatnonzero(down >= 2.0)
            for source, statement, lines in [usual.select("source", "statement", "lines").row(int(i))]
        ]  # fmt: skip

    def _levels_and_times(self, row: dict[str, Any], lines: pl.DataFrame) -> list[Evidence]:
        source, volume = str(row["source"]), self.volumes[str(row["source"])]
        found: list[Evidence] = []
        mean = (volume.errors + 0.5) / volume.windows
        variance = max(volume.error_squares / volume.windows - mean**2, 0.0)
        shape = min(mean**2 / max(variance - mean, mean**2 / 200.0), volume.errors + 0.5)
        traffic = min(max(row["lines"] / max(volume.total / volume.windows, 1e-9), 0.2), 5.0)
        up = float(count_scores([row["errors"]], [mean * traffic], [shape])[0][0])
        if up >= 2.0:
            bad = lines.filter((pl.col("source") == source) & pl.col("level").is_in(ERROR_LEVELS))
            found.append(
                Evidence(
                    SignalKind.LOG_ERRORS, source, up,
                    f"{source}: {row['errors']:.0f} errors in {row['lines']:.0f} lines, usually {mean:.1f}",
                    ("<errors>",), (), {"errors": row["errors"], "expected": round(mean * traffic, 3)},
                    tuple(text[:500] for text in bad["message"].head(3).to_list()),
                )
            )  # fmt: skip
        times = np.asarray(row["times"], dtype=np.float64)
        if volume.timed >= LEAST_TIMES and times.size:
            slow = int((times > volume.threshold_ms).sum())
            score = float(share_scores([slow], [times.size], [volume.slow + 0.5], [volume.timed])[0][0])
            if score >= 2.0:
                slowest = lines.filter(pl.col("source") == source).top_k(3, by="response_time_ms")
                found.append(
                    Evidence(
                        SignalKind.LOG_LATENCY, source, score,
                        f"{source}: {slow} of {times.size} responses over {volume.threshold_ms:.0f} ms",
                        ("<response times>",), (),
                        {"slow": slow, "responses": times.size, "slow_above_ms": volume.threshold_ms,
                         "p95_ms": float(np.quantile(times, 0.95))},
                        tuple(t[:500] for t in slowest["message"].to_list()),
                    )
                )  # fmt: skip
        return found

    def _silence(self, sources: pl.DataFrame, warm: set[str], now: datetime) -> list[Evidence]:
        lines = dict(sources.select("source", "lines").iter_rows())
        names = [
            n for n in warm if self.volumes[n].total / self.volumes[n].windows >= LEAST_LINES_FOR_SILENCE
        ]
        if not names:
            return []
        means, shapes = np.array([self._expected(self.volumes[n], now) for n in names]).T
        seen = np.array([lines.get(name, 0.0) for name in names])
        _, down = count_scores(seen, means, shapes)
        down = down - np.log10(max(1.0, len(names) / TESTS_AT_PAR))
        return [
            Evidence(
                SignalKind.LOG_SILENCE, names[i], float(down[i]),
                f"{names[i]}: {seen[i]:.0f} lines in a minute, usually {means[i]:.0f}",
                ("<volume>",), (), {"lines": float(seen[i]), "expected": round(float(means[i]), 1)},
            )
            for i in np.flatnonzero(down >= 2.0)
        ]  # fmt: skip

    def _expected(self, volume: _Volume, now: datetime) -> tuple[float, float]:
        """Mean lines of a window and the shape of their scatter, of this hour where it is known."""
        windows, total, squares = volume.by_hour[(now - timedelta(seconds=1)).hour]
        if windows < HOURS_SEEN:
            windows, total, squares = volume.windows, volume.total, volume.squares
        mean = total / windows
        variance = max(squares / windows - mean**2, mean)
        return float(mean), float(min(mean**2 / max(variance - mean, mean**2 / 100.0), windows * 2))

    def _learn(
        self, findings: StatementFindings, at: datetime, hot: frozenset[str], frozen: frozenset[str]
    ) -> None:
        fresh = findings.counts.filter(~pl.col("source").is_in(list(frozen)))
        if hot:
            pair = pl.concat_str("source", "statement", separator="\x1f")
            fresh = fresh.filter(~pair.is_in(list(hot)))
        added = fresh.select("source", "statement", past="lines", squares=pl.col("lines") ** 2)
        total = pl.concat([self.history, added]).group_by("source", "statement").agg(pl.all().sum())
        self.history = total.top_k(MOST_STATEMENTS, by="past") if total.height > MOST_STATEMENTS else total
        aged: list[str] = []
        for row in findings.sources.filter(~pl.col("source").is_in(list(frozen))).iter_rows(named=True):
            volume = self.volumes.setdefault(row["source"], _Volume())
            _add(volume, row, at, is_hot=f"{row['source']}\x1f<response times>" in hot)
            if volume.windows > MOST_WINDOWS:
                aged.append(row["source"])
        for name in aged:
            _halve(self.volumes[name])
        if aged:
            factor = pl.when(pl.col("source").is_in(aged)).then(0.5).otherwise(1.0)
            self.history = self.history.with_columns(pl.col("past") * factor, pl.col("squares") * factor)


def count_lines(lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines by source and statement, and by source with errors and response times."""
    if lines.is_empty():
        return pl.DataFrame(schema=_COUNTS), pl.DataFrame(
            schema={
                "source": pl.String,
                "lines": pl.Float64,
                "errors": pl.Float64,
                "times": pl.List(pl.Float64),
            }
        )
    counts = lines.group_by("source", "statement").agg(
        level=pl.col("level").last(), lines=pl.len().cast(pl.Float64)
    )
    sources = lines.group_by("source").agg(
        lines=pl.len().cast(pl.Float64),
        errors=pl.col("level").is_in(ERROR_LEVELS).sum().cast(pl.Float64),
        times=pl.col("response_time_ms").drop_nulls(),
    )
    return counts.with_columns(pl.col("statement").fill_null("")), sources


def _add(volume: _Volume, row: dict[str, Any], at: datetime, *, is_hot: bool) -> None:
    lines, errors = float(row["lines"]), float(row["errors"])
    volume.windows += 1
    volume.total += lines
    volume.squares += lines**2
    volume.errors += errors
    volume.error_squares += errors**2
    volume.by_hour[(at - timedelta(seconds=1)).hour] += (1.0, lines, lines**2)
    times = np.asarray(row["times"], dtype=np.float64)
    if times.size and not is_hot:
        if volume.timed >= LEAST_TIMES:
            volume.slow += float((times > volume.threshold_ms).sum())
        volume.timed += times.size
        volume.times = np.concatenate([volume.times, times])[-2_000:]
        volume.threshold_ms = SLOW_FACTOR * float(np.quantile(volume.times, SLOW_QUANTILE))


def _halve(volume: _Volume) -> None:
    for name in ("windows", "total", "squares", "errors", "error_squares", "slow", "timed"):
        setattr(volume, name, getattr(volume, name) / 2)
    volume.by_hour = volume.by_hour / 2


def _samples(lines: pl.DataFrame, source: str, statement: str) -> tuple[str, ...]:
    chosen = lines.filter((pl.col("source") == source) & (pl.col("statement").fill_null("") == statement))
    return tuple(text[:500] for text in chosen["message"].head(3).to_list())
