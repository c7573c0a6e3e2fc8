"""Embedders behind one interface: the local MiniLM, on onnxruntime and without torch.

Add an embedder as a class that satisfies `Embedder`. Avoid the cache here
(`rag_assets.embedding_cache`) and everything that searches.
"""

import importlib
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

MAX_TOKENS = 256
"""The packaged model was trained on 256 word pieces; it ignores what comes after."""

_TOKENS_PER_BATCH = 4096  # 16 passages of 256 tokens: larger batches gain nothing on 2 cores


class Embedder(Protocol):
    """Turns texts into unit-length vectors."""

    @property
    def name(self) -> str:
        """What a build is stamped with; another name means other vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Length of each vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (len(texts), dimension), float32, L2 norm 1, in the order of the texts."""
        ...


class MiniLmEmbedder:
    """all-MiniLM-L6-v2 from its wheel; 384 dimensions.

    The ONNX graph is built once (2 s) and kept as a file; threads may share one embedder.

    Args:
        cache_dir: Folder for the built graph (90 MB).
        threads: Cores that one call may use.
    """

    name = "all-MiniLM-L6-v2"
    dimension = 384

    def __init__(self, cache_dir: Path, threads: int = 2) -> None:
        self._cache_dir = cache_dir
        self._threads = threads

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts in batches of similar length: padding is work too."""
        encodings = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for batch in _batches([len(ids) for ids in encodings]):
            length = max(len(encodings[index]) for index in batch)
            input_ids = np.zeros((len(batch), length), dtype=np.int32)
            mask = np.zeros_like(input_ids)
            for row, index in enumerate(batch):
                ids = encodings[index]
                input_ids[row, : len(ids)] = ids
                mask[row, : len(ids)] = 1
            outputs = self._session.run(None, {"input_ids": input_ids, "attention_mask": mask})
            vectors[batch] = outputs[0]
        return vectors

    def warm_up(self) -> None:
        """Load the model now, so that the first question does not wait for it."""
        self.embed(["ready"])

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        from rag_assets.minilm import model_folder

        tokenizer: Any = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        # The library has no type stubs.
        runtime: Any = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Spinning threads take the second core from Postgres between two questions.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return runtime.InferenceSession(
            str(cached_graph(self._cache_dir)), options, providers=["CPUExecutionProvider"]
        )


def cached_graph(cache_dir: Path) -> Path:
    """Path of the ONNX file; it is built when absent, and appears only when complete."""
    from rag_assets.minilm import GRAPH_VERSION

    path = cache_dir / f"all-minilm-l6-v2-graph{GRAPH_VERSION}.onnx"
    if not path.exists():
        from rag_assets.minilm import build_graph, model_folder

        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache_dir, suffix=".partial", delete=False) as file:
            file.write(build_graph(model_folder()).SerializeToString())
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    return path


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices grouped by similar length, longest first, each group within the token budget."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        batch = batches[-1] if batches else None
        if batch is not None and (len(batch) + 1) * lengths[batch[0]] <= _TOKENS_PER_BATCH:
            batch.append(index)
        else:
            batches.append([index])
    return batches
