"""`opsgraph eval retrieval` on collections that the test writes: BEIR's form, and a folder with questions."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestration.cli import app

PARTS = ("pump seal", "drive belt", "spindle bearing", "oil filter", "check valve", "shaft coupling")
FAULTS = ("leaks", "slips", "overheats", "vibrates")
KEYS = {
    *("first_stage_ndcg_at_10", "reranked_ndcg_at_10", "ndcg_at_10", "hit_at_1", "hit_at_5", "mrr_at_10"),
    "query_p95_ms",
}


def pairs() -> list[tuple[str, str, str]]:
    """Name, subject and text of 24 documents."""
    return [
        (
            f"d{number}",
            f"{part} {fault}",
            f"When the {part} {fault}, stop and inspect the {part}.",
        )
        for number, (part, fault) in enumerate(itertools.product(PARTS, FAULTS))
    ]


def judged(arguments: list[str]) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["eval", "retrieval", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("is_trained", [False, True])
def test_a_collection_in_the_form_of_beir(tmp_path: Path, is_trained: bool) -> None:
    """Forbids a verb that reads no other collection than the one that it was written with.

    Each question has the words of one document; with `qrels/train.tsv` an order is learned from half of them.
    """
    documents = pairs()
    lines = [{"_id": name, "title": subject, "text": text} for name, subject, text in documents]
    asked = [{"_id": f"q{name}", "text": f"{subject} again"} for name, subject, _ in documents]
    for name, rows in (("corpus", lines), ("queries", asked)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    right = [f"q{name}\t{name}\t1" for name, _, _ in documents]
    parts = {"test": right[::2], **({"train": right[1::2]} if is_trained else {})}
    for name, rows in parts.items():
        text = "\n".join(["query-id\tcorpus-id\tscore", *rows])
        (tmp_path / "qrels" / f"{name}.tsv").write_text(text + "\n", encoding="utf-8")

    found = judged(["--beir", str(tmp_path)])

    assert found.keys() >= KEYS
    assert (found["question_count"], found["training_count"]) == (12, 12 if is_trained else 0)
    assert found["first_stage_ndcg_at_10"] > 0.9
    assert bool(found["ranker"]) == is_trained
    if not is_trained:
        assert found["ndcg_at_10"] == found["reranked_ndcg_at_10"] == found["first_stage_ndcg_at_10"]


def test_a_folder_with_questions_and_without_training(tmp_path: Path) -> None:
    """Forbids that `--train` is needed, and that relevant paths are not those below the folder."""
    rows = []
    for name, subject, text in pairs():
        path = tmp_path / "corpus" / "shelf" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {subject}\n\n{text}\n", encoding="utf-8")
        rows.append({"query": subject, "relevant": [f"shelf/{name}.md"], "family": subject.split()[0]})
    questions = tmp_path / "questions.jsonl"
    questions.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    found = judged(["--corpus", str(tmp_path / "corpus"), "--test", str(questions)])

    assert found.keys() >= KEYS
    assert found["hit_at_5"] > 0.9
    assert found["families"].keys() == {part.split()[0] for part in PARTS}
