"""The executive report: key figures, risks, causes, changes and the state of the answers, with plots.

Markdown and one HTML file that loads nothing from elsewhere. Every figure is a row of a query that the
report names. Avoid SQL here (`tools`) and drawing (`report_plots.py`).
"""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import psycopg

from rag_assets.copilot import phrases
from rag_assets.copilot.feedback import Satisfaction, satisfaction
from rag_assets.copilot.periods import Period, read_period
from rag_assets.copilot.report_plots import bar_plot, line_plot
from rag_assets.copilot.results import Row, ToolResult, as_text
from rag_assets.copilot.tools import analytics, predictions
from rag_assets.copilot.tools.changes import changes, newest_first
from rag_assets.copilot.tools.contributions import DIMENSIONS, contributions
from rag_assets.copilot.tools.database import ReadOnlyDatabase, TenantDatabase
from rag_assets.copilot.tools.measures import BUSINESS
from rag_assets.copilot.tools.reading import TableQuery, read_table
from rag_assets.copilot.tools.report import KEY_FIGURES
from rag_assets.copilot.tools.trends import GroupBy, TrendRequest, trend

_TEMPLATES = Path(__file__).parent / "templates"

_DAILY_OEE = """
    select machine.plant_id, kpi.produced_on, avg(kpi.oee)::double precision as oee
    from marts.mart_production_kpis as kpi
    inner join marts.dim_equipment as machine
        on kpi.tenant_id = machine.tenant_id and kpi.equipment_id = machine.equipment_id
    where kpi.tenant_id = %(tenant_id)s and kpi.oee is not null
      and kpi.produced_on > %(since_on)s and kpi.produced_on <= %(last_on)s
    group by machine.plant_id, kpi.produced_on
    order by machine.plant_id, kpi.produced_on
"""


class NothingToReportError(RuntimeError):
    """Nothing has been measured for the tenant yet."""


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        headline: The three sentences that matter most.
        figures: Key figures with their change.
        plots: Title → SVG.
    """

    tenant_id: str
    period: Period
    headline: tuple[str, ...]
    figures: tuple[Row, ...]
    units: Mapping[str, str]
    plants: tuple[Row, ...]
    at_risk: tuple[Row, ...]
    unscored: str
    causes: Mapping[str, tuple[Row, ...]]
    anomalies: tuple[Row, ...]
    changes: tuple[Row, ...]
    satisfaction: Satisfaction
    plots: Mapping[str, str]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class WrittenReport:
    """Where a report was written."""

    report: Report
    markdown: str
    markdown_path: Path
    html_path: Path


def write_report(database_url: str, tenant_id: str, days: int, folder: Path) -> WrittenReport:
    """Make a report and write `<tenant>-<end>.md` and `.html`.

    Args:
        database_url: The opsgraph database.
        tenant_id: Whose plant.
        days: Length of the period, which ends at the plant's own clock.
        folder: Made if it is not there.

    Raises:
        NothingToReportError: Nothing has been measured yet.
    """
    with closing(ReadOnlyDatabase(database_url)) as database, psycopg.connect(database_url) as connection:
        report = make_report(database, tenant_id, days, satisfaction(connection, tenant_id))
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{tenant_id}-{report.period.ends_at:%Y-%m-%d}"
    markdown_path, html_path = folder / f"{name}.md", folder / f"{name}.html"
    markdown = render(report, "report.md")
    markdown_path.write_text(markdown, encoding="utf-8")
    html_path.write_text(render(report, "report.html"), encoding="utf-8")
    return WrittenReport(report, markdown, markdown_path, html_path)


def reports_of_all_tenants(database_url: str, days: int, folder: Path) -> list[WrittenReport]:
    """A report for every tenant of which anything was measured."""
    with psycopg.connect(database_url) as connection:
        tenants = connection.execute("select tenant_id from ops.plant_clock order by tenant_id").fetchall()
    written: list[WrittenReport] = []
    for (tenant_id,) in tenants:
        with suppress(NothingToReportError):  # landed, but the warehouse has not been built since
            written.append(write_report(database_url, tenant_id, days, folder))
    return written


def make_report(
    database: TenantDatabase, tenant_id: str, days: int, judged: Satisfaction | None = None
) -> Report:
    """Ask the tools for everything that a report has."""
    fleet = analytics.fleet(database, tenant_id)
    now_at = fleet.rows[0]["window_end_at"] if fleet.rows else None
    if now_at is None:
        raise NothingToReportError(
            fleet.missing
            or f"nothing has been measured for tenant {tenant_id} yet: build the warehouse first"
        )
    period = read_period(f"last {days} days", now_at)
    wanted = [measure for measure in BUSINESS if measure.name in KEY_FIGURES]
    figures = {measure.name: trend(database, TrendRequest(tenant_id, measure, period)) for measure in wanted}
    by_plant = trend(database, TrendRequest(tenant_id, wanted[0], period, group_by=GroupBy.PLANT))
    risks = predictions.latest_predictions(
        database, predictions.PredictionRequest(tenant_id, known_by=now_at, limit=5)
    )
    scored = analytics.scored_machines(database, tenant_id)
    split = {
        f"{measure} by {dimension.name}": contributions(database, tenant_id, dimension, period)
        for measure in ("downtime_h", "error_count", "defect_rate")
        for dimension in DIMENSIONS[measure][:1]
    }
    odd = predictions.anomalies(database, tenant_id, period)
    changed = changes(database, tenant_id, period)
    daily = _daily_oee(database, tenant_id, period)
    asked = [*figures.values(), by_plant, risks, scored, *split.values(), odd, changed, daily]
    causes = {name: result.rows for name, result in split.items() if result.rows}
    return Report(
        tenant_id=tenant_id,
        period=period,
        headline=tuple(_headline(risks, figures.values(), causes)),
        figures=tuple(row for result in figures.values() for row in result.rows),
        units={measure.name: measure.unit for measure in wanted},
        plants=by_plant.rows,
        at_risk=risks.rows,
        unscored=phrases.scored(scored.rows[0]) if scored.rows else "",
        causes=causes,
        anomalies=odd.rows,
        changes=tuple(row for _, row in newest_first(changed)[:10]),
        satisfaction=judged or Satisfaction(0, 0, None),
        plots=_plots(daily.rows, risks.rows, causes),
        missing=tuple(dict.fromkeys(result.missing for result in asked if result.missing)),
    )


def render(report: Report, template: str) -> str:
    """A report as text.

    Args:
        report: The report.
        template: `report.md` or `report.html`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=template.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["plain"] = lambda value: "" if value is None else as_text(value)  # pyright: ignore
    return environment.get_template(template).render(report=report)


