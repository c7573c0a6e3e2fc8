"""What happens to answers after they were given: replay, audit, feedback; and figures, events and reports."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner
from word_embedder import WordEmbedder

from orchestration.api import app as application
from orchestration.cli import app as command_line
from orchestration.environment import Environment
from rag_assets.copilot.audit import Finding, audit
from rag_assets.copilot.copilot import Copilot, open_copilot
from rag_assets.copilot.feedback import judged_questions, satisfaction
from rag_assets.copilot.question_table import AskedQuestion, answer_questions
from rag_assets.copilot.questions import Question
from rag_assets.copilot.replay import load_answer, replay
from rag_assets.copilot.results import as_text
from rag_assets.copilot.tools.database import ReadOnlyDatabase
from rag_assets.evaluation.golden import answer_measures, feedback_questions
from rag_assets.index.refresh import read_source, refresh_index
from rag_assets.index.stores import open_store
from tests.evals.copilot.plant import DOCUMENTS, HERE, NOW, Plant, write_plants

pytestmark = pytest.mark.integration

QUESTIONS = (
    Question("How is LTH-A-11 doing?", HERE),
    Question("What does E711 mean and how do I clear it?", HERE),
    Question("Why did GRD-B-21 have so much downtime in the last 7 days?", HERE),
    Question("Which machine had the highest vibration in the last 7 days?", HERE),
    Question("What does E799 mean?", HERE),
)


@pytest.fixture
def plants(database_url: str) -> dict[str, Plant]:
    """Both plants' tables, in a database of the test's own: the tests here change them."""
    return write_plants(database_url, seed=8)


@pytest.fixture
def environment(database_url: str, plants: dict[str, Plant], tmp_path: Path) -> Environment:
    """Settings over those tables and an index."""
    environment = Environment(  # type: ignore[call-arg]
        OPSGRAPH_HOME=tmp_path,
        DATABASE_URL=database_url,
        QDRANT_URL=None,
        OPSGRAPH_API_URL="http://127.0.0.1:1",
    )
    read_source(database_url, DOCUMENTS, "documents", None)
    store = open_store(environment.index_dir, None)
    refresh_index(database_url, store, WordEmbedder(), Path("absent"), date(2026, 11, 20))
    return environment


@pytest.fixture
def copilot(environment: Environment) -> Iterator[Copilot]:
    """The copilot in this process."""
    store = open_store(environment.index_dir, None)
    copilot = open_copilot(environment.database_url, store, WordEmbedder(), NOW.date)
    yield copilot
    copilot.close()


@pytest.fixture
def api(environment: Environment, copilot: Copilot, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The application over it."""
    monkeypatch.setattr(application, "_open", lambda _: copilot)
    with TestClient(application.create_app(environment), raise_server_exceptions=False) as client:
        yield client


