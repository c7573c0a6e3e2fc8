"""The API as seen by the command line and Dagster: asks over HTTP while the API holds the index.

Avoid answering here; an address in, the API's own answer out.
"""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from rag_assets.copilot.copilot import Answering, Diagnosis, open_copilot
from rag_assets.copilot.questions import Question
from rag_assets.embedding import Embedder
from rag_assets.index.contract import VectorStore

_OWN_SECONDS = 30.0
"""What an answer may take beside the language model's time."""
_PROBE_SECONDS = 1.0


class ApiError(RuntimeError):
    """The API refused or failed; the message carries its own words."""


class ApiCopilot:
    """Asks a running API.

    Args:
        url: Address of the API.
        keys: Key to send, by tenant; an API that wants none needs none.
        model_seconds: How long the API's language model may take, if it has one.
    """

    def __init__(self, url: str, keys: Mapping[str, str] | None = None, model_seconds: float = 0.0) -> None:
        self._keys = keys or {}
        self._client = httpx.Client(base_url=url, timeout=model_seconds + _OWN_SECONDS)

    def diagnose(self, question: Question, question_id: str | None = None, keep: bool = True) -> Diagnosis:
        """Ask `/v1/diagnose`.

        Raises:
            ApiError: The API answered with an error, or not at all.
        """
        body = {
            "question": question.text,
            "tenant_id": question.tenant_id,
            "equipment_id": question.equipment_id,
            "question_id": question_id,
            "keep": keep,
        }
        key = self._keys.get(question.tenant_id)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            response = self._client.post("/v1/diagnose", json=body, headers=headers)
        except httpx.HTTPError as error:
            raise ApiError(
                f"the API at {self._client.base_url} broke off ({type(error).__name__}: {error}): "
                "look whether it still runs with `opsgraph status`, and ask again"
            ) from error
        payload: dict[str, Any] = response.json() if _is_json(response) else {}
        if response.is_error:
            reason = payload.get("error", {}).get("message") or response.text[:200]
            raise ApiError(f"{response.request.url} answered {response.status_code}: {reason}")
        return Diagnosis(**{name: payload[name] for name in Diagnosis.__dataclass_fields__})

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def api_answers(url: str) -> bool:
    """Whether an API that can answer questions is up at an address."""
    try:
        response = httpx.get(f"{url}/health", timeout=_PROBE_SECONDS)
    except httpx.HTTPError:
        return False
    return response.is_success and _is_json(response) and "index_build" in response.text


def connect_copilot(
    api_url: str,
    database_url: str,
    store: VectorStore,
    embedder: Embedder,
    keys: Mapping[str, str] | None,
    model_seconds: float,
) -> Answering:
    """Who answers: the API while it is up (it holds the embedded index), else this process.

    Args:
        api_url: Address of the API.
        database_url: The opsgraph database.
        store: The engine, for answering in this process.
        embedder: The embedder, for answering in this process.
        keys: Key to send to the API, by tenant.
        model_seconds: How long the API's language model may take, if it has one.
    """
    if api_answers(api_url):
        return ApiCopilot(api_url, keys, model_seconds)
    return open_copilot(database_url, store, embedder)


def _is_json(response: httpx.Response) -> bool:
    try:
        json.loads(response.content)
    except ValueError:
        return False
    return True
