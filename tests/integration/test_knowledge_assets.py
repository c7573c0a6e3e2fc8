"""The knowledge and copilot assets in Dagster, over real Postgres and the real engine."""

from pathlib import Path

import dagster as dg
import psycopg
import pytest
from plant_marts import write_marts
from word_embedder import WordEmbedder

from orchestration.defs.copilot.assets import copilot_answers, copilot_questions
from orchestration.defs.knowledge.assets import knowledge_corpus, knowledge_index
from orchestration.resources.postgres import PostgresResource
from orchestration.resources.vector_store import VectorStoreResource

pytestmark = pytest.mark.integration


@pytest.fixture
def resources(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Resources of a stack whose API is down, with a fake embedder for speed."""
    embedder = WordEmbedder()
    monkeypatch.setattr(VectorStoreResource, "embedder", lambda _: embedder)
    monkeypatch.setattr("orchestration.defs.knowledge.assets.GOLDEN_QUESTIONS", tmp_path / "absent")
    return {
        "postgres": PostgresResource(url=database_url),
        "vector_store": VectorStoreResource(index_dir=str(tmp_path / "index"), api_url="http://127.0.0.1:1"),
    }


def test_from_documents_to_answers_in_one_run(resources: dict[str, object], database_url: str) -> None:
    """Forbids an asset that is green without having done its work, or that keeps no rates to plot."""
    write_marts(database_url)
    result = dg.materialize(
        [knowledge_corpus, knowledge_index, copilot_questions, copilot_answers], resources=resources
    )

    assert result.success
    checks = result.get_asset_check_evaluations()
    assert {check.check_name for check in checks} >= {"index_is_not_empty", "sample_finds_itself"}
    assert all(check.passed for check in checks)
    answers = result.asset_materializations_for_node("copilot__answers")[0].metadata
    assert answers["dagster/row_count"].value == 6  # three default questions for each of two tenants
    assert answers["hallucination_flag_rate"].value == 0
    assert answers["answers_with_citations_ratio"].value > 0.5
    with psycopg.connect(database_url) as connection:
        kept = connection.execute("select count(*) from rag.answers where question_id is not null").fetchone()
    assert kept == (6,)


def test_a_second_run_builds_no_index_and_asks_the_same_questions(
    resources: dict[str, object], database_url: str
) -> None:
    """Forbids a rebuild without a change, and questions that multiply."""
    assets = [knowledge_corpus, knowledge_index, copilot_questions]
    dg.materialize(assets, resources=resources)
    second = dg.materialize(assets, resources=resources)

    index = second.asset_materializations_for_node("knowledge__index")[0].metadata
    questions = second.asset_materializations_for_node("copilot__questions")[0].metadata
    assert index["status"].value == "unchanged"
    assert all(check.passed for check in second.get_asset_check_evaluations())
    assert (questions["dagster/row_count"].value, questions["added"].value) == (6, 0)
