"""The chat model of the settings, through LangChain: OpenAI-compatible, Anthropic or Google.

Retries with exponential backoff (and `Retry-After`) are the client's own. Avoid prompts here.
"""

from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.language_models.chat_models import BaseChatModel
from pydantic import SecretStr

RETRIES = 3


@dataclass(frozen=True)
class ModelSettings:
    """Which model, and what one answer may use.

    Attributes:
        provider: Protocol; `openai` is any OpenAI-compatible endpoint.
        timeout_s: After which the extractive answer is given (s).
        max_tokens: Of one answer in all, read and written.
        max_cost: Of one answer, in the currency of the prices.
        price_in, price_out: Of a million tokens read and written; 0 means: not known, no cap.
    """

    provider: Literal["openai", "anthropic", "google"]
    model: str
    url: str | None
    api_key: SecretStr
    timeout_s: float = 300.0
    max_tokens: int = 20_000
    max_cost: float = 0.25
    price_in: float = 0.0
    price_out: float = 0.0


def chat_model(settings: ModelSettings, answer_tokens: int) -> BaseChatModel:
    """The client.

    Args:
        settings: Which model.
        answer_tokens: Most tokens that one reply may have.
    """
    options: dict[str, Any] = {
        "model": settings.model,
        "temperature": 0,
        "timeout": settings.timeout_s,
        "max_retries": RETRIES,
    }
    base = {"base_url": settings.url} if settings.url else {}
    if settings.provider == "anthropic":
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(**options, **base, api_key=settings.api_key, max_tokens=answer_tokens)  # pyright: ignore
    if settings.provider == "google":
        from langchain_google_genai import ChatGoogleGenerativeAI

        return ChatGoogleGenerativeAI(
            **options, **base, google_api_key=settings.api_key, max_output_tokens=answer_tokens
        )
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        **options,
        base_url=settings.url,
        api_key=settings.api_key,
        max_tokens=answer_tokens,  # pyright: ignore[reportCallIssue] - the name by its alias
        stream_usage=True,
    )
