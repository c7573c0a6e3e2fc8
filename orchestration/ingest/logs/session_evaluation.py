"""Judges sessions of events (HDFS blocks) by how rare their event counts are among normal sessions.

A session is as rare as its rarest (event, count); its tail probability is the share of normal training
sessions that are as rare or rarer. Trained on normal sessions alone. Add a statistic of a whole session here.
"""

import gzip
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALERT_PROBABILITY = 1e-3
"""One false alarm in 1,000 normal sessions. Five folds of the training split give 5e-4 to 2e-3 the same
precision, .96; below 3e-4 there are not enough sessions to be that sure of anything."""


class SessionFormatError(ValueError):
    """A folder holds no sessions; says what was expected."""


@dataclass(frozen=True)
class Session:
    """One session.

    Attributes:
        session_id: Block or request.
        split: `train` or `test`.
        is_anomalous: Its label; read in judging only.
        events: Templates in order.
    """

    session_id: str
    split: str
    is_anomalous: bool
    events: tuple[str, ...]


@dataclass(frozen=True)
class SessionModel:
    """How often each (event, count) is among normal sessions, and how rare these sessions are.

    Attributes:
        counts: Normal sessions by (event, count); count 0 where the event is absent.
        rarities: Rarity of each normal session, ascending.
    """

    counts: Counter[tuple[str, int]]
    rarities: tuple[int, ...]

    def probability(self, events: Sequence[str]) -> float:
        """Share of normal sessions that are as rare as this one: (rank + 1) / (sessions + 1)."""
        from bisect import bisect_right

        return (bisect_right(self.rarities, self.rarity(events)) + 1) / (len(self.rarities) + 1)

    def rarity(self, events: Sequence[str]) -> int:
        """Normal sessions that share the session's rarest (event, count)."""
        own = Counter(events)
        names = {event for event, _ in self.counts}
        present = [self.counts.get(item, 0) for item in own.items()]
        absent = [self.counts.get((name, 0), 0) for name in names - own.keys()]
        return min(present + absent, default=0)

    def score(self, events: Sequence[str]) -> float:
        """-log10 of `probability`."""
        return -math.log10(self.probability(events))


@dataclass(frozen=True)
class SessionResult:
    """Figures on the test sessions.

    Attributes:
        recall: Of anomalous sessions.
        precision: Of alarms.
        f1: Of both.
        unseen: Kinds of missed anomalies: (event counts in words, sessions), commonest first.
    """

    recall: float
    precision: float
    f1: float
    unseen: tuple[tuple[str, int], ...]


def read_sessions(folder: Path) -> list[Session]:
    """Read `sessions.jsonl[.gz]`: block_id, split, label, events.

    Raises:
        SessionFormatError: The file is missing or has other fields.
    """
    path = next((p for p in (folder / "sessions.jsonl.gz", folder / "sessions.jsonl") if p.exists()), None)
    if path is None:
        raise SessionFormatError(f"{folder}: neither sessions.jsonl nor sessions.jsonl.gz is there")
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        rows: list[dict[str, Any]] = [json.loads(line) for line in raw.splitlines() if line.strip()]
        return [
            Session(row["block_id"], row["split"], bool(row["label"]), tuple(row["events"])) for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise SessionFormatError(
            f"{path}: expected JSON lines with block_id, split, label and events ({error})"
        ) from error


def train(normal: Sequence[Session]) -> SessionModel:
    """Count normal sessions."""
    names = {event for session in normal for event in session.events}
    counts: Counter[tuple[str, int]] = Counter()
    for session in normal:
        own = Counter(session.events)
        counts.update(own.items())
        counts.update((name, 0) for name in names - own.keys())
    model = SessionModel(counts, ())
    return SessionModel(counts, tuple(sorted(model.rarity(session.events) for session in normal)))


def evaluate_sessions(sessions: Sequence[Session]) -> SessionResult:
    """Train on the normal sessions of the training split and judge the test split."""
    model = train([s for s in sessions if s.split == "train" and not s.is_anomalous])
    test = [s for s in sessions if s.split == "test"]
    if not test or not model.rarities:
        raise SessionFormatError("sessions need a split `train` with normal ones and a split `test`")
    return judge_sessions(model, test)


def judge_sessions(model: SessionModel, test: Sequence[Session]) -> SessionResult:
    """Count hits, false alarms and what was missed."""
    alarms = [model.probability(session.events) <= ALERT_PROBABILITY for session in test]
    hits = sum(alarm and s.is_anomalous for alarm, s in zip(alarms, test, strict=True))
    anomalous = sum(s.is_anomalous for s in test)
    precision = hits / sum(alarms) if any(alarms) else 0.0
    recall = hits / anomalous if anomalous else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    missed = Counter(
        _in_words(s.events) for alarm, s in zip(alarms, test, strict=True) if s.is_anomalous and not alarm
    )
    return SessionResult(recall, precision, f1, tuple(missed.most_common()))


def _in_words(events: Sequence[str]) -> str:
    return ", ".join(f"{n} x {event}" for event, n in sorted(Counter(events).items()))
