"""The language model's part in an answer: plan, word, fall back. Nothing that it does can fail an answer.

Whatever goes wrong (time, tokens, money, 429 after the retries, garbage), the extractive answer is given
and says why. Avoid knowledge of prompts and providers here.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel

from rag_assets.copilot.agent.budget import Budget
from rag_assets.copilot.agent.models import ModelSettings, chat_model
from rag_assets.copilot.agent.planning import REPLY_TOKENS, PlanningAgent
from rag_assets.copilot.agent.prompts import ANSWER, PLAN, read_prompt
from rag_assets.copilot.agent.pseudonyms import Pseudonyms
from rag_assets.copilot.agent.wording import ANSWER_TOKENS, Worded, word_answer
from rag_assets.copilot.answering import Composed
from rag_assets.copilot.evidence import Evidence
from rag_assets.copilot.results import ToolResult
from rag_assets.copilot.toolbox import ToolContext

_CACHED_ANSWERS = 512
_log = logging.getLogger(__name__)


@dataclass
class Attempt:
    """One answer's budget and names, kept between its two steps."""

    budget: Budget
    pseudonyms: Pseudonyms
    problem: str = ""


class ModelWriter:
    """Lets a language model take part in answers; threads may share it.

    Args:
        settings: Which model, and what an answer may use.
        make_model: Gives the client for a number of reply tokens; LangChain's by default.
    """

    def __init__(
        self,
        settings: ModelSettings,
        make_model: Callable[[ModelSettings, int], BaseChatModel] = chat_model,
    ) -> None:
        self._settings = settings
        self._make_model = make_model
        self._cache: OrderedDict[tuple[str, ...], Worded] = OrderedDict()
        self._guard = threading.Lock()
        # Clients are made per answer; the first one imports its provider's library, which takes seconds
        # that must not be an answer's.
        make_model(settings, REPLY_TOKENS)
        self.prompt_version = f"{read_prompt(PLAN).version}, {read_prompt(ANSWER).version}"
        self.name = f"{settings.provider}:{settings.model}"

    def begin(self, evidence: Evidence) -> Attempt:
        """Start an answer: its names are replaced from here on."""
        return Attempt(Budget(self._settings), Pseudonyms(_names(evidence)))

    def plan(self, attempt: Attempt, evidence: Evidence, context: ToolContext) -> Mapping[str, ToolResult]:
        """Results of further tools; none when anything goes wrong."""
        agent: PlanningAgent | None = None
        try:
            model = self._make_model(self._settings, REPLY_TOKENS)
            agent = PlanningAgent(model, attempt.budget, attempt.pseudonyms, context)
            return agent.plan(evidence)
        except Exception as error:
            attempt.problem = _reason(error)
            return {}

    def word(
        self,
        attempt: Attempt,
        evidence: Evidence,
        evidence_digest: str,
        extractive: Composed,
        on_text: Callable[[str], None] | None = None,
    ) -> Worded | None:
        """The answer in the model's words; None when anything goes wrong (`attempt.problem` says what)."""
        if attempt.problem:
            return None
        key = (evidence.question.tenant_id, evidence.question.text, evidence_digest, self.prompt_version)
        with self._guard:
            cached = self._cache.get(key)
            if cached:
                self._cache.move_to_end(key)
        if cached:
            if on_text:
                on_text(cached.composed.text)
            return cached
        try:
            model = self._make_model(self._settings, ANSWER_TOKENS)
            worded = word_answer(model, evidence, extractive, attempt.budget, attempt.pseudonyms, on_text)
        except Exception as error:
            attempt.problem = _reason(error)
            return None
        with self._guard:
            self._cache[key] = worded
            if len(self._cache) > _CACHED_ANSWERS:
                self._cache.popitem(last=False)
        return worded


def _reason(error: Exception) -> str:
    """Why the model has no part in an answer; a provider's own text may carry keys, so it is left out."""
    _log.warning("the language model did not answer (%s)", type(error).__name__)
    own = type(error).__module__.startswith("rag_assets")
    return str(error) if own else f"the language model did not answer ({type(error).__name__})"


def _names(evidence: Evidence) -> dict[str, list[str]]:
    """What must not leave: tenant, machines, their names, plants."""
    rows: tuple[Mapping[str, Any], ...] = evidence.results["fleet"].rows
    return {
        "TENANT": [evidence.question.tenant_id],
        "MACHINE": [str(row["equipment_id"]) for row in rows] + list(evidence.unknown),
        "NAME": [str(row["equipment_name"]) for row in rows if row.get("equipment_name")],
        "PLANT": [str(row["plant_id"]) for row in rows if row.get("plant_id")],
    }
