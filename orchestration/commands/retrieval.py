"""The verb `eval retrieval`: how good search is on any collection whose right documents are known.

Add a measure in `rag_assets.evaluation`. Avoid logic here.
"""

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.commands.knowledge import evaluations
from orchestration.environment import Environment

if TYPE_CHECKING:
    from rag_assets.evaluation.collection import RetrievalQuality

console = Console()


def register(app: typer.Typer) -> None:
    """Add the verb to the group `eval`."""
    evaluations.command("retrieval")(eval_retrieval)


def eval_retrieval(
    corpus: Annotated[Path | None, typer.Option("--corpus", help="Folder of documents.")] = None,
    train: Annotated[
        Path | None, typer.Option("--train", help="JSON Lines of questions to learn the order from.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="JSON Lines of `query` and `relevant` paths.")
    ] = None,
    beir: Annotated[
        Path | None, typer.Option("--beir", help="Folder with corpus.jsonl, queries.jsonl and qrels.")
    ] = None,
    precision: Annotated[str, typer.Option(help="Of the embedder: fp32, or int8 (faster).")] = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Judge retrieval on a collection: first stage and learned order, plain BM25 beside them.

    A question of the test that shares a right document with the training is judged by a ranker that
    saw neither, so that `--train` and `--test` may be the same file.

    Example: `opsgraph eval retrieval --corpus DIR/corpus --train Q.jsonl --test Q.jsonl`
    """
    from rag_assets.embedding import MiniLmEmbedder
    from rag_assets.embedding_cache import FileKeeper
    from rag_assets.evaluation.collection import evaluate
    from rag_assets.evaluation.questions import beir_collection, folder_collection
    from rag_assets.rerank.training import NotEnoughQuestionsError

    environment = Environment()
    try:
        if beir is not None:
            collection = beir_collection(beir)
        elif corpus is not None and test is not None:
            collection = folder_collection(corpus, train, test)
        else:
            raise typer.BadParameter("give --corpus and --test, or --beir")
        embedder = MiniLmEmbedder(environment.state_dir / "models", precision=precision)
        with closing(FileKeeper(environment.state_dir / "cache" / "embeddings.sqlite")) as keeper:
            quality = evaluate(collection, embedder, keeper)
    except (ValueError, OSError, NotEnoughQuestionsError) as error:
        Console(stderr=True).print(f"[red]{escape(str(error))}[/]")
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(quality_json(quality), indent=2))
    else:
        _print(quality, str(beir or corpus))


def quality_json(quality: "RetrievalQuality") -> dict[str, Any]:
    """The result as one flat JSON object."""
    return {
        "question_count": quality.question_count,
        "training_count": quality.training_count,
        "first_stage_ndcg_at_10": quality.first_stage.ndcg_at_10,
        "reranked_ndcg_at_10": quality.reranked.ndcg_at_10,
        "ndcg_at_10": quality.reranked.ndcg_at_10,
        "hit_at_1": quality.reranked.hit_at_1,
        "hit_at_5": quality.reranked.hit_at_5,
        "mrr_at_10": quality.reranked.mrr_at_10,
        "query_p95_ms": quality.query_p95_ms,
        "bm25_ndcg_at_10": quality.bm25.ndcg_at_10,
        "first_stage_hit_at_1": quality.first_stage.hit_at_1,
        "first_stage_hit_at_5": quality.first_stage.hit_at_5,
        "reranked_over_first_stage": quality.gain,
        "first_stage_over_bm25": quality.fused_gain_over_bm25,
        "families": quality.families,
        "ranker": quality.ranker,
        "chunk_count": quality.chunk_count,
        "index_seconds": quality.index_seconds,
    }


def _print(quality: "RetrievalQuality", where: str) -> None:
    table = Table("measure", "BM25", "first stage", "reranked", title=f"Retrieval on {where}")
    for name in ("ndcg_at_10", "hit_at_1", "hit_at_5", "mrr_at_10"):
        ways = (quality.bm25, quality.first_stage, quality.reranked)
        table.add_row(name, *(f"{getattr(way, name):.3f}" for way in ways))
    console.print(table)
    learned = quality.ranker or "none: without training questions the first stage's order stands"
    console.print(f"{quality.question_count} questions, {quality.chunk_count} chunks; order: {learned}")
    for name, (mean, low, high) in (
        ("reranked over first stage", quality.gain),
        ("first stage over BM25", quality.fused_gain_over_bm25),
    ):
        console.print(f"{name}: nDCG@10 {mean:+.3f} (95 % of paired bootstraps {low:+.3f} to {high:+.3f})")
    if len(quality.families) > 1:
        families = Table("family", "questions", "BM25", "first stage", "reranked")
        for name, row in quality.families.items():
            values = (row[f"{way}_ndcg_at_10"] for way in ("bm25", "first_stage", "reranked"))
            families.add_row(name or "-", f"{row['questions']:.0f}", *(f"{value:.3f}" for value in values))
        console.print(families)
    console.print(
        f"one question at a time: p95 {quality.query_p95_ms:.1f} ms; indexed in {quality.index_seconds:.1f} s"
    )
