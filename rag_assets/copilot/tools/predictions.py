"""The `ml` tool: latest failure predictions, of the fleet or of one machine.

Add a query here when it reads what models wrote. Avoid running models.
"""

from dataclasses import asdict, dataclass
from typing import Any

from rag_assets.copilot.results import TableSource, ToolResult, ToolStatus
from rag_assets.copilot.tools.database import NotBuiltError, TenantDatabase

TOOL = "ml"
TABLE = "ml.failure_predictions"


@dataclass(frozen=True)
class PredictionRequest:
    """Which predictions to read.

    Attributes:
        tenant_id: Whose machines.
        horizon_hours: 24 or 168.
        equipment_id: One machine; None ranks the fleet.
        limit: Machines to return.
    """

    tenant_id: str
    horizon_hours: int = 24
    equipment_id: str | None = None
    limit: int = 3


_LATEST = """
    with latest as (
        select distinct on (equipment_id)
            equipment_id, horizon_hours, failure_probability, risk_level, is_alert, recommended_action,
            contributing_factors, model_name, model_version, as_of
        from ml.failure_predictions
        where tenant_id = %(tenant_id)s and horizon_hours = %(horizon_hours)s
          and (%(equipment_id)s::text is null or equipment_id = %(equipment_id)s)
        order by equipment_id, as_of desc, predicted_at desc
    )
    select *, count(*) over () as machine_count
    from latest
    order by failure_probability desc, equipment_id
    limit %(limit)s
"""


def latest_predictions(database: TenantDatabase, request: PredictionRequest) -> ToolResult:
    """The latest prediction of each machine, highest probability first."""
    parameters: dict[str, Any] = asdict(request)
    try:
        rows = database.rows(_LATEST, **parameters)
    except NotBuiltError as error:
        return _missing(parameters, f"the table of predictions does not exist yet ({error})")
    if not rows:
        whose = request.equipment_id or f"tenant {request.tenant_id}"
        return _missing(
            parameters,
            f"no {request.horizon_hours} h failure prediction for {whose}: run `prediction/failure`",
        )
    as_of = max(row["as_of"] for row in rows)
    return ToolResult(
        tool=TOOL,
        status=ToolStatus.SUCCESS,
        query=_LATEST,
        parameters=parameters,
        sources=(TableSource(TABLE, as_of, tuple(rows)),),
    )


def _missing(parameters: dict[str, Any], missing: str) -> ToolResult:
    return ToolResult(TOOL, ToolStatus.NO_DATA, _LATEST, parameters, missing=missing)
