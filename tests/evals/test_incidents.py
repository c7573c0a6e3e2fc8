"""One fault, one incident: grouping on plants and faults that are drawn anew in each run.

The seed is printed; `opsgraph eval incidents --seed N` repeats a run.
"""

import random

from orchestration.figures import Figure, report
from orchestration.ingest.incidents.evaluation import evaluate_grouping

COMMAND = "opsgraph eval incidents"


def test_one_fault_is_one_incident() -> None:
    """Forbids thirty alerts for one cause, and one alert for two causes that lie apart."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    quality = evaluate_grouping(seed, scenarios=8)
    figures = [
        Figure(
            "faults_in_exactly_one_incident", quality.exactly_one, "ratio", "higher", bar=0.90,
            command=COMMAND,
        ),
        Figure("incidents_merging_far_faults", quality.merged_far, "ratio", "lower", bar=0.05,
               command=COMMAND),
        Figure("worst_fault_type_in_one_incident", quality.worst_type_exactly_one, "ratio", "higher",
               command=COMMAND),
        Figure(
            "pages_per_fault", quality.alerts_per_fault, "pages", "lower", peer="a page per finding",
            peer_value=quality.signals_per_fault, command=COMMAND,
        ),
        Figure("first_suspect_right", quality.named_first, "ratio", "higher", command=COMMAND),
    ]  # fmt: skip
    report("incidents", figures, folder="evals")
    assert quality.exactly_one >= 0.90, f"seed {seed}"
    assert quality.merged_far <= 0.05, f"seed {seed}"