def _daily_oee(database: TenantDatabase, tenant_id: str, period: Period) -> ToolResult:
    """OEE of each day and plant over the period and the one before."""
    query = TableQuery(
        tool="report",
        table="marts.mart_production_kpis",
        sql=_DAILY_OEE,
        parameters={"since_on": period.previous_starts_at.date(), "last_on": period.days[1]},
        nothing="marts.mart_production_kpis has no OEE in this period",
        period=period,
    )
    return read_table(database, tenant_id, query)


def _headline(risks: ToolResult, figures: Any, causes: Mapping[str, Sequence[Row]]) -> list[str]:
    sentences: list[str] = []
    if risks.rows:
        first = risks.rows[0]
        sentences.append(
            f"{first['equipment_id']} is the machine most at risk: probability "
            f"{as_text(first['failure_probability'])} of a failure within {first['horizon_hours']} h."
        )
    moved = [row for result in figures for row in result.rows if row["change_percent"] is not None]
    if moved:
        most = max(moved, key=lambda row: abs(row["change_percent"]))
        sentences.append(
            f"The largest change: {most['measure']} went from {as_text(most['previous_value'])} to "
            f"{as_text(most['value'])} ({as_text(most['change_percent'])} %)."
        )
    downtime = next((rows for name, rows in causes.items() if name.startswith("downtime")), ())
    if downtime:
        sentences.append(
            f"Most downtime came from {downtime[0]['part']}: {as_text(downtime[0]['amount'])} h, "
            f"{as_text(downtime[0]['share_percent'])} % of the total."
        )
    return sentences


def _plots(daily: Sequence[Row], risks: Sequence[Row], causes: Mapping[str, Sequence[Row]]) -> dict[str, str]:
    plots: dict[str, str] = {}
    if daily:
        series: dict[str, tuple[list[Any], list[float]]] = {}
        for row in daily:
            days, values = series.setdefault(str(row["plant_id"]), ([], []))
            days.append(row["produced_on"])
            values.append(row["oee"])
        plots["OEE per day"] = line_plot(series, "OEE (0 to 1)")
    if risks:
        bars = {str(row["equipment_id"]): float(row["failure_probability"]) for row in risks}
        plots["Machines at risk"] = bar_plot(bars, "probability of a failure")
    for name, rows in causes.items():
        plots[name] = bar_plot({str(row["part"]): float(row["amount"]) for row in rows[:6]}, name)
    return plots
