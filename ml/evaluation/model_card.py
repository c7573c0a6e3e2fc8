"""The model card: what the model is, on what it was judged, and where it must not be trusted."""

from collections.abc import Sequence

from ml.datasets.training_set import TrainingSet
from ml.evaluation.report import EvaluationReport, RuleScore
from ml.evaluation.segments import Segment
from ml.models.failure import FailureModel

_DEFINITIONS = """\
- **Event**: a failure of a machine whose whole horizon was observed. It is **recalled** when at least one \
alert stands in the horizon before it.
- **Alert event**: alerts of one machine within the cool-down (one horizon) that the first of them starts. \
It is right when the machine fails within the horizon after that first alert; **precision** is the share of \
right alert events.
- **False alarms** are alert events that no failure followed, per machine and month.
- Shares carry Wilson 95 % intervals, scores the 95 % interval of a bootstrap over machines.
- Rows whose horizon has not passed have no label and are in no count."""


def model_card(
    name: str,
    data: TrainingSet,
    model: FailureModel,
    report: EvaluationReport,
    folds: int,
    segments: Sequence[Segment] = (),
) -> str:
    """Render the card as Markdown."""
    summary = data.summary()
    dropped = "\n".join(f"- `{what}`: {why}" for what, why in data.features.dropped) or "- none"
    calibrator = model.calibrator.to_json()["kind"]
    return f"""# {name}, tenant {data.tenant_id}

Predicts whether a machine fails within {report.horizon_hours} h. XGBoost on {len(data.features.names)} \
features, {calibrator} calibration, alert from a probability of {model.threshold:.3f}.

## Data
{summary["rows"]:,} machine-hours of {summary["machines"]} machines from {summary["first_hour"]} to \
{summary["last_hour"]}, {summary["failures"]} failures, {summary["positive_rows"]:,} positive rows, as known \
at {summary["as_of"]}. Left out: {summary["rows_immature"]:,} immature rows, {summary["rows_excluded"]:,} in \
incident periods; {summary["rows_late"]:,} hours became known too late for any window.
Digest `{data.data_digest}`.

Not available for this tenant:
{dropped}

## How it was judged
{folds} forward-chained folds: each tests some machines in a later period and trains on the other machines \
before it, with a gap of one horizon. No row of a tested machine is in its fold's training data. Threshold \
and calibration of a fold come from its own training rows. Pooled: {report.rows:,} machine-hours of \
{report.machines} machines, base rate {report.base_rate:.4f}.

{rule_table(report)}

| score | value |
|---|---|
| average precision | {report.average_precision} |
| Brier skill against the base rate | {report.brier_skill} |
| F1 over machine-hours (always alarm {report.always_alarm_f1:.3f}) | {report.f1} |
| expected calibration error, all rows | {report.ece:.4f} |
| expected calibration error, probability above 0.1 ({report.risky_rows:,} rows) | {report.ece_risky:.4f} |

Realised cost with a missed failure at {report.costs.missed_failure:g} and a visit at \
{report.costs.visit:g}: {_cost_line(report)}.

## By machine model
{_segment_table(segments)}

Pictures beside this card: `reliability.png` (said against observed rates), `precision_recall.png`, \
`feature_importance.png` (what the trees split on).

## Definitions
{_DEFINITIONS}

## Limits
- The rule "an error in the last 24 h" needs no model. Where it recalls as much, the model earns its \
place by precision alone.
- Where errors stand at a fixed distance before every failure, a high recall says that the errors were \
read, not that wear was foreseen.
- The final model is trained on all rows; the figures above are those of the folds' models.
"""


def _cost_line(report: EvaluationReport) -> str:
    rules = {"the model": report.model, **report.baselines}
    return ", ".join(f"{name} {report.costs.of(rule.events):,.0f}" for name, rule in rules.items())


def _segment_table(segments: Sequence[Segment]) -> str:
    if not segments:
        return "The tenant's machines state no model."
    lines = [
        "| model | machines | event recall | event precision | average precision |",
        "|---|---|---|---|---|",
        *(
            f"| {found.name} | {found.machines} | {found.recall} | {found.precision} "
            f"| {found.average_precision:.3f} |"
            for found in segments
        ),
    ]
    return "\n".join(lines)


def rule_table(report: EvaluationReport) -> str:
    """Model and baselines side by side, as a Markdown table."""
    rules = {"**model**": report.model, **report.baselines}
    lines = [
        "| rule | event recall | event precision | false alarms per machine-month |",
        "|---|---|---|---|",
        *(_line(name, rule) for name, rule in rules.items()),
    ]
    return "\n".join(lines)


def _line(name: str, rule: RuleScore) -> str:
    events = rule.events
    precision = f"{rule.precision} ({events.right_alert_events} of {events.alert_events})"
    return (
        f"| {name} | {rule.recall} ({events.recalled} of {events.failures}) "
        f"| {precision if events.alert_events else 'no alerts'} "
        f"| {events.false_alarms_per_machine_month:.2f} |"
    )
