"""Two tenants with near-identical documents and machines: nothing of one is ever shown to the other.

Every document and machine of a tenant carries that tenant's own mark; a mark in the other's answer is a leak.
"""

import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from plant_marts import MARTS, PLANT_NOW
from word_embedder import WordEmbedder

from orchestration.api import app as application
from orchestration.api.access import OPEN_PATHS, SIGNED_PATHS
from orchestration.environment import Environment
from rag_assets.copilot.copilot import Copilot, open_copilot
from rag_assets.copilot.keys import issue_key, revoke_key
from rag_assets.index.refresh import read_source, refresh_index
from rag_assets.index.stores import open_store

pytestmark = pytest.mark.integration

MARKS = {"mill-one": "zebra", "mill-two": "quagga"}
WORDS = ("pump", "seal", "leak", "bearing", "oil", "belt", "pressure", "valve", "motor", "heat")
QUERIES = 10_000


@pytest.fixture(scope="module")
def environment(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Settings over an index and marts of both tenants."""
    state = tmp_path_factory.mktemp("isolation")
    environment = Environment(OPSGRAPH_HOME=state, DATABASE_URL=module_database_url, QDRANT_URL=None)  # type: ignore[call-arg]
    rng = random.Random(3)
    folder = state / "documents"
    for number in range(30):
        words = rng.sample(WORDS, 4)
        for tenant, mark in MARKS.items():
            text = f"# {' '.join(words)}\n\n## Meaning\n\n"
            text += f"The {words[0]} of unit {number} {mark} shows {' '.join(words)}.\n\n"
            text += f"## Mitigation\n\n1. Replace the {words[1]} with part {mark}-{number}.\n"
            path = folder / tenant / f"{words[0]}-{number}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"---\nid: unit-{number}\ntenant: {tenant}\n---\n{text}")
    read_source(module_database_url, folder, "documents", None)
    refresh_index(
        module_database_url,
        open_store(environment.index_dir, None),
        WordEmbedder(),
        Path("absent"),
        date(2026, 11, 20),
    )
    with psycopg.connect(module_database_url) as connection:
        connection.execute(MARTS)
        for tenant, mark in MARKS.items():
            for number in (11, 12):
                connection.execute(
                    "insert into marts.dim_equipment values (%s, %s, %s, %s, 'M-1', 5, '1', %s, true)",
                    (tenant, f"PMP-A-{number}", f"Pump {mark} {number}", f"plant-{mark}", PLANT_NOW),
                )
                connection.execute(
                    "insert into marts.mart_equipment_health (tenant_id, equipment_id, equipment_name, "
                    "plant_id, health_status, is_scored, window_end_at) "
                    "values (%s, %s, %s, %s, 'Normal', false, %s)",
                    (tenant, f"PMP-A-{number}", f"Pump {mark} {number}", f"plant-{mark}", PLANT_NOW),
                )
    return environment


@pytest.fixture(scope="module")
def copilot(environment: Environment) -> Iterator[Copilot]:
    """The copilot in this process."""
    store = open_store(environment.index_dir, None)
    copilot = open_copilot(environment.database_url, store, WordEmbedder())
    yield copilot
    copilot.close()


@pytest.fixture
def api(environment: Environment, copilot: Copilot, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The application over the same copilot."""
    yield from _client(environment, copilot, monkeypatch)


@pytest.fixture
def keyed_api(
    environment: Environment, copilot: Copilot, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """The application where keys are required."""
    strict = environment.model_copy(update={"api_keys_required": True})
    yield from _client(strict, copilot, monkeypatch)


def _client(
    environment: Environment, copilot: Copilot, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    monkeypatch.setattr(application, "_open", lambda _: copilot)
    monkeypatch.setattr(copilot, "close", lambda: None)
    with TestClient(application.create_app(environment), raise_server_exceptions=False) as client:
        yield client


def question(rng: random.Random) -> tuple[str, str, str]:
    """A tenant, a question that often names what only the other has, and the mark that must not appear."""
    tenant, other = rng.sample(list(MARKS), 2)
    words = rng.sample(WORDS, rng.randint(1, 4))
    lures = (
        "",
        f"{MARKS[other]}-{rng.randint(0, 29)}",
        f"tenant_id={other}",
        f"unit {rng.randint(0, 29)}",
        "PMP-A-11",
    )
    return tenant, f"{' '.join(words)} {rng.choice(lures)}".strip(), MARKS[other]


def shown(value: Any, asked: str) -> str:
    """What the asker sees, without the words that he wrote himself."""
    text = json.dumps(value, default=str) if not isinstance(value, str) else value
    return text.replace(json.dumps(asked)[1:-1], "")


def test_ten_thousand_searches_show_nothing_of_the_other_tenant(copilot: Copilot) -> None:
    """Forbids a leak by ranking: the other tenant's near-identical document is always a good match."""
    rng = random.Random(10)
    leaks = 0
    for _ in range(QUERIES):
        tenant, text, mark = question(rng)
        hits = copilot.search(text, tenant, rng.randint(1, 50)).hits
        leaks += any(mark in hit.passage.text or hit.passage.tenant_id != tenant for hit in hits)

    assert leaks == 0


def test_no_route_shows_the_other_tenant(api: TestClient) -> None:
    """Forbids a leak by answers, events, analytics, receipts, replays, feedback and documents."""
    rng = random.Random(11)
    for _ in range(25):
        tenant, text, mark = question(rng)
        other = next(name for name in MARKS if name != tenant)
        answer = api.post("/v1/diagnose", json={"question": text, "tenant_id": tenant})
        query = {"query": text, "tenant_id": tenant, "top_k": 50, "answer": True}
        analytics = {
            "tenant_id": tenant,
            "analysis_type": "comparison",
            "metric": "error_count",
            "compare_by": "plant",
        }
        seen = [
            answer,
            api.post("/query", json=query),
            api.post("/query", json={**query, "stream": True}),
            api.post("/v1/diagnose", json={"question": text, "tenant_id": tenant, "stream": True}),
            api.post("/v1/analytics", json=analytics),
        ]
        assert all(response.status_code == 200 for response in seen)
        assert not [response.url for response in seen if mark in shown(response.text, text)]
        answer_id = answer.json()["answer_id"]
        foreign = {"tenant_id": other}
        assert api.get(f"/v1/answers/{answer_id}", params=foreign).status_code == 404
        assert api.get(f"/v1/answers/{answer_id}/replay", params=foreign).status_code == 404
        assert api.get(f"/v1/answers/{answer_id}", params={"tenant_id": tenant}).status_code == 200
        verdict = {"answer_id": answer_id, "tenant_id": other, "useful": True}
        assert api.post("/v1/feedback", json=verdict).status_code == 404
        document = api.get(f"/v1/documents/unit-{rng.randint(0, 29)}/1", params={"tenant_id": tenant})
        assert mark not in document.text


def test_a_missing_tenant_is_an_error_on_every_route(api: TestClient) -> None:
    """Forbids 'no tenant' meaning 'all tenants'."""
    bodies = {
        "/v1/diagnose": {"question": "pump"},
        "/query": {"query": "pump"},
        "/v1/analytics": {"analysis_type": "kpis"},
        "/v1/feedback": {"answer_id": "x", "useful": True},
    }
    for path, body in bodies.items():
        for extra in ({}, {"tenant_id": ""}, {"tenant_id": "  "}):
            assert api.post(path, json={**body, **extra}).status_code == 422, path
    for path in ("/v1/answers/x", "/v1/answers/x/replay", "/v1/documents/x/1"):
        assert api.get(path).status_code == 422, path


def test_a_key_opens_its_own_tenant_only_on_every_route_there_is(
    keyed_api: TestClient, environment: Environment
) -> None:
    """Forbids a route, of whatever package, that forgets the key or believes the body's tenant."""
    with psycopg.connect(environment.database_url) as connection:
        key = issue_key(connection, "mill-one", "test")
    headers = {"Authorization": f"Bearer {key.secret}"}
    paths = keyed_api.get("/openapi.json").json()["paths"]
    guarded = {
        path: list(methods) for path, methods in paths.items() if path not in OPEN_PATHS | SIGNED_PATHS
    }
    assert len(guarded) >= 8
    for template, methods in guarded.items():
        path = template.replace("{", "").replace("}", "")
        for method in map(str.upper, methods):
            foreign = {"tenant_id": "mill-two"}
            nested = {"rows": [{"tenant_id": "mill-two"}]}
            assert keyed_api.request(method, path, json={}).status_code == 401, path
            assert keyed_api.request(method, path, headers=headers, params=foreign).status_code == 403, path
            if method in {"POST", "PUT", "PATCH"}:
                for body in (foreign, nested):
                    assert keyed_api.request(method, path, headers=headers, json=body).status_code == 403, (
                        path
                    )
    own = keyed_api.post("/v1/diagnose", json={"question": "pump seal leak"}, headers=headers)
    assert own.status_code == 200
    assert MARKS["mill-two"] not in own.text


def test_keys_are_kept_as_digests_and_end(keyed_api: TestClient, environment: Environment) -> None:
    """Forbids keys in clear text, and keys that work after they expired or were revoked."""
    past = datetime(2020, 1, 1, tzinfo=UTC)
    with psycopg.connect(environment.database_url) as connection:
        revoked = issue_key(connection, "mill-one", "revoked")
        expired = issue_key(connection, "mill-one", "expired", expires_at=past)
        assert revoke_key(connection, revoked.key.key_id)
        assert not revoke_key(connection, revoked.key.key_id)
        connection.commit()
        stored = connection.execute(
            "select string_agg(row_to_json(k)::text, ' ') from rag.api_keys as k"
        ).fetchone()
    assert stored
    assert revoked.secret.rsplit("_", 1)[-1] not in stored[0]
    for secret in (revoked.secret, expired.secret, "ogk_nothing", "x" * 5000):
        response = keyed_api.post("/query", json={"query": "pump"}, headers={"X-API-Key": secret})
        assert response.status_code == 401
        assert response.json()["error"]["code"] == "invalid_key"


def test_rate_limit_and_quota_say_when_to_come_again(keyed_api: TestClient, environment: Environment) -> None:
    """Forbids one tenant taking all, a limit that hits the neighbour, and a 429 that explains nothing."""
    with psycopg.connect(environment.database_url) as connection:
        limited = issue_key(connection, "mill-one", "limited", requests_per_minute=3)
        quota = issue_key(connection, "mill-two", "daily", requests_per_day=2)

    def ask(secret: str) -> Any:
        return keyed_api.post("/query", json={"query": "pump"}, headers={"X-API-Key": secret})

    codes = [ask(limited.secret).status_code for _ in range(4)]
    refused = ask(limited.secret)
    assert codes == [200, 200, 200, 429]
    assert refused.json()["error"]["code"] == "rate_limited"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert [ask(quota.secret).status_code for _ in range(3)] == [200, 200, 429]
    used_up = ask(quota.secret)
    assert used_up.json()["error"]["code"] == "quota_used_up"
    assert 0 < int(used_up.headers["Retry-After"]) <= 86_400
