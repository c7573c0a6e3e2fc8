"""What one answer has used of its tokens, its money and its time.

Avoid calling models here.
"""

import time
from collections.abc import Mapping
from typing import Any

from rag_assets.copilot.agent.models import ModelSettings

_CHARACTERS_PER_TOKEN = 3.5  # on the careful side for English; used only where an endpoint reports nothing
_MILLION = 1_000_000


class BudgetError(RuntimeError):
    """The answer has used up its tokens, its money or its time."""


class Budget:
    """Counts calls of one answer.

    Args:
        settings: With the caps.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._deadline = time.monotonic() + settings.timeout_s
        self.tokens_in = 0
        self.tokens_out = 0

    @property
    def cost(self) -> float:
        """So far, in the currency of the prices."""
        settings = self._settings
        return (self.tokens_in * settings.price_in + self.tokens_out * settings.price_out) / _MILLION

    def admit(self, prompt_characters: int, reply_tokens: int) -> None:
        """Check before a call that it fits.

        Raises:
            BudgetError: It does not.
        """
        expected = round(prompt_characters / _CHARACTERS_PER_TOKEN)
        settings = self._settings
        if self.tokens_in + self.tokens_out + expected + reply_tokens > settings.max_tokens:
            raise BudgetError(
                f"an answer may use {settings.max_tokens} tokens; the next call would pass that"
            )
        next_cost = (expected * settings.price_in + reply_tokens * settings.price_out) / _MILLION
        if next_cost and self.cost + next_cost > settings.max_cost:
            raise BudgetError(f"an answer may cost {settings.max_cost}; the next call would pass that")
        self.check_time()

    def check_time(self) -> None:
        """Raise once the time is over.

        Raises:
            BudgetError: It is.
        """
        if time.monotonic() > self._deadline:
            raise BudgetError(f"no whole answer within {self._settings.timeout_s:g} s")

    def spend(self, usage: Any, prompt_characters: int, reply_characters: int) -> None:
        """Count a call: what the endpoint reports, else an estimate."""
        reported: Mapping[str, Any] = usage or {}
        self.tokens_in += int(
            reported.get("input_tokens") or round(prompt_characters / _CHARACTERS_PER_TOKEN)
        )
        self.tokens_out += int(
            reported.get("output_tokens") or round(reply_characters / _CHARACTERS_PER_TOKEN)
        )
