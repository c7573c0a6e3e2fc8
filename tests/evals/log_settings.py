"""How much log detection owes to its settings: each moved alone, and chosen without what it is judged on.

Add a setting here when it was chosen with a day of faults in sight. Avoid judging: `nezha_evaluation` does.
"""

import importlib
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from orchestration.ingest.logs.detector import ALERT_SCORE
from orchestration.ingest.logs.nezha_evaluation import NezhaResult, evaluate_nezha
from orchestration.ingest.replay.nezha_files import InjectedFault, read_nezha

AS_IT_IS = "as it is"
_LOGS = "orchestration.ingest.logs"
VARIANTS: Mapping[str, tuple[str, float] | None] = {
    AS_IT_IS: None,
    "alert at 4.5": ("detector.ALERT_SCORE", 4.5),
    "alert at 6": ("detector.ALERT_SCORE", 6.0),
    "shares remember 100": ("flow_history.SHARE_MEMORY", 100.0),
    "shares remember 400": ("flow_history.SHARE_MEMORY", 400.0),
    "prior .05": ("tails.PRIOR", 0.05),
    "prior .5": ("tails.PRIOR", 0.5),
    "slow from 1.5 x p95": ("flow_history.SLOW_FACTOR", 1.5),
    "slow from 3 x p95": ("flow_history.SLOW_FACTOR", 3.0),
    "latency remembers 30": ("flow_history.LATENCY_MEMORY", 30.0),
    "latency remembers 120": ("flow_history.LATENCY_MEMORY", 120.0),
    "receiver answers for 30 %": ("flow_history.NEIGHBOUR_CREDIT", 0.3),
    "receiver answers for 80 %": ("flow_history.NEIGHBOUR_CREDIT", 0.8),
    "slow steps weigh .3": ("traces.SLOW_WEIGHT", 0.3),
    "slow steps weigh .8": ("traces.SLOW_WEIGHT", 0.8),
    "resources: tail of 2 degrees": ("resources.DEGREES", 2.0),
    "resources: tail of 4 degrees": ("resources.DEGREES", 4.0),
}
"""Every setting that was chosen with faults in sight, once lower and once higher: about half and double."""


def run_variants(folder: Path) -> dict[str, NezhaResult]:
    """The day under each variant, on two cores."""
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver"), max_tasks_per_child=1) as pool:
        return dict(zip(VARIANTS, pool.map(partial(_run, folder), VARIANTS), strict=True))


def _run(folder: Path, variant: str) -> NezhaResult:
    """One variant; its process ends afterwards, and the changed setting with it."""
    alert_score = ALERT_SCORE
    if (changed := VARIANTS[variant]) is not None:
        module, _, name = changed[0].partition(".")
        setattr(importlib.import_module(f"{_LOGS}.{module}"), name, changed[1])
        if name == "ALERT_SCORE":
            alert_score = changed[1]
    return evaluate_nezha(read_nezha(folder), alert_score=alert_score)


def left_out(results: Mapping[str, NezhaResult], group: Callable[[InjectedFault], str]) -> dict[str, float]:
    """Share of each group's faults named first, under the variant that is best on the other groups' faults.

    Best is most faults named first, then precision, then the order of the variants.
    """
    all_faults = results[AS_IT_IS].faults
    shares: dict[str, float] = {}
    for name in sorted({group(item.fault) for item in all_faults}):

        def elsewhere(variant: str, held: str = name) -> tuple[int, float]:
            others = [item for item in results[variant].faults if group(item.fault) != held]
            return sum(item.rank == 1 for item in others), results[variant].precision

        chosen = max(results, key=elsewhere)
        own = [item.rank == 1 for item in results[chosen].faults if group(item.fault) == name]
        shares[name] = sum(own) / len(own)
    return shares


def overall(shares: Mapping[str, float], results: Mapping[str, NezhaResult],
            group: Callable[[InjectedFault], str]) -> float:  # fmt: skip
    """The groups' shares together, each weighing its faults."""
    faults = [group(item.fault) for item in results[AS_IT_IS].faults]
    return sum(shares[name] for name in faults) / len(faults)
