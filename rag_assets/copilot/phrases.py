"""Sentences made of table rows; every number in them stands in the row that the sentence cites.

Add a sentence here for a new kind of result. Avoid choosing which sentences an answer has (`answering.py`).
"""

from collections.abc import Sequence

from rag_assets.copilot.results import Row, TableSource, ToolResult, as_text

_NAMED_ROWS = 6


def table(result: ToolResult | None) -> TableSource | None:
    """The first table source of a result."""
    if result is None:
        return None
    return next((source for source in result.sources if isinstance(source, TableSource)), None)


def stopped(rows: Sequence[Row]) -> str:
    """Machines that have failed already: a prediction for them is of before."""
    listed = "; ".join(
        f"{row['equipment_id']} failed at {as_text(row['failed_at'])}"
        f"{' (' + row['component'] + ')' if row['component'] else ''} and has not reported since, its last "
        f"reading is of {as_text(row['last_reading_time'])}"
        for row in rows
    )
    return f"Already stopped: {listed}."


def predictions(source: TableSource, is_fleet: bool) -> list[str]:
    """Who fails, why, and what is recommended."""
    # Answers that were kept before machines could be told to stand have no such column.
    running = [row for row in source.rows if row.get("failed_at") is None]
    first = (running or source.rows)[0]
    hours, as_of = as_text(first["horizon_hours"]), as_text(first["as_of"])
    if not running:
        return [
            f"The prediction for {first['equipment_id']} is of before it failed: probability "
            f"{as_text(first['failure_probability'])} within {hours} h, as of {as_of}."
        ]
    ranking = ", ".join(
        f"{row['equipment_id']} (probability {as_text(row['failure_probability'])}, {row['risk_level']})"
        for row in running
    )
    lead = "Most likely to fail" if is_fleet else "Failure"
    sentences = [f"{lead} within {hours} h, as of {as_of}: {ranking}."]
    factors = [str(factor) for factor in first["contributing_factors"]]
    if factors:
        sentences.append(f"Behind the figure of {first['equipment_id']}: {'; '.join(factors)}.")
    sentences.append(
        f"Recommended for {first['equipment_id']}: {_sentence(str(first['recommended_action']))}"
    )
    return sentences


def health(row: Row) -> str:
    """State, last reading and means of one machine; a machine without a prediction is not called fine."""
    metrics = as_text(row["avg_metrics_24h"] or {})
    means = f"; means over the last day: {metrics}" if metrics else ""
    last = f", last reading {as_text(row['last_reading_time'])}" if row["last_reading_time"] else ""
    if not row["is_scored"]:
        return (
            f"{row['equipment_id']} has no failure prediction (not scored), so its state "
            f"{row['health_status']} only means that nothing was predicted{last}{means}."
        )
    return f"{row['equipment_id']} is in state {row['health_status']}{last}{means}."


def scored(row: Row) -> str:
    """How much of the fleet is judged at all."""
    if not row["unscored_count"]:
        return f"All {row['machine_count']} machines have a failure prediction."
    named = as_text(row["unscored_machines"][:_NAMED_ROWS])
    more = " and others" if row["unscored_count"] > _NAMED_ROWS else ""
    return (
        f"{row['unscored_count']} of {row['machine_count']} machines have no failure prediction and are not "
        f"judged: {named}{more}."
    )


def events(rows: Sequence[Row], whose: str) -> str:
    """Counts by type and code; what is more than six kinds is added up by the query."""
    first = rows[0]
    total = f", {first['total_count']} in all" if len(rows) > 1 else ""
    listed = "; ".join(_event(row) for row in rows[:_NAMED_ROWS])
    return f"Events{whose} {_span(first)}{total}: {listed}."


def measure(row: Row, unit: str, whose: str) -> str:
    """One figure, and what it was in the equally long period before."""
    name, value = row["measure"], _with_unit(row["value"], unit)
    extremes = ""
    if row.get("minimum") is not None:
        extremes = (
            f" (mean; minimum {_with_unit(row['minimum'], unit)}, maximum {_with_unit(row['maximum'], unit)})"
        )
    before = " There is nothing to compare with in the period before."
    if row["previous_value"] is not None:
        percent = f" ({as_text(row['change_percent'])} %)" if row["change_percent"] is not None else ""
        before = (
            f" In the equally long period before it was {_with_unit(row['previous_value'], unit)}: "
            f"a change of {_with_unit(row['change'], unit)}{percent}."
        )
    return f"{name}{whose} {_span(row)}: {value}{extremes}.{before}"


