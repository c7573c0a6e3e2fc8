"""Retrieval on 307 real alerts and the public runbook that each one's author linked, beside plain BM25.

`make evals ONLY=retrieval`. Grouped cross-validation: an alert is judged by a ranker that saw no alert
with a common runbook, chosen and fitted on the others. The first run embeds 794 runbooks (one to two
minutes on two cores).
"""

from contextlib import closing

from orchestration.environment import Environment
from orchestration.figures import Figure, report
from rag_assets.embedding import MiniLmEmbedder
from rag_assets.embedding_cache import FileKeeper
from rag_assets.evaluation.collection import evaluate
from rag_assets.evaluation.questions import folder_collection

COMMAND = "make evals ONLY=retrieval"


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    environment = Environment()
    runbooks = environment.data_dir / "runbooks"
    questions = runbooks / "queries.jsonl"
    embedder = MiniLmEmbedder(environment.state_dir / "models")
    with closing(FileKeeper(environment.state_dir / "cache" / "embeddings.sqlite")) as keeper:
        quality = evaluate(folder_collection(runbooks / "corpus", questions, questions), embedder, keeper)
    final, first = quality.reranked, quality.first_stage
    figures = [
        Figure(
            "runbooks_ndcg_at_10", final.ndcg_at_10, "ratio", "higher", bar=0.87,
            peer="plain BM25", peer_value=quality.bm25.ndcg_at_10, command=COMMAND,
        ),
        Figure("runbooks_hit_at_1", final.hit_at_1, "ratio", "higher", bar=0.77, command=COMMAND),
        Figure("runbooks_hit_at_5", final.hit_at_5, "ratio", "higher", bar=0.93, command=COMMAND),
        Figure("runbooks_mrr_at_10", final.mrr_at_10, "ratio", "higher", command=COMMAND),
        Figure("runbooks_first_stage_ndcg_at_10", first.ndcg_at_10, "ratio", "higher", command=COMMAND),
        Figure("runbooks_reranked_gain", quality.gain[0], "ratio", "higher", command=COMMAND),
        Figure("runbooks_reranked_gain_low", quality.gain[1], "ratio", "higher", command=COMMAND),
        Figure("runbooks_query_p95", quality.query_p95_ms, "ms", "lower", command=COMMAND),
    ]  # fmt: skip
    for name, row in quality.families.items():
        # The upper bound of fused minus BM25: below zero the fusion would be worse beyond noise.
        figures.append(
            Figure(
                f"runbooks_{name}_fused_over_bm25_high", row["fused_over_bm25_high"], "ratio", "higher",
                bar=0.0, command=COMMAND,
            )
        )  # fmt: skip
    report("retrieval", figures, folder="evals")
    if any(figure.holds is False for figure in figures):
        raise SystemExit("retrieval: a bar is not held")


if __name__ == "__main__":
    main()
