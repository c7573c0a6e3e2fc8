import io
import json
import subprocess
from pathlib import Path

import pytest

from rag_assets.documents import read_files
from rag_assets.embedders import UnknownEmbedderError, open_embedder
from rag_assets.evaluation.measures import ndcg
from rag_assets.evaluation.questions import beir_collection
from rag_assets.remote_embedding import DimensionMismatchError, RemoteEmbedder
from rag_assets.sources.git import GitError, check_out
from rag_assets.sources.named import SourceNotFoundError, open_source
from rag_assets.sources.s3 import s3_files


class FakeBucket:
    """The two calls of a boto3 client that reading takes."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def get_paginator(self, name: str) -> "FakeBucket":
        """This one, for the one listing that is asked for."""
        assert name == "list_objects_v2"
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, object]]:  # noqa: N803 - boto3's names
        """Two pages: real listings end at 1,000 keys."""
        keys = [{"Key": key} for key in self.objects if key.startswith(Prefix)]
        return [{"Contents": keys[:2]}, {"Contents": keys[2:]}, {}]

    def get_object(self, Bucket: str, Key: str) -> dict[str, io.BytesIO]:  # noqa: N803 - boto3's names
        """Body of an object."""
        return {"Body": io.BytesIO(self.objects[Key])}


def test_a_prefix_is_read_with_its_sidecars() -> None:
    """Forbids reading beyond the prefix, only the first page, or pictures as documents."""
    bucket = FakeBucket(
        {
            "docs/b.txt": b"Grease it.",
            "docs/a/pump.md": b"# Pump",
            "docs/b.txt.meta.yaml": b"version: 7",
            "docs/photo.png": b"\x89PNG",
            "other/c.md": b"# Elsewhere",
        }
    )

    found = read_files(s3_files(bucket, "plant", "docs/"), "plant").documents

    assert [(document.path, document.version) for document in found] == [("a/pump.md", "1"), ("b.txt", "7")]


def test_a_repository_is_read_as_it_is_now(tmp_path: Path) -> None:
    """Forbids answering from the first checkout for ever."""
    repository = tmp_path / "runbooks"
    repository.mkdir()

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(repository), *identity, *arguments], check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch", "main")
    for text in ("# One", "# Two"):
        (repository / "a.md").write_text(text)
        git("add", ".")
        git("commit", "--quiet", "-m", text)
        source = open_source(f"git+{repository}@main", tmp_path / "checkouts")
        assert [document.content for document in read_files(source.files, "plant").documents] == [text]
    with pytest.raises(GitError, match="left as it was"):
        check_out(str(repository), "no-such-branch", tmp_path / "other")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Forbids that a typing error empties a source of the corpus."""
    with pytest.raises(SourceNotFoundError, match="is not a folder"):
        open_source(str(tmp_path / "absent"), tmp_path)


def test_a_beir_collection_is_read(tmp_path: Path) -> None:
    """Forbids losing graded judgements, the training split, or documents without a title."""
    (tmp_path / "qrels").mkdir()
    rows = [{"_id": "1", "title": "Pump", "text": "Seals."}, {"_id": "2", "title": "", "text": "Belts."}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    queries = [{"_id": "q1", "text": "seal"}, {"_id": "q2", "text": "belt"}]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq2\t2\t1\n")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\t1\t2\nq1\t2\t1\nq2\t1\t0\n")

    found = beir_collection(tmp_path)

    assert [(item.document_id, item.path, item.title) for item in found.documents] == [
        ("1", "", "Pump"),
        ("2", "", ""),
    ]
    assert [item.question for item in found.training] == ["belt"]
    assert [(item.question, dict(item.grades)) for item in found.test] == [("seal", {"1": 2, "2": 1})]
    # 2 + 1 / log2(3) is ideal; the other way round 1 + 2 / log2(3).
    assert ndcg(["2", "1"], found.test[0].grades) == pytest.approx(
        (1 + 2 / 1.585) / (2 + 1 / 1.585), abs=1e-4
    )


def test_an_endpoint_with_other_vectors_fails_the_build() -> None:
    """Forbids that a mismatch shows only when somebody asks."""

    class Endpoint:
        """Gives vectors of two numbers."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            """Not of unit length."""
            return [[3.0, 4.0]] * len(texts)

        def embed_query(self, text: str) -> list[float]:
            """Questions may have other vectors than documents."""
            return [4.0, 3.0]

    assert RemoteEmbedder("x", 2, Endpoint()).embed(["a", "b"]).tolist() == [
        pytest.approx([0.6, 0.8]),
        pytest.approx([0.6, 0.8]),
    ]
    with pytest.raises(DimensionMismatchError, match="vectors of 2 numbers, 3 are configured"):
        RemoteEmbedder("x", 3, Endpoint()).embed(["a"])
    assert RemoteEmbedder("x", 2, Endpoint()).embed_question("a").tolist() == pytest.approx([0.8, 0.6])
    with pytest.raises(DimensionMismatchError, match="vectors of 2 numbers, 3 are configured"):
        RemoteEmbedder("x", 3, Endpoint()).embed_question("a")


@pytest.mark.parametrize("choice", ["", "word2vec", "openai:model", "openai::384", "gemini:m:many"])
def test_an_embedder_that_nobody_knows_is_told(tmp_path: Path, choice: str) -> None:
    """Forbids falling back to the local model in silence."""
    with pytest.raises(UnknownEmbedderError, match="openai:MODEL:DIMENSION"):
        open_embedder(tmp_path, choice)


def test_an_embedder_is_chosen_by_one_setting(tmp_path: Path) -> None:
    """Forbids that two processes with one setting stamp builds differently."""
    found = open_embedder(tmp_path, "openai:bge-m3:latest:1024", "http://127.0.0.1:1/v1")

    assert (found.name, found.dimension) == ("openai:bge-m3:latest", 1024)
    assert open_embedder(tmp_path, "local-int8").name == "all-MiniLM-L6-v2-int8-per-channel"
