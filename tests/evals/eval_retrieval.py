"""Retrieval on 307 real alerts and the public runbook that each one's author linked, beside plain BM25.

`make evals ONLY=retrieval`. The first run embeds 794 runbooks (one to two minutes on two cores).
"""

from contextlib import closing

from orchestration.environment import Environment
from orchestration.figures import Figure, report
from rag_assets.embedding import MiniLmEmbedder
from rag_assets.embedding_cache import FileKeeper
from rag_assets.evaluation import evaluate_folder, read_questions

COMMAND = "make evals ONLY=retrieval"


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    environment = Environment()
    runbooks = environment.data_dir / "runbooks"
    embedder = MiniLmEmbedder(environment.state_dir / "models")
    with closing(FileKeeper(environment.state_dir / "cache" / "embeddings.sqlite")) as keeper:
        quality = evaluate_folder(
            runbooks / "corpus", read_questions(runbooks / "queries.jsonl"), embedder, keeper
        )
    figures = [
        Figure(
            "runbooks_ndcg_at_10", quality.first_stage_ndcg_at_10, "ratio", "higher", bar=0.84,
            peer="plain BM25", peer_value=quality.bm25_ndcg_at_10, command=COMMAND,
        ),
        Figure("runbooks_hit_at_1", quality.hit_at_1, "ratio", "higher", bar=0.73, command=COMMAND),
        Figure("runbooks_hit_at_5", quality.hit_at_5, "ratio", "higher", bar=0.91, command=COMMAND),
        Figure("runbooks_mrr_at_10", quality.mrr_at_10, "ratio", "higher", command=COMMAND),
        Figure("runbooks_query_p95", quality.query_p95_ms, "ms", "lower", command=COMMAND),
    ]  # fmt: skip
    report("retrieval", figures, folder="evals")
    if any(figure.holds is False for figure in figures):
        raise SystemExit("retrieval: a bar is not held")


if __name__ == "__main__":
    main()
