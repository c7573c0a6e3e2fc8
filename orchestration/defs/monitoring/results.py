"""How a monitoring run looks in Dagster."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from ml.drift.monitor import MonitorReport

MOST_SHOWN = 20


def monitor_results(reports: "Sequence[MonitorReport]") -> Iterator[dg.MaterializeResult]:
    """One result per asset, with its check, from the reports of all tenants."""
    notes = {f"{report.tenant_id}: note": report.note for report in reports if report.note}
    grades = [(report.tenant_id, one) for report in reports for one in report.grades]
    bad = [(tenant, one) for tenant, one in grades if one.grade == "BAD"]
    yield _result(
        "sensor_grades",
        len(grades),
        {"not usable": len(bad), **notes},
        "| tenant | machine | sensor | grade | why |\n|---|---|---|---|---|",
        [
            f"| {tenant} | {one.equipment_id} | {one.metric} | {one.grade} | "
            f"{one.problems[0]['words'] if one.problems else ''} |"
            for tenant, one in bad
        ],
        "sensors_are_usable",
        not bad,
    )
    features = [(report.tenant_id, one) for report in reports for one in report.features]
    segments = [(report.tenant_id, one) for report in reports for one in report.segments]
    drifted = [(tenant, one) for tenant, one in features if one.is_drifted]
    yield _result(
        "drift",
        len(features),
        {
            "drifted": len(drifted),
            "far off": sum(one.is_far for _, one in features),
            "no longer fit together": sum(one.together.is_drifted for _, one in segments),
            "expectations violated": sum(len(one.violations) for _, one in segments),
            **_performance(reports),
        },
        "| tenant | machine model | metric | shifted the predictions by (log odds) | effects | thresholds |\n"
        "|---|---|---|---|---|---|",
        [
            f"| {tenant} | {one.segment} | {one.feature} | {_effect(one.score_effect)} "
            f"| {_numbers(one.sizes)} | {_numbers(one.thresholds)} |"
            for tenant, one in drifted
        ]
        + [
            f"| {tenant} | {one.segment} | all together | | {words} | |"
            for tenant, one in segments
            for words in one.violations
        ],
        "no_feature_is_far_off",
        not any(one.is_far for _, one in features),
    )
    rows = [row for report in reports for row in report.recorded]
    yield _result(
        "drift_verdicts",
        len(rows),
        {"judged": sum(len(report.judged) for report in reports)},
        "| tenant | subject | verdict | why | what follows |\n|---|---|---|---|---|",
        [
            f"| {row.tenant_id} | {row.equipment_id or row.model_name} | {row.verdict} "
            f"| {row.evidence.get('reason', '')} | {row.action} |"
            for row in rows
        ],
        "no_retraining_is_asked_for",
        all(row.verdict != "CONCEPT" for row in rows),
    )


def _result(
    name: str,
    count: int,
    numbers: Mapping[str, int | str],
    header: str,
    lines: list[str],
    check: str,
    passed: bool,
) -> dg.MaterializeResult:
    key = dg.AssetKey(["monitor", name])
    table = "\n".join([header, *lines[:MOST_SHOWN]]) if lines else "nothing"
    return dg.MaterializeResult(
        asset_key=key,
        metadata={"dagster/row_count": count, **numbers, "found": dg.MetadataValue.md(table)},
        check_results=[
            dg.AssetCheckResult(
                check_name=check, asset_key=key, passed=passed, severity=dg.AssetCheckSeverity.WARN
            )
        ],
    )


def _numbers(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())


def _effect(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.2f}"


def _performance(reports: "Sequence[MonitorReport]") -> dict[str, str]:
    """Recall and precision of each model in the window, as its probabilities promise and as they came."""
    return {
        f"{report.tenant_id}: {one.model_name}": (
            f"promised precision {one.promised.precision:.2f}, recall {one.promised.recall:.2f}; happened "
            f"{one.happened.precision:.2f}, {one.happened.recall:.2f} in {one.happened.rows} predictions"
        )
        for report in reports
        for one in report.performance
    }
