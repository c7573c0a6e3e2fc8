"""Incidents from log lines on, and the right runbook: `make evals ONLY=incidents` (some minutes).

The seeds are drawn and printed; `opsgraph eval incidents --from-lines --seed N` and
`opsgraph eval remediation --seed N` repeat a run.
"""

import random
import statistics
import tempfile
from pathlib import Path

from orchestration.environment import Environment
from orchestration.figures import Figure, report
from orchestration.ingest.incidents.generator_evaluation import evaluate_generator
from orchestration.remediation_evaluation import evaluate_remediation, index_corpus
from rag_assets.documents import CORPUS_DIR
from rag_assets.embedding import MiniLmEmbedder

RUNS = 4


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seeds {seed} to {seed + RUNS - 1}")
    runs = [evaluate_generator(seed + number, lines_per_second=50.0) for number in range(RUNS)]
    faults = sum(run.faults for run in runs)
    exactly_one = sum(run.exactly_one * run.faults for run in runs) / faults
    with tempfile.TemporaryDirectory(prefix="opsgraph-remediation-") as work:
        embedder = MiniLmEmbedder(Environment().state_dir / "models")
        retriever = index_corpus(CORPUS_DIR, embedder, Path(work))
        remediation = evaluate_remediation(retriever, seed)
        retriever.close()
    lines, plans = "opsgraph eval incidents --from-lines", "opsgraph eval remediation"
    figures = [
        Figure("generated_faults_in_one_incident", exactly_one, "ratio", "higher", bar=0.90, command=lines),
        Figure("generated_faults_merged_far", max(run.merged_far for run in runs), "ratio", "lower",
               bar=0.05, command=lines),
        Figure("false_incidents_per_hour", statistics.fmean(run.false_incidents_per_hour for run in runs),
               "1/h", "lower", bar=1.0, command=lines),
        Figure("right_runbook_first", remediation.right_first, "ratio", "higher", bar=0.90, command=plans),
        Figure("unrelated_incidents_refused", remediation.unrelated_refused, "ratio", "higher", bar=1.0,
               command=plans),
    ]  # fmt: skip
    report("incidents_from_lines", figures, folder="evals")
    if any(figure.holds is False for figure in figures):
        raise SystemExit("incidents: a bar is not held")


if __name__ == "__main__":
    main()
