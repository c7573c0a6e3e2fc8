"""Log detection on real and generated faults: `make evals ONLY=logs`.

Nezha with its settings chosen without each service and each fault type in turn, one half of the day after the
other, faults put into quiet stretches of Nezha and HDFS, and the generator's six types at 1,000 lines a
second with their labels hidden. Draws come from a seed that is printed; `LOGS_SEED` repeats a run,
`LOGS_MINUTES` sets how long each of the two generated runs is, `LOGS_PARTS` picks parts by name.
"""

import os
import random
import secrets
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from orchestration.environment import Environment
from orchestration.figures import Figure, report
from orchestration.ingest.incidents.generator_evaluation import GeneratorQuality, evaluate_generator
from orchestration.ingest.logs.loghub_evaluation import evaluate_loghub
from orchestration.ingest.logs.nezha_evaluation import NezhaResult, evaluate_nezha, evaluate_rule
from orchestration.ingest.logs.session_evaluation import evaluate_sessions, read_sessions
from orchestration.ingest.replay.nezha_files import read_nezha
from tests.evals.log_faults import inject_into_nezha, inject_into_sessions, moved, part_of
from tests.evals.log_settings import AS_IT_IS, left_out, overall, run_variants

COMMAND = "make evals ONLY=logs"
RATE = 1_000
MOST_GAP_MINUTES = 4
"""Faults of the generated runs begin 3 to 4 minutes apart: about eight of each type in three hours."""
LEAST_WARM_FAULTS = 10


def share(name: str, value: float, bar: float | None = None) -> Figure:
    """A share that should be high."""
    return Figure(name, value, "share", "higher", bar, command=COMMAND)


def settings(day: Path, _: int) -> Iterator[Figure]:
    """The day as it is, beside the mission's rule, and under settings chosen without what is judged."""
    results = run_variants(day)
    for variant, result in results.items():
        print(f"{variant:30} {_line(result)}")
    own, rule = results[AS_IT_IS], evaluate_rule(read_nezha(day))
    bars = {"recall": 0.95, "precision": 0.88, "localisation_top1": 0.86, "localisation_top3": 0.90}
    for name, bar in bars.items():
        yield Figure(
            f"nezha_{name}", getattr(own, name), "share", "higher", bar,
            "mission's spike rule", getattr(rule, name), COMMAND,
        )  # fmt: skip
    yield Figure("nezha_median_delay", own.median_delay_s, "s", "lower", 50, command=COMMAND)
    for name, result in _by_type(own).items():
        print(f"named first, {name}: {result}")
    for name, group in {"service": lambda f: f.source, "type": lambda f: f.kind}.items():
        shares = left_out(results, group)
        print(f"named first with each {name} left out: {shares}")
        yield share(f"nezha_top1_{name}_left_out", overall(shares, results, group), 0.75)
    moved = [result for variant, result in results.items() if variant != AS_IT_IS]
    for name in ("recall", "precision", "localisation_top1"):
        yield share(f"nezha_{name}_worst_setting", min(getattr(result, name) for result in moved))