def test_a_replay_gives_the_same_bytes_when_builds_and_marts_are_gone(
    copilot: Copilot, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a receipt that can be checked only as long as nothing has changed."""
    given = [copilot.diagnose(question) for question in QUESTIONS]
    copilot.close()
    shutil.rmtree(environment.index_dir)
    with psycopg.connect(environment.database_url) as connection:
        connection.execute("drop schema marts cascade; drop schema intermediate cascade")
        connection.execute("delete from rag.documents; delete from ml.failure_predictions")
        connection.commit()
        replays = [replay(load_answer(connection, answer.answer_id, HERE)) for answer in given]
        connection.execute(
            "update rag.answer_evidence set evidence_digest = 'x' where answer_id = %s", (given[0].answer_id,)
        )
        forged = replay(load_answer(connection, given[0].answer_id))
        connection.rollback()
    monkeypatch.setenv("DATABASE_URL", environment.database_url)
    terminal = CliRunner().invoke(command_line, ["answer", "replay", given[1].answer_id, "--json"])

    assert [item.problem for item in replays] == [""] * len(given)
    assert all(item.is_equal for item in replays)
    assert [item.diagnosis.answer for item in replays if item.diagnosis] == [
        answer.answer for answer in given
    ]
    assert not forged.is_equal
    assert json.loads(terminal.stdout)["is_equal"] is True
    assert CliRunner().invoke(command_line, ["answer", "replay", "nothing"]).exit_code == 1


def test_the_audit_names_what_no_longer_holds_and_what_would_change(
    copilot: Copilot, environment: Environment
) -> None:
    """Forbids that an answer stays believed after its document, model or figures were replaced."""
    kinds = ("superseded", "recalled", "demoted", "corrected")
    e711, e721, risk, downtime = (
        copilot.diagnose(Question(text, HERE)).answer_id
        for text in (
            "What does E711 mean?",
            "What does E721 mean?",
            "How is OVN-C-31 doing?",
            "What was the total downtime of GRD-B-21 in the last 7 days?",
        )
    )
    with (
        closing(ReadOnlyDatabase(environment.database_url)) as database,
        psycopg.connect(environment.database_url) as connection,
    ):
        assert audit(connection, database, NOW.date(), HERE) == []
        connection.execute(
            "insert into rag.documents "
            "(tenant_id, document_id, version, title, path, md5, effective_on, metadata, content) "
            "select tenant_id, document_id, '3.0', title, path, 'new', '2026-11-19', metadata, content "
            "from rag.documents where tenant_id = %s and document_id = 'e711-feed-drive' and version = '2.0'",
            (HERE,),
        )
        connection.execute(
            "delete from rag.documents where tenant_id = %s and document_id = 'e721-coolant-pump'", (HERE,)
        )
        connection.execute(
            "insert into ml.promotions (tenant_id, model_name, model_version, decision, decided_by, reason, "
            "data_digest, metrics, served_from) "
            "values (%s, 'failure-24h', '4', 'promoted', 'test', 'test', 'x', '{}', now())",
            (HERE,),
        )
        connection.execute(
            "update marts.fact_production_metrics set downtime_h = downtime_h + 2 "
            "where tenant_id = %s and equipment_id = 'GRD-B-21' and downtime_h > 0",
            (HERE,),
        )
        connection.commit()
        found = audit(
            connection, database, NOW.date(), HERE, ask_again=lambda q: copilot.diagnose(q, keep=False).answer
        )
        assert audit(connection, database, NOW.date(), "works-two") == []
    by_answer = {item.answer_id: item for item in found}
    first = {answer: {doubt.finding for doubt in item.doubts} for answer, item in by_answer.items()}

    assert [Finding(kind) for kind in kinds] == [
        next(iter(first[answer] & {finding}))
        for answer, finding in zip((e711, e721, risk, downtime), Finding, strict=True)
    ]
    # 9.5 h + 2.25 h before, 2 h more for each of the two days on which the machine stopped.
    assert any("11.75" in sentence for sentence in by_answer[downtime].no_longer_said)
    assert any("13.75" in sentence or "15.75" in sentence for sentence in by_answer[downtime].would_say)


def test_the_audit_sees_edits_in_place_and_knows_whose_firmware_is_old(
    copilot: Copilot, environment: Environment
) -> None:
    """Forbids missing a text that changed under its version, and doubting the edition that fits."""
    edited, old_edition, recalled = (
        copilot.diagnose(question).answer_id
        for question in (
            Question("What does E712 mean?", HERE),
            Question("What does E713 mean?", HERE, "LTH-A-12"),
            Question("How many errors did LTH-A-11 raise in the last 7 days?", HERE),
        )
    )
    with (
        closing(ReadOnlyDatabase(environment.database_url)) as database,
        psycopg.connect(environment.database_url) as connection,
    ):
        cited = load_answer(connection, old_edition).citations
        connection.execute(
            "update rag.documents set content = replace(content, 'coolant', 'cutting fluid'), md5 = 'new' "
            "where tenant_id = %s and document_id = 'e712-coolant-flow'",
            (HERE,),
        )
        connection.execute(
            "insert into ops.incident_calendar values ('r1', %s, 'LTH-A-11', 'recall', %s, %s, now(), "
            "'wrong clock', 'test')",
            (HERE, NOW - timedelta(days=2), NOW - timedelta(days=1)),
        )
        connection.commit()
        copilot.diagnose(Question("How many errors did LTH-A-11 raise in the last 7 days?", HERE))
        found = {item.answer_id: item.doubts for item in audit(connection, database, NOW.date(), HERE)}

    # LTH-A-12 runs 2.4: edition 2.0, for firmware 3.0 and later, does not replace 1.0 for it.
    assert {item["version"] for item in cited if item["document_id"] == "e713-spindle-heat"} == {"1.0"}
    assert set(found) == {edited, recalled}
    assert [(doubt.finding, doubt.subject) for doubt in found[edited]] == [
        (Finding.CORRECTED, "e712-coolant-flow@1.0")
    ]
    assert [(doubt.finding, doubt.detail) for doubt in found[recalled]] == [(Finding.RECALLED, "wrong clock")]


def test_search_shows_the_edition_that_the_machine_runs(api: TestClient) -> None:
    """Forbids hits for another firmware than the answer beside them uses."""
    body = {"query": "What does E713 mean?", "tenant_id": HERE, "answer": True}
    shown = {}
    for machine in ("LTH-A-12", "LTH-A-11"):
        found = api.post("/query", json={**body, "equipment_id": machine}).json()
        documents = [*found["hits"], *found["answer"]["citations"]]
        shown[machine] = {item["version"] for item in documents if item["document_id"] == "e713-spindle-heat"}

    # Firmware 2.4 and 3.1; edition 1.0 is written for 2.4, edition 2.0 for 3.0 and later.
    assert shown == {"LTH-A-12": {"1.0"}, "LTH-A-11": {"2.0"}}


def test_analytics_has_the_missions_shape_and_sqls_numbers(api: TestClient, plants: dict[str, Plant]) -> None:
    """Forbids figures that differ from the rows, and trends that compare with another period."""
    body = {"tenant_id": HERE, "equipment_id": "LTH-A-12", "time_range": "last_7_days"}
    trend = api.post("/v1/analytics", json={**body, "analysis_type": "performance_trend"}).json()
    plant, week = plants[HERE], timedelta(days=7)
    temperature, before = (
        plant.hourly("LTH-A-12", "temperature_c", end - week, end).mean() for end in (NOW, NOW - week)
    )
    first = (NOW - timedelta(days=6)).date()
    run, planned = (plant.daily(name, ["LTH-A-12"], first, NOW.date()) for name in ("run_s", "planned_run_s"))

    assert set(trend["metrics"]) == {"avg_uptime", "avg_temperature", "defect_rate"}
    assert set(trend["trends"]) == {"uptime", "temperature", "defect_rate"}
    assert trend["metrics"]["avg_temperature"] == pytest.approx(temperature)
    assert trend["trends"]["temperature"] == pytest.approx(temperature - before)
    assert trend["metrics"]["avg_uptime"] == pytest.approx(run / planned)
    rows = [value for query in trend["evidence"] for row in query["rows"] for value in row.values()]
    shown = {as_text(value).lstrip("-") for value in rows if isinstance(value, float)}
    for insight in trend["insights"]:
        assert set(re.findall(r"\d+\.\d+", insight)) <= shown

    ranked = api.post(
        "/v1/analytics", json={"tenant_id": HERE, "analysis_type": "comparison", "metric": "vibration"}
    ).json()
    values = [row["value"] for row in ranked["ranking"]]
    assert len(values) == 6
    assert values == sorted(values, reverse=True)
    cause = api.post(
        "/v1/analytics", json={"tenant_id": HERE, "analysis_type": "root_cause", "time_range": "last_7_days"}
    ).json()
    assert cause["candidates"][0]["part"] == "coolant_pump"
    assert cause["candidates"][0]["amount"] == 11.75
    kpis = api.post("/v1/analytics", json={"tenant_id": HERE, "analysis_type": "kpis"}).json()
    assert {"oee", "downtime_h", "failure_count"} <= set(kpis["metrics"])
    for wrong in ({"equipment_id": "KLN-D-41"}, {"analysis_type": "comparison", "metric": "luck"}):
        assert api.post("/v1/analytics", json={"tenant_id": HERE, **wrong}).status_code == 404
    for period in ("garbage", "since 1000-01-01", "between 2026-01-01 and 9999-12-31", "since 2027-01-01"):
        refused = api.post("/v1/analytics", json={"tenant_id": HERE, "time_range": period})
        assert refused.status_code == 422
        assert "last_30_days" in refused.text


def test_feedback_becomes_training_pairs(api: TestClient, copilot: Copilot, environment: Environment) -> None:
    """Forbids feedback that nobody reads, and a useless answer's documents as good examples."""
    useful, useless = (
        copilot.diagnose(Question(text, HERE))
        for text in ("What does E712 mean?", "How do I dress the GX-7?")
    )
    words = (
        {"answer_id": useful.answer_id, "useful": True},
        {
            "answer_id": useless.answer_id,
            "useful": False,
            "why": "wrong",
            "relevant_documents": ["lx-20-manual"],
        },
    )
    for word in words:
        assert api.post("/v1/feedback", json={**word, "tenant_id": HERE}).status_code == 201
    with psycopg.connect(environment.database_url) as connection:
        judged = {item.query: item.relevant for item in judged_questions(connection, HERE)}
        learnt = {item.question: item.relevant for item in feedback_questions(connection)}
        overall = satisfaction(connection)

    assert judged["How do I dress the GX-7?"] == ["works-one/lx20-manual.md"]
    assert "works-one/e712.md" in judged["What does E712 mean?"]
    assert (overall.judged_count, overall.useful_ratio) == (2, 0.5)
    # What evaluation and training read: a useful answer's documents, by the ids that golden questions have.
    assert learnt["How do I dress the GX-7?"] == {"lx-20-manual"}
    assert "e712-coolant-flow" in learnt["What does E712 mean?"]


def test_rates_of_kept_answers_count_refusals_and_answers_from_an_old_build(
    copilot: Copilot, environment: Environment
) -> None:
    """Forbids a ratio that leaves refusals out, unlike the question table's, and stale answers unseen."""
    table = [
        AskedQuestion(str(number), HERE, text, None)
        for number, text in enumerate(("What does E711 mean?", "What does E799 mean?"))
    ]
    asked = answer_questions(copilot, table)
    with psycopg.connect(environment.database_url) as connection:
        connection.execute("update rag.answers set question_id = null")
        kept = answer_measures(connection)
        connection.execute(
            'update rag.answers set receipt = receipt || \'{"index_build": "before"}\' '
            "where status = 'answered'"
        )
        stale = answer_measures(connection)

    # One of two is answered; the refusal has no citation.
    assert asked.answers_with_citations_ratio == kept["answers_with_citations_ratio"] == 0.5
    assert kept["hallucination_flag_rate"] == asked.hallucination_flag_rate == 0
    assert (kept["stale_query_rate"], stale["stale_query_rate"]) == (0.0, 0.5)


def test_events_end_with_the_whole_answer(api: TestClient) -> None:
    """Forbids a stream that says something else than the plain answer, or ends without it."""
    body = {"query": "What does E711 mean?", "tenant_id": HERE, "answer": True}
    with api.stream("POST", "/query", json=body, headers={"Accept": "text/event-stream"}) as response:
        events = [_event(block) for block in "".join(response.iter_text()).strip().split("\n\n")]
    plain = api.post("/query", json=body).json()
    names = [name for name, _ in events]
    answer = next(data for name, data in events if name == "answer")

    assert response.headers["content-type"].startswith("text/event-stream")
    assert names[0] == "hit"
    assert names[-1] == "done"
    assert answer["answer"] == plain["answer"]["answer"]
    assert " ".join(data["text"] for name, data in events if name == "sentence") == answer["answer"]


def _event(block: str) -> tuple[str, Any]:
    name, data = block.split("\n", 1)
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_the_report_stands_alone(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forbids a report without figures or plots, and one that loads anything from elsewhere."""
    monkeypatch.setenv("DATABASE_URL", environment.database_url)
    outcome = CliRunner().invoke(
        command_line, ["report", "--tenant", HERE, "--out", str(tmp_path / "reports")]
    )
    html = (tmp_path / "reports" / f"{HERE}-2026-11-20.html").read_text()
    markdown = (tmp_path / "reports" / f"{HERE}-2026-11-20.md").read_text()

    assert outcome.exit_code == 0
    assert "| downtime_h (h) | 16.25 | 1.5 |" in markdown  # 9.5 + 2.25 + 4.5, and 1.5 of the filter
    assert "LTH-A-11" in markdown
    assert html.count("<svg") >= 2
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", html)
    assert CliRunner().invoke(command_line, ["report", "--tenant", "works-nowhere"]).exit_code == 1


def test_keys_at_the_terminal(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids a key that is shown twice, and one that cannot be taken away."""
    monkeypatch.setenv("DATABASE_URL", environment.database_url)
    made = CliRunner().invoke(
        command_line, ["keys", "create", "--tenant", HERE, "--name", "panel", "--per-day", "9"]
    )
    listed = CliRunner().invoke(command_line, ["keys", "list", "--json"]).stdout
    key = json.loads(listed)[0]

    assert made.stdout.startswith("ogk_")
    assert made.stdout.strip().rsplit("_", 1)[-1] not in listed
    assert (key["tenant_id"], key["name"], key["requests_per_day"]) == (HERE, "panel", 9)
    assert CliRunner().invoke(command_line, ["keys", "revoke", key["key_id"]]).exit_code == 0
    assert CliRunner().invoke(command_line, ["keys", "revoke", key["key_id"]]).exit_code == 1
