"""Which embedder a plant uses, from one line of settings. Only the choice belongs here."""

from pathlib import Path

from rag_assets.embedding import Embedder, MiniLmEmbedder


class UnknownEmbedderError(ValueError):
    """The setting names no embedder; the message says what it may be."""


def open_embedder(models: Path, choice: str = "local", base_url: str = "", api_key: str = "") -> Embedder:
    """The embedder that a setting names.

    Args:
        models: Folder of the local model's graph.
        choice: `local`, `local-int8`, `openai:MODEL:DIMENSION` or `gemini:MODEL:DIMENSION`.
        base_url: Of an OpenAI-compatible endpoint, up to and with `/v1`.
        api_key: For the endpoint.

    Raises:
        UnknownEmbedderError: The setting is none of these.
    """
    if choice in ("local", "local-int8"):
        return MiniLmEmbedder(models, precision="int8" if choice.endswith("int8") else "fp32")
    kind, _, described = choice.partition(":")
    model, _, dimension = described.rpartition(":")
    if kind not in ("openai", "gemini") or not model or not dimension.isdigit():
        raise UnknownEmbedderError(
            f"embedder {choice!r} is unknown: write local, local-int8, openai:MODEL:DIMENSION "
            "or gemini:MODEL:DIMENSION"
        )
    from rag_assets.remote_embedding import gemini_embedder, openai_embedder

    if kind == "gemini":
        return gemini_embedder(model, int(dimension), api_key)
    return openai_embedder(base_url, model, int(dimension), api_key or "unused")
