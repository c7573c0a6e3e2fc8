"""Insights, measured retrieval and the learned order as assets, over real Postgres, MLflow and the engine."""

import json
from contextlib import closing
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from word_embedder import WordEmbedder

from orchestration.defs.knowledge.assets import knowledge_index, knowledge_insights
from orchestration.defs.knowledge.quality import ranker, retrieval_quality
from orchestration.resources.mlflow import MlflowResource
from orchestration.resources.postgres import PostgresResource
from orchestration.resources.vector_store import VectorStoreResource
from rag_assets.copilot.copilot import open_copilot
from rag_assets.index.refresh import read_source
from rag_assets.rerank.rankers import LinearRanker, TreeRanker
from rag_assets.rerank.served import served_rankers
from tests.evals.copilot.plant import HERE, NOW, write_plants

pytestmark = pytest.mark.integration

PARTS = ("seal", "belt", "bearing", "filter", "valve", "coupling")
FAULTS = ("leaks", "slips", "overheats", "vibrates")


@pytest.fixture
def resources(
    database_url: str, mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    """24 runbooks that hide their subject in the body, and a golden question to each."""
    for part in PARTS:
        for fault in FAULTS:
            text = f"# Procedure {len(part) * len(fault)}\n\nStop. The {part} {fault} when it is worn.\n"
            path = tmp_path / "documents" / f"{part}-{fault}.md"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    golden = tmp_path / "golden.jsonl"
    rows = [
        {"question": f"the {part} {fault}", "relevant": [f"{part}-{fault}"], "tenant_id": HERE}
        for part in PARTS
        for fault in FAULTS
    ]
    golden.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    embedder = WordEmbedder()
    monkeypatch.setattr(VectorStoreResource, "embedder", lambda _: embedder)
    for module in ("assets", "quality"):
        monkeypatch.setattr(f"orchestration.defs.knowledge.{module}.GOLDEN_QUESTIONS", golden)
    read_source(database_url, tmp_path / "documents", "documents", HERE)
    return {
        "postgres": PostgresResource(url=database_url),
        "vector_store": VectorStoreResource(index_dir=str(tmp_path / "index"), api_url="http://127.0.0.1:1"),
        "mlflow": MlflowResource(tracking_uri=mlflow_uri),
    }


def test_insights_are_written_from_the_marts_and_only_when_these_change(
    resources: dict[str, object], database_url: str
) -> None:
    """Forbids an insight of figures that no table has, and a new text for equal data."""
    plant = write_plants(database_url, seed=3)[HERE]
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into ops.event_watermarks values (%s, 'readings', gen_random_uuid(), 0, %s)", (HERE, NOW)
        )
    first, second = (dg.materialize([knowledge_insights], resources=resources) for _ in range(2))

    written, again = (
        run.asset_materializations_for_node("knowledge__insights")[0].metadata for run in (first, second)
    )
    assert written["dagster/row_count"].value == len(plant.machines)
    assert (written["changed"].value, again["changed"].value) == (len(plant.machines), 0)
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "select content from rag.documents where tenant_id = %s and content like '%%LTH-A-11%%' "
            "and metadata ->> 'source' = 'telemetry-insights'",
            (HERE,),
        ).fetchone()
    assert row is not None
    assert "E711" in row[0]  # raised 3 and 20 hours ago
    assert "E713" not in row[0]  # 26 days ago


def test_each_build_is_measured_on_the_golden_questions(
    resources: dict[str, object], database_url: str
) -> None:
    """Forbids quality that nobody measures: figures of the build that answers, kept and plotted."""
    result = dg.materialize([knowledge_index, retrieval_quality], resources=resources)

    metadata = result.asset_materializations_for_node("knowledge__retrieval_quality")[0].metadata
    with psycopg.connect(database_url) as connection:
        kept = connection.execute(
            "select build_id, measure, value from rag.retrieval_measures "
            "where family = '' and measure = 'hit_at_5'"
        ).fetchone()
    assert kept is not None
    assert (kept[0], kept[2]) == (metadata["build"].value, metadata["hit_at_5"].value)
    assert 0.9 <= kept[2] <= 1.0
    checks = {item.check_name: item.passed for item in result.get_asset_check_evaluations()}
    assert checks["golden_hit_at_5"]


def test_a_ranker_is_a_version_and_orders_as_soon_as_it_is_promoted(
    resources: dict[str, object], database_url: str, tmp_path: Path
) -> None:
    """Forbids a ranker outside of the registry, and one that waits for the next build.

    The API's copilot is open before the ranker is: the next look at the alias, a second later, brings it.
    """
    dg.materialize([knowledge_index], resources=resources)
    store = resources["vector_store"].store()  # type: ignore[attr-defined]
    with closing(open_copilot(database_url, store, WordEmbedder())) as copilot:
        copilot.live.refresh()
        result = dg.materialize([ranker], resources=resources)
        with psycopg.connect(database_url) as connection:
            promoted = served_rankers(connection)
        with copilot.live.lease() as (_, retriever):
            before = retriever.ranker_of(HERE)
            copilot.live.refresh()
            after = retriever.ranker_of(HERE)

    words = str(result.asset_materializations_for_node("model__ranker")[0].metadata[HERE].value)
    assert words.startswith("version 1")
    assert before is None
    assert isinstance(promoted[HERE], LinearRanker | TreeRanker)
    assert after is not None
    assert after.to_json() == promoted[HERE].to_json()
