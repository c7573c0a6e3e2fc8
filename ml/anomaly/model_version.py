"""The anomaly model of a tenant as a registered version: which detector watches which class of machines.

A version fixes detectors and rules. The machines' own states are fitted when it scores, on their normal
hours until two weeks before: so a version does not age, and no scored hour has taught its own detector.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from ml.anomaly.backtest import MOST_FALSE_POSITIVES, PAST_SHARE, ClassChoice, MethodScore, choose_by_class
from ml.anomaly.machine_model import FITTED_SHARE, METHODS, fit_machine
from ml.anomaly.machine_rows import LEAST_ROWS, MachineRows, machine_rows
from ml.anomaly.threshold import NORMAL_SHARE_ABOVE
from ml.datasets.digest import history_digest
from ml.datasets.warehouse import read_history
from ml.registry.client import ModelRegistry, RegisteredVersion, VersionKey
from ml.registry.signal_versions import (
    Bar,
    SignalCandidate,
    SignalOutcome,
    read_file,
    source_digest,
    train_once,
)

MODEL_NAME = "anomaly"
METRIC_SET = "sensors"
CHOICES_FILE = "choices.json"


def train_anomalies(
    database_url: str,
    registry: ModelRegistry,
    tenant_id: str,
    as_of: datetime | None = None,
    tags: Mapping[str, str] | None = None,
) -> SignalOutcome:
    """Backtest every detector on a tenant's machine classes and register the choice as challenger.

    Args:
        database_url: The opsgraph database.
        registry: Where versions go.
        tenant_id: Whose machines.
        as_of: Choose by what was known then; by everything known by default.
        tags: More tags for run and version.
    """
    history = read_history(database_url, tenant_id, as_of).history
    machines = machine_rows(history)
    if not machines:
        note = f"no machine of {tenant_id} has {LEAST_ROWS} hours yet"
        return SignalOutcome(tenant_id, MODEL_NAME, None, False, {}, (), note)
    key = VersionKey(
        name=MODEL_NAME,
        tenant_id=tenant_id,
        data_digest=history_digest(history),
        code_version=source_digest("anomaly"),
        params_hash=str(NORMAL_SHARE_ABOVE),
    )
    return train_once(registry, key, lambda: _candidate(key, machines, tags or {}))


def load_choices(registry: ModelRegistry, version: RegisteredVersion) -> dict[str, str]:
    """Detector by class of machines."""
    return json.loads(read_file(registry, version, CHOICES_FILE))["methods"]


def bars(total: MethodScore) -> list[Bar]:
    """What a version is held to over all classes."""
    share = total.false_positive_share
    seen = total.recall
    return [
        Bar(
            "false_positives_below_5_percent",
            total.normal_hours > 0 and share < MOST_FALSE_POSITIVES,
            f"{share:.1%} of {total.normal_hours} normal hours were alarmed, less than "
            f"{MOST_FALSE_POSITIVES:.0%} is needed",
        ),
        Bar(
            "sees_failures",
            not total.failures or seen.value > share,
            f"{total.seen} of {total.failures} failures had an anomalous hour in the 48 h before; "
            f"more than the share of normal time ({share:.1%}) is needed",
        ),
    ]


def _candidate(key: VersionKey, machines: Sequence[MachineRows], tags: Mapping[str, str]) -> SignalCandidate:
    choices = choose_by_class(machines)
    total = sum((choice.scores[choice.method] for choice in choices.values()), MethodScore())
    methods = {name: choice.method for name, choice in choices.items()}
    metrics = {
        "false_positive_percent": 100.0 * total.false_positive_share,
        "failures_seen_percent": 100.0 * total.recall.value,
        "failures_judged": float(total.failures),
        "normal_hours_judged": float(total.normal_hours),
    }
    held = bars(total)
    return SignalCandidate(
        key=key,
        files={CHOICES_FILE: json.dumps({"methods": methods, "judged": _judged(choices)}, indent=1)},
        params={
            "machines": len(machines),
            "classes": len(choices),
            "normal_share_above": NORMAL_SHARE_ABOVE,
            "fitted_share": FITTED_SHARE,
            **{f"method {name}": method for name, method in methods.items()},
        },
        metrics=metrics,
        losses=_losses(machines, methods),
        card=_card(key.tenant_id, choices, held),
        bars=held,
        tags=tags,
    )


def _judged(choices: Mapping[str, ClassChoice]) -> dict[str, Any]:
    return {
        name: {method: vars(score) for method, score in choice.scores.items()}
        for name, choice in choices.items()
    }


def _losses(machines: Sequence[MachineRows], methods: Mapping[str, str]) -> pl.DataFrame:
    """1 for each judged normal hour that is alarmed and each hour before a failure that is not, else 0."""
    parts: list[pl.DataFrame] = []
    for rows in machines:
        is_past = np.arange(len(rows.hour_at)) < int(PAST_SHARE * len(rows.hour_at))
        if (is_past & rows.is_normal).sum() < LEAST_ROWS:
            continue
        model = fit_machine(rows, is_past & rows.is_normal, methods[rows.equipment_model])
        is_wrong = model.scale.is_anomalous(model.raw(rows)) == rows.is_normal
        parts.append(
            pl.DataFrame(
                {"subject": rows.equipment_id, "at": rows.hour_at, "loss": is_wrong.astype(np.float64)}
            ).filter(pl.Series(~is_past))
        )
    return (
        pl.concat(parts)
        if parts
        else pl.DataFrame(schema={"subject": pl.String, "at": pl.Datetime("us", "UTC"), "loss": pl.Float64})
    )


def _card(tenant_id: str, choices: Mapping[str, ClassChoice], held: Sequence[Bar]) -> str:
    lines = [
        f"# Anomaly model of {tenant_id}",
        "",
        "Which detector watches which class of machines. Each was fitted on the first 60 % of a machine's "
        "normal hours and judged on the rest. Normal hours are those outside the incident calendar and away "
        "from failures; thresholds come from normal hours, never from labels.",
        "",
        "| class | detector | failures seen in the 48 h before | normal time alarmed | won |",
        "|---|---|---|---|---|",
    ]
    for name, choice in choices.items():
        for method in METHODS:
            score = choice.scores[method]
            won = "yes" if method == choice.method else ""
            lines.append(
                f"| {name} | {method} | {score.seen} of {score.failures} | "
                f"{score.false_positive_share:.2%} of {score.normal_hours} h | {won} |"
            )
    lines += ["", "## Bars", "", *(f"- {bar.words}: {'held' if bar.is_held else 'not held'}" for bar in held)]
    lines += [
        "",
        "## Limits",
        "",
        "A class without a failure in the judged part is chosen for by false alarms alone. A sudden failure "
        "without any sign in the sensors is not seen. Hours in which a sensor is missing are not scored.",
    ]
    return "\n".join(lines)
