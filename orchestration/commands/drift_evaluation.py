"""What `opsgraph eval drift` measures: tests, verdicts, triggers and policies, as plain values and tables.

Avoid measuring methods here: each stands with its scenarios in `ml.drift.scenarios`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from ml.drift.scenarios.autocorrelated import study_false_alarms
from ml.drift.scenarios.bank import BankReport, Judged, judge_bank, judge_quiet
from ml.drift.scenarios.kinds import HARD, KINDS, STANDARD
from ml.drift.scenarios.year import Policy, PolicyYear, simulate_year
from ml.drift.verdict import Verdict
from ml.evaluation.intervals import wilson
from orchestration.commands.drift_series import series_for


def evaluate(
    data_dir: Path, seed: int, repeats: int, years: int, feature_years: int = 40, quiet_series: int = 200
) -> dict[str, Any]:
    """Measure everything under one seed.

    Args:
        data_dir: Folder of the public data sets; those that are absent are left out.
        seed: Draws the same scenarios again.
        repeats: Scenarios of each kind on each series.
        years: Simulated years for the policies.
        feature_years: Stationary series of a year each.
        quiet_series: Series without a change for the share of false verdicts, at least.
    """
    bases = series_for(data_dir, seed)
    study = study_false_alarms(seed, feature_years=feature_years)
    policies = {
        policy: [simulate_year(seed * 1000 + year, policy) for year in range(years)] for policy in Policy
    }
    return {
        "seed": seed,
        "kinds": len(KINDS),
        "series": [base.name for base in bases],
        "standard": _bank(judge_bank(bases, STANDARD, seed, repeats)),
        "hard": _bank(judge_bank(bases, HARD, seed, repeats)),
        "quiet": _quiet(judge_quiet(bases, seed, quiet_series)),
        "tests": {**vars(study)},
        "policies": {str(policy): _policy(found) for policy, found in policies.items()},
        "triggers": _triggers(policies[Policy.VERDICT]),
    }


def _bank(report: BankReport) -> dict[str, Any]:
    worst, recall = report.worst_class
    return {
        "scenarios": len(report.judged),
        "accuracy": report.accuracy,
        "false_on_quiet": report.false_on_quiet,
        "concept_on_sensor_fault": report.concept_on_sensor_fault,
        "worst_class": str(worst),
        "worst_class_recall": recall,
        "recall": {str(truth): share for truth, share in report.recall.items()},
        "by_series": dict(report.by_base),
        "by_kind": dict(report.by_kind),
        "confusion": {
            str(truth): {
                str(said): report.confusion.get((truth, said), 0)
                for said in Verdict
                if report.confusion.get((truth, said), 0)
            }
            for truth in Verdict
        },
    }


def _quiet(judged: Sequence[Judged]) -> dict[str, Any]:
    wrong = [one for one in judged if not one.is_right]
    share = wilson(len(wrong), len(judged))
    return {
        "series": len(judged),
        "false_verdicts": len(wrong),
        "false_share": share.value,
        "false_share_low": share.low,
        "false_share_high": share.high,
        "by_series": dict(Counter(one.base for one in wrong)),
    }


def _policy(found: list[PolicyYear]) -> dict[str, float]:
    return {
        "log_loss": sum(one.log_loss for one in found) / len(found),
        "retrains_per_year": sum(one.retrains for one in found) / len(found),
    }


def _triggers(found: list[PolicyYear]) -> dict[str, float]:
    retrains, useful = sum(one.retrains for one in found), sum(one.useful for one in found)
    triggers = sum(one.triggers for one in found)
    changes, answered = sum(one.changes for one in found), sum(one.answered for one in found)
    return {
        "retrains": retrains,
        "triggers": triggers,
        "precision": useful / triggers if triggers else 0.0,
        "recall": answered / changes if changes else 0.0,
        "retrains_per_useful_one": retrains / useful if useful else float(retrains),
    }


def tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """The same values for a person."""
    summary = Table("figure", "value", "bar", title="drift", title_justify="left")
    for name, value, bar in _summary(found):
        summary.add_row(name, value, bar)
    yield summary
    for bank in ("standard", "hard"):
        names = [str(verdict) for verdict in Verdict]
        table = Table("truth ↓, verdict →", *names, "recall", title=f"{bank} bank", title_justify="left")
        for truth in names:
            row = found[bank]["confusion"].get(truth, {})
            recall = found[bank]["recall"].get(truth)
            table.add_row(
                truth, *(str(row.get(said, "")) for said in names), "" if recall is None else f"{recall:.2f}"
            )
        yield table
    table = Table("policy", "log loss", "retrains a year", title="a simulated year", title_justify="left")
    for policy, values in found["policies"].items():
        table.add_row(policy, f"{values['log_loss']:.4f}", f"{values['retrains_per_year']:.1f}")
    yield table


def _summary(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    tests, triggers = found["tests"], found["triggers"]
    standard, hard, quiet = found["standard"], found["hard"], found["quiet"]
    return [
        ("verdict accuracy, standard bank", f"{standard['accuracy']:.3f}", "≥ 0.93"),
        ("verdict accuracy, hard bank", f"{hard['accuracy']:.3f}", "≥ 0.80"),
        (
            f"false verdicts on {quiet['series']} quiet series",
            f"{quiet['false_share']:.1%} [{quiet['false_share_low']:.1%}, {quiet['false_share_high']:.1%}]",
            "≤ 3 %",
        ),
        (
            "CONCEPT said of a sensor fault",
            str(standard["concept_on_sensor_fault"] + hard["concept_on_sensor_fault"]),
            "0",
        ),
        ("worst class", f"{standard['worst_class']} {standard['worst_class_recall']:.2f}", ""),
        ("false alarms per feature-year, AR(1) φ = 0.9", f"{tests['alarms_per_feature_year']:.2f}", "≤ 1"),
        ("one-sigma steps found within 14 days", f"{tests['found_in_14_days']:.2f}", "≥ 0.7"),
        ("checks that plain KS at 5 % alarms", f"{tests['ks_share']:.0%}", ""),
        ("alarms per feature-year of iid z > 3", f"{tests['iid_z_per_feature_year']:.0f}", ""),
        ("trigger precision", f"{triggers['precision']:.2f}", "≥ 0.8"),
        ("trigger recall", f"{triggers['recall']:.2f}", "≥ 0.9"),
        ("retrains per useful one", f"{triggers['retrains_per_useful_one']:.2f}", ""),
    ]
