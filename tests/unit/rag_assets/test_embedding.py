import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer
from word_embedder import MemoryKeeper, WordEmbedder

from rag_assets.embedding import MAX_TOKENS, MiniLmEmbedder, cached_graph
from rag_assets.minilm import load_weights, model_folder

HEADS = 12


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniLmEmbedder]:
    """The real model, built once for this module."""
    yield MiniLmEmbedder(tmp_path_factory.mktemp("models"))


def reference(text: str) -> NDArray[np.float32]:
    """The same network in plain numpy, written from the BERT paper and not from the graph."""
    weights = load_weights(model_folder())
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    ids = np.array(tokenizer.encode(text).ids)

    def norm(x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    erf = np.vectorize(math.erf)
    hidden = norm(
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.position_embeddings.weight"][: len(ids)]
        + weights["embeddings.token_type_embeddings.weight"][0],
        "embeddings.LayerNorm",
    )
    for layer in range(6):
        prefix = f"encoder.layer.{layer}"
        query, key, value = (
            linear(hidden, f"{prefix}.attention.self.{part}").reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        attention = np.exp(scores - scores.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        mixed = (attention @ value).transpose(1, 0, 2).reshape(len(ids), -1)
        output = f"{prefix}.attention.output"
        hidden = norm(hidden + linear(mixed, f"{output}.dense"), f"{output}.LayerNorm")
        wide = linear(hidden, f"{prefix}.intermediate.dense")
        activated = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        hidden = norm(hidden + linear(activated, f"{prefix}.output.dense"), f"{prefix}.output.LayerNorm")
    mean = hidden.mean(0)
    return mean / np.linalg.norm(mean)


def test_the_graph_is_the_published_network(embedder: MiniLmEmbedder) -> None:
    """Forbids a graph that is nearly right: vectors would drift from every other user of the model."""
    texts = [
        "E101 spindle overtemperature",
        "Replace the coolant pump's seal, then log the event.",
        "überhitzt 47 °C",
    ]
    vectors = embedder.embed(texts)

    for text, vector in zip(texts, vectors, strict=True):
        assert np.abs(vector - reference(text)).max() < 1e-5


def test_vectors_do_not_depend_on_the_batch(embedder: MiniLmEmbedder) -> None:
    """Forbids that padding or sorting by length leaks into vectors or their order."""
    texts = ["short", "word " * 300, "a text of middle length about pumps", "short"]
    together = embedder.embed(texts)

    for text, vector in zip(texts, together, strict=True):
        assert np.abs(vector - embedder.embed([text])[0]).max() < 1e-5
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)


def test_questions_that_are_asked_at_once_have_the_vectors_that_they_have_alone(
    embedder: MiniLmEmbedder,
) -> None:
    """Forbids that an answer depends on what others ask meanwhile: they are embedded in another session."""
    questions = [f"why does pump {number} leak at the seal" for number in range(12)]
    alone = [embedder.embed_question(question).tolist() for question in questions]

    with ThreadPoolExecutor(4) as pool:
        together = [vector.tolist() for vector in pool.map(embedder.embed_question, questions)]

    assert together == alone


def test_a_long_alert_keeps_its_start_and_its_end(embedder: MiniLmEmbedder) -> None:
    """Forbids that what an alert says last is lost, and that a question that fits is treated otherwise."""
    short = "the spindle gets too hot"
    assert np.allclose(embedder.embed_question(short), embedder.embed([short])[0], atol=1e-5)

    filler = "label value " * 150
    at_start, at_end = (embedder.embed_question(f"{a}{filler}{b}") for a, b in ((short, ""), ("", short)))
    empty = embedder.embed_question(filler)
    for found in (at_start, at_end):
        assert found @ embedder.embed_question(short) > empty @ embedder.embed_question(short) + 0.02


def test_meaning_is_nearer_than_words(embedder: MiniLmEmbedder) -> None:
    """Forbids a model that runs but says nothing: a paraphrase must beat an unrelated sentence."""
    question, paraphrase, unrelated = embedder.embed(
        ["the spindle gets too hot", "overheating of the main shaft", "the invoice was paid too late"]
    )

    assert question @ paraphrase > question @ unrelated + 0.2


def test_nothing_to_embed_is_an_empty_array(embedder: MiniLmEmbedder) -> None:
    """Forbids a crash of a build in which nothing is new."""
    assert embedder.embed([]).shape == (0, 384)


def test_an_interrupted_graph_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    """Forbids that a half-written file is loaded for ever after."""
    (tmp_path / "x.partial").write_bytes(b"half")

    path = cached_graph(tmp_path)

    assert path.stat().st_size > 80_000_000  # 22.7 million parameters of 4 bytes
    assert cached_graph(tmp_path) == path


def test_equal_text_is_embedded_once() -> None:
    """Forbids embedding again what has not changed, which is nearly all the cost of a build."""
    from rag_assets.embedding_cache import embed_cached

    embedder, keeper = WordEmbedder(), MemoryKeeper()
    first = embed_cached(["pump", "seal", "pump"], embedder, keeper)
    second = embed_cached(["seal", "belt"], embedder, keeper)

    assert (first.embedded_count, second.embedded_count) == (2, 1)
    assert embedder.embedded == ["pump", "seal", "belt"]
    assert np.array_equal(first.vectors[0], first.vectors[2])
    assert np.array_equal(first.vectors[1], second.vectors[0])


def test_a_kept_vector_of_another_dimension_fails_the_build() -> None:
    """Forbids that a mismatch shows only when somebody asks a question."""
    from rag_assets.embedding_cache import embed_cached

    embedder, keeper = WordEmbedder(), MemoryKeeper()
    embed_cached(["pump"], embedder, keeper)
    keeper.kept = {digest: vector[:8] for digest, vector in keeper.kept.items()}

    with pytest.raises(ValueError, match="has dimension 2"):
        embed_cached(["pump"], embedder, keeper)
