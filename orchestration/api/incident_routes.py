"""Routes of incidents: list, show, acknowledge, resolve, feedback, post-mortem.

Add a route here when a page or a receiver needs one. Avoid decisions: `orchestration.ingest.incidents` makes
them. Every route names the tenant; an incident of another tenant is not found.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, HTTPException, Path, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field, StringConstraints

from orchestration.environment import Environment
from orchestration.ingest.incidents import decisions, store
from orchestration.ingest.incidents.actions import proposals_of
from orchestration.ingest.incidents.model import Incident, IncidentState
from orchestration.ingest.incidents.post_mortem import gather, write

Tenant = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
TenantQuery = Annotated[Tenant, Query(alias="tenant_id", description="Whose incidents. There is no default.")]
Fingerprint = Annotated[
    str, Path(min_length=4, max_length=64, pattern="^[0-9a-f]+$", description="Whole or its beginning.")
]
Person = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class AffectedModel(BaseModel):
    """One subject of an incident."""

    first_at: datetime
    last_at: datetime
    peak_score: float
    kinds: list[str]
    signals: int
    summary: str


class IncidentModel(BaseModel):
    """An incident as lists show it."""

    tenant_id: str
    fingerprint: str
    state: str
    severity: str
    subject: str = Field(description="First suspect.")
    title: str
    started_at: datetime
    detected_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    merged_into: str | None
    silenced_by: str | None
    reopened: int
    revision: int
    affected: dict[str, AffectedModel]


class IncidentDetail(IncidentModel):
    """An incident with everything that is known about it."""

    suspects: list[dict[str, Any]]
    causes: list[dict[str, Any]]
    plan: dict[str, Any] | None = Field(description="Steps with citations, or why there are none.")
    proposals: list[dict[str, Any]]
    timeline: list[dict[str, Any]]


class Decision(BaseModel):
    """Who decides, for which tenant."""

    tenant_id: Tenant
    by: Person
    note: str = Field("", max_length=4000)


class FeedbackRequest(BaseModel):
    """What a person says about an incident and its fix."""

    tenant_id: Tenant
    by: Person
    is_real: bool
    was_fix_right: bool | None = None
    note: str | None = Field(None, max_length=4000)


def incident_router(settings: Environment) -> APIRouter:
    """The routes over the database of the settings."""
    router = APIRouter(tags=["incidents"], prefix="/v1/incidents")

    @contextmanager
    def connected() -> Iterator[psycopg.Connection[Any]]:
        try:
            with psycopg.connect(settings.database_url) as connection:
                yield connection
        except store.UnknownIncidentError as error:
            raise HTTPException(404, str(error)) from error
        except decisions.NotPossibleError as error:
            raise HTTPException(409, str(error)) from error

    @router.get("", summary="Incidents, latest first", operation_id="list_incidents")
    def list_incidents(
        tenant_id: TenantQuery,
        state: Annotated[list[IncidentState] | None, Query(description="Open and acknowledged ones.")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> list[IncidentModel]:
        """Incidents of a tenant in some states."""
        states = state or [IncidentState.OPEN, IncidentState.ACKNOWLEDGED]
        with connected() as connection:
            return [_model(item) for item in store.list_incidents(connection, tenant_id, states, limit)]

    @router.get("/{fingerprint}", summary="One incident", operation_id="show_incident")
    def show(fingerprint: Fingerprint, tenant_id: TenantQuery) -> IncidentDetail:
        """Suspects, causes, what to do, proposals and timeline."""
        with connected() as connection:
            item = store.find_incident(connection, tenant_id, fingerprint)
            return IncidentDetail(
                **_model(item).model_dump(),
                **vars(store.findings_of(connection, item)),
                proposals=[vars(one) for one in proposals_of(connection, item)],
                timeline=[vars(event) for event in store.timeline(connection, item)],
            )

    @router.post(
        "/{fingerprint}/acknowledge", summary="Take an incident", operation_id="acknowledge_incident"
    )
    def acknowledge(fingerprint: Fingerprint, request: Decision) -> IncidentModel:
        """Others see who works on it; taking it twice changes nothing."""
        with connected() as connection:
            return _model(
                decisions.acknowledge(
                    connection, request.tenant_id, fingerprint, request.by, datetime.now(UTC)
                )
            )

    @router.post("/{fingerprint}/resolve", summary="End an incident", operation_id="resolve_incident")
    def resolve(fingerprint: Fingerprint, request: Decision) -> IncidentModel:
        """New findings of the same kind reopen it for a while."""
        with connected() as connection:
            return _model(
                decisions.resolve(
                    connection, request.tenant_id, fingerprint, request.by, datetime.now(UTC), request.note
                )
            )

    @router.post("/{fingerprint}/feedback", summary="Was it right?", operation_id="incident_feedback")
    def feedback(fingerprint: Fingerprint, request: FeedbackRequest) -> IncidentModel:
        """Whether something was wrong at all, and whether the fix was the right one."""
        said = decisions.Feedback(request.is_real, request.was_fix_right, request.note, request.by)
        with connected() as connection:
            return _model(
                decisions.give_feedback(connection, request.tenant_id, fingerprint, said, datetime.now(UTC))
            )

    @router.get(
        "/{fingerprint}/postmortem", summary="Post-mortem as Markdown", operation_id="incident_postmortem"
    )
    def postmortem(fingerprint: Fingerprint, tenant_id: TenantQuery) -> PlainTextResponse:
        """Timeline, impact, cause candidates, actions."""
        with connected() as connection:
            item = store.find_incident(connection, tenant_id, fingerprint)
            text = write(gather(connection, item))
        return PlainTextResponse(text, media_type="text/markdown; charset=utf-8")

    return router


def _model(item: Incident) -> IncidentModel:
    values = {name: getattr(item, name) for name in IncidentModel.model_fields if hasattr(item, name)}
    values["title"] = item.affected[item.subject].summary
    values["affected"] = {
        name: {**vars(one), "kinds": sorted(kind.value for kind in one.kinds)}
        for name, one in item.affected.items()
    }
    return IncidentModel.model_validate(values)
