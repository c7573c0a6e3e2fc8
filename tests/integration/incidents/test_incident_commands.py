"""What a person on call types and reads, and the same over HTTP."""

import json

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from made_up_signals import TENANT, finding, maker, write
from typer.testing import CliRunner

from orchestration.api.incident_routes import incident_router
from orchestration.cli import app
from orchestration.environment import Environment
from orchestration.ingest.incidents.lifecycle import group_signals

pytestmark = pytest.mark.integration


@pytest.fixture
def told(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with one incident that was alerted; its fingerprint."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    write(database_url, finding("orders"))
    with psycopg.connect(database_url) as connection:
        ((_, fingerprint),) = group_signals(connection).steps
    maker().alert_due(database_url)
    return fingerprint


def opsgraph(*words: str) -> str:
    result = CliRunner().invoke(app, ["incidents", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_an_engineer_works_through_an_incident(told: str) -> None:
    """Forbids verbs that do not fit together: list, show, take, judge, end, report."""
    (listed,) = json.loads(opsgraph("list", "--json"))
    short = listed["fingerprint"][:6]
    assert told.startswith(short)
    shown = json.loads(opsgraph("show", short, "--tenant", TENANT, "--json"))
    assert shown["plan"]["steps"][0]["text"] == "Take load off first."
    assert "kim" in opsgraph("ack", short, "--tenant", TENANT, "--by", "kim")
    opsgraph("feedback", short, "--tenant", TENANT, "--real", "--fix-right", "--by", "kim")
    opsgraph("resolve", short, "--tenant", TENANT, "--note", "load taken off", "--by", "kim")
    report = opsgraph("postmortem", short, "--tenant", TENANT)
    assert "load taken off" in report and "kim: real, the fix was right" in report
    assert json.loads(opsgraph("measures", "--json"))["fixes_right"] == 1.0
    assert "no incident is open" in opsgraph("list")


def test_what_can_not_be_done_is_told_in_a_sentence(told: str) -> None:
    """Forbids a stack trace for a misspelled incident."""
    result = CliRunner().invoke(app, ["incidents", "ack", "zzzz", "--tenant", TENANT])
    assert result.exit_code == 1
    assert "no incident has a fingerprint that begins with 'zzzz'" in " ".join(result.output.split())


def test_the_routes_show_only_the_tenants_own(told: str, database_url: str) -> None:
    """Forbids reading or taking another tenant's incident over HTTP."""
    api = FastAPI()
    api.include_router(incident_router(Environment()))
    client = TestClient(api)
    assert [item["fingerprint"] for item in client.get(f"/v1/incidents?tenant_id={TENANT}").json()] == [told]
    assert client.get("/v1/incidents?tenant_id=azure-pdm").json() == []
    assert client.get(f"/v1/incidents/{told}?tenant_id=azure-pdm").status_code == 404
    assert client.get("/v1/incidents").status_code == 422
    detail = client.get(f"/v1/incidents/{told[:8]}?tenant_id={TENANT}").json()
    assert detail["plan"]["status"] == "planned"
    taken = client.post(f"/v1/incidents/{told}/acknowledge", json={"tenant_id": TENANT, "by": "kim"})
    assert taken.json()["acknowledged_by"] == "kim"
    ended = client.post(f"/v1/incidents/{told}/resolve", json={"tenant_id": TENANT, "by": "kim"})
    assert ended.json()["state"] == "resolved"
    again = client.post(f"/v1/incidents/{told}/acknowledge", json={"tenant_id": TENANT, "by": "kim"})
    assert again.status_code == 409