def comparison(rows: Sequence[Row], unit: str, is_ascending: bool) -> str:
    """Machines or plants in order."""
    first = rows[0]
    order = "lowest first" if is_ascending else "highest first"
    ranking = ", ".join(f"{row['subject']} {_with_unit(row['value'], unit)}" for row in rows[:_NAMED_ROWS])
    difference = ""
    if len(rows) == 2:
        difference = f" The difference is {_with_unit(abs(rows[1]['difference_to_first']), unit)}."
    return f"{first['measure']} {_span(first)}, {order}: {ranking}.{difference}"


def contribution(rows: Sequence[Row], whose: str = "") -> str:
    """What a figure is made of."""
    parts = "; ".join(
        f"{row['part']} {as_text(row['amount'])} ({as_text(row['share_percent'])} % of the total, "
        f"{as_text(row['previous_amount'])} in the period before)"
        for row in rows[:3]
    )
    return f"Split{whose} by {rows[0]['dimension']}: {parts}."


def anomalies(rows: Sequence[Row]) -> str:
    """The strongest anomalies."""
    listed = "; ".join(
        f"{row['equipment_id']} from {as_text(row['starts_at'])} (score {as_text(row['peak_score'])}): "
        f"{row['summary']}"
        for row in rows[:3]
    )
    return f"{rows[0]['anomaly_count']} anomalies, the strongest first: {listed}."


def schedule(row: Row) -> str:
    """One machine's place in the maintenance order."""
    since = row["days_since_last_maintenance"]
    last = f"last maintained {as_text(since)} days ago" if since is not None else "no maintenance on record"
    if not row["is_scored"]:
        return f"{row['equipment_id']}: no failure prediction (not scored), {last}."
    risk = f"{row['risk_level']} risk, probability {as_text(row['failure_probability_24h'])} in a day"
    return f"{row['equipment_id']}: {risk}, {last}; {_sentence(str(row['recommended_action']))}"


def forecast(rows: Sequence[Row], unit: str) -> str:
    """The end of a forecast, its interval, and its extremes."""
    last = rows[-1]
    return (
        f"{last['metric']} of {last['subject_id']} is forecast at {_with_unit(last['value'], unit)} for "
        f"{as_text(last['forecast_at'])} (interval {as_text(last['lower'])} to {as_text(last['upper'])}, "
        f"method {last['method']}, issued {as_text(last['as_of'])}); until then between "
        f"{_with_unit(last['lowest_value'], unit)} and {_with_unit(last['highest_value'], unit)}."
    )


def violation(row: Row) -> str:
    """One threshold crossing; columns other than the key may differ by model."""
    details = "; ".join(
        f"{name} {as_text(value)}"
        for name, value in row.items()
        if value is not None and name in {"predicted_value", "value", "threshold", "severity"}
    )
    at = as_text(row["forecast_at"])
    return f"{row['metric']} of {row['subject_id']} crosses its threshold at {at}: {details}."


def change(row: Row) -> str:
    """One change."""
    detail = f" ({row['detail']})" if row["detail"] else ""
    return f"{as_text(row['changed_at'])}: {row['change']} of {row['subject']}{detail}."


def log_signals(rows: Sequence[Row]) -> str:
    """What log detectors found."""
    listed = "; ".join(
        f"{row['subject']} at {as_text(row['observed_at'])}: {row['summary']}" for row in rows[:3]
    )
    count = rows[0]["signal_count"]
    return f"{count} findings of the log detectors, the least likely by chance first: {listed}."


def log_windows(rows: Sequence[Row]) -> str:
    """How many lines and errors each service wrote."""
    listed = "; ".join(
        f"{row['source']} {row['error_count']} errors in {row['line_count']} lines"
        for row in rows[:_NAMED_ROWS]
    )
    return f"Log lines: {listed}."


def incidents(rows: Sequence[Row]) -> str:
    """The latest incidents."""
    listed = "; ".join(
        f"{row['family']} of {row['subject']} since {as_text(row['started_at'])} "
        f"({row['severity']}, {row['state']})"
        for row in rows[:3]
    )
    return f"{rows[0]['incident_count']} incidents, the latest first: {listed}."


def whose(machines: Sequence[str], plants: Sequence[str]) -> str:
    """The subjects of a sentence, as " of X, Y"."""
    named = ", ".join(machines) or ", ".join(plants)
    return f" of {named}" if named else " of all machines"


def _event(row: Row) -> str:
    kind = str(row["event_type"]).replace("_", " ")
    code = f" {row['code']}" if row["code"] else ""
    return f"{kind}{code} × {row['event_count']} (last {as_text(row['last_event_at'])})"


def _span(row: Row) -> str:
    return f"from {as_text(row['window_start_at'])} to {as_text(row['window_end_at'])}"


def _with_unit(value: float, unit: str) -> str:
    return f"{as_text(value)} {unit}".rstrip()


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