def halves(day: Path, _: int) -> Iterator[Figure]:
    """The later half of a day from nothing, and after the earlier half, as another day would be judged."""
    whole = read_nezha(day)
    cut = whole.faults[len(whole.faults) // 2].at - timedelta(minutes=2)
    first, last = whole.lines["event_at"].min(), whole.lines["event_at"].max()
    assert isinstance(first, datetime) and isinstance(last, datetime)
    hour = timedelta(hours=1)
    early, late = part_of(whole, first - hour, cut), part_of(whole, cut, last + hour)
    for name, result in {
        "cold": evaluate_nezha(late),
        "warm": evaluate_nezha(late, early),
        "early_after_late": evaluate_nezha(moved(early, timedelta(days=1)), late),
    }.items():
        print(f"half day, {name}: {_line(result)} {_by_type(result)}")
        yield share(f"nezha_half_{name}_recall", result.recall)
        yield share(f"nezha_half_{name}_precision", result.precision)
        yield share(f"nezha_half_{name}_top1", result.localisation_top1)


def quiet_stretches(day: Path, seed: int) -> Iterator[Figure]:
    """Faults of drawn size in quiet lines of Nezha and in normal HDFS sessions."""
    rng = random.Random(seed)
    result = inject_into_nezha(read_nezha(day), rng)
    print("injected into Nezha, recall by kind:", result.recall)
    print("injected into Nezha, named first by kind:", result.named)
    yield share("nezha_injected_worst_recall", min(result.recall.values()))
    yield share("nezha_injected_top1", statistics.fmean(result.named.values()))
    yield share("nezha_injected_exactly_one_incident", result.exactly_one, 0.90)
    yield Figure("nezha_quiet_stretches_with_alarm", result.quiet_alarms, "share", "lower", command=COMMAND)
    sessions = read_sessions(Environment().data_dir / "hdfs_sessions")
    judged = evaluate_sessions(sessions)
    yield share("hdfs_f1", judged.f1, 0.65)
    yield share("hdfs_precision", judged.precision, 0.98)
    recall = inject_into_sessions(sessions, rng)
    print("injected into HDFS sessions, recall by kind:", recall)
    yield share("hdfs_injected_worst_recall", min(recall.values()))
    sample = evaluate_loghub(Environment().data_dir / "loghub" / "BGL")
    yield share("bgl_recall", sample.recall)
    yield share("bgl_precision", sample.precision)


def generated(_: Path, seed: int) -> Iterator[Figure]:
    """Two runs of the generator at full rate, by event time."""
    minutes = int(os.environ.get("LOGS_MINUTES") or 180)
    run = partial(
        evaluate_generator, minutes=minutes, lines_per_second=RATE, most_gap_minutes=MOST_GAP_MINUTES
    )
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        runs: list[GeneratorQuality] = list(pool.map(run, (seed, seed + 1)))
    recall: defaultdict[str, list[float]] = defaultdict(list)
    for quality in runs:
        print(quality)
        for kind, found in quality.detected_by_type.items():
            recall[kind].append(found)
    by_type = {kind: sum(found) / len(found) for kind, found in recall.items()}
    print(f"generated at {RATE} lines/s, {sum(q.faults for q in runs)} faults, recall by type: {by_type}")
    yield share("generated_worst_recall", min(by_type.values()), 0.95)
    false = sum(quality.false_incidents_per_hour for quality in runs) / len(runs)
    yield Figure("generated_false_incidents", false, "per hour", "lower", 1.0, command=COMMAND)
    one = sum(quality.exactly_one * quality.faults for quality in runs) / sum(q.faults for q in runs)
    yield share("generated_exactly_one_incident", one, 0.90)


PARTS: dict[str, Callable[[Path, int], Iterator[Figure]]] = {
    "settings": settings, "halves": halves, "quiet_stretches": quiet_stretches, "generated": generated,
}  # fmt: skip


def _line(result: NezhaResult) -> str:
    return (
        f"recall {result.recall:.3f} precision {result.precision:.3f} "
        f"named first {result.localisation_top1:.3f}, in three {result.localisation_top3:.3f}, "
        f"{result.median_delay_s:.0f} s"
    )


def _by_type(result: NezhaResult) -> dict[str, str]:
    tries = Counter(item.fault.kind for item in result.faults)
    named = Counter(item.fault.kind for item in result.faults if item.rank == 1)
    return {kind: f"{named[kind]} of {n}" for kind, n in tries.items()}


def main() -> None:
    """Measure and report."""
    seed = int(os.environ.get("LOGS_SEED") or secrets.randbelow(10**6))
    print(f"seed {seed}: repeat this run with LOGS_SEED={seed}")
    day = min((Environment().data_dir / "nezha").iterdir())
    chosen = (os.environ.get("LOGS_PARTS") or ",".join(PARTS)).split(",")
    figures: list[Figure] = []
    for name in chosen:
        begun = time.monotonic()
        figures += PARTS[name](day, seed)
        print(f"{name}: {time.monotonic() - begun:.0f} s")
    report("logs", figures)


if __name__ == "__main__":
    main()
