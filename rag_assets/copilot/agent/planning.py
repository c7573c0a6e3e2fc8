"""The first of two steps: a LangChain agent asks tools. It never reads what a document or a log line says.

Whoever can call tools sees numbers, times, states and codes only; whoever sees text has no tools
(`wording.py`). An instruction hidden in a document can therefore not start anything. Avoid wording.
"""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType]
from langchain.agents.middleware import ModelCallLimitMiddleware, ToolCallLimitMiddleware
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.outputs import LLMResult
from langchain_core.tools import StructuredTool
from pydantic import ValidationError

from rag_assets.copilot.agent.budget import Budget
from rag_assets.copilot.agent.prompts import PLAN, read_prompt
from rag_assets.copilot.agent.pseudonyms import Pseudonyms
from rag_assets.copilot.evidence import Evidence
from rag_assets.copilot.looked_at import looked_at
from rag_assets.copilot.results import ToolResult, further_purpose
from rag_assets.copilot.toolbox import TOOLS, Tool, ToolContext, call_tool

MODEL_CALLS = 4
TOOL_CALLS = 3
REPLY_TOKENS = 400
_SAFE_WORD = re.compile(
    r"^(?:[A-Za-z]\d{3,4}|Low|Medium|High|Critical|Warning|Normal|error|failure|maintenance)$"
)
_SAFE_COLUMN = {
    "measure",
    "dimension",
    "event_type",
    "health_status",
    "risk_level",
    "metric",
    "method",
    "level",
}
_WITHHELD = "(text, withheld until wording)"


class PlanningAgent:
    """Lets a model choose further tool calls.

    Args:
        model: Bound to no tools yet.
        budget: Of this answer.
        pseudonyms: Of this answer.
        context: What every call is bound to.
    """

    def __init__(
        self, model: BaseChatModel, budget: Budget, pseudonyms: Pseudonyms, context: ToolContext
    ) -> None:
        self._model = model
        self._budget = budget
        self._pseudonyms = pseudonyms
        self._context = context
        self._known: tuple[ToolResult, ...] = ()
        self._results: dict[str, ToolResult] = {}

    def plan(self, evidence: Evidence) -> dict[str, ToolResult]:
        """Results of the further tools that the model asked for, by purpose.

        Args:
            evidence: What the deterministic router has looked at already.

        Raises:
            BudgetError: Tokens, money or time are used up.
        """
        self._known = tuple(evidence.results.values())
        prompt = read_prompt(PLAN).text
        seen = "\n".join(f"- {line}" for line in _statuses(evidence))
        question = self._pseudonyms.hide(evidence.question.text)
        content = f"Question: {question}\n\nLooked at already:\n{seen}"
        self._budget.admit(len(prompt) + len(content), REPLY_TOKENS)
        limits: Any = [
            ModelCallLimitMiddleware(run_limit=MODEL_CALLS, exit_behavior="end"),
            ToolCallLimitMiddleware(run_limit=TOOL_CALLS, exit_behavior="continue"),
        ]
        agent: Any = create_agent(
            self._model,
            tools=[self._langchain_tool(tool) for tool in TOOLS.values()],
            system_prompt=prompt,
            middleware=limits,
        )
        agent.invoke(
            {"messages": [{"role": "user", "content": content}]},
            config={"callbacks": [_Meter(self._budget)], "recursion_limit": 20 * MODEL_CALLS},
        )
        return self._results

    def _langchain_tool(self, tool: Tool) -> StructuredTool:
        def run(**arguments: Any) -> str:
            self._budget.check_time()
            real = {name: self._pseudonyms.show(value) if isinstance(value, str) else value
                    for name, value in arguments.items()}  # fmt: skip
            try:
                results = call_tool(tool.name, self._context, real)
            except ValidationError as error:
                return json.dumps(
                    {"status": "ERROR", "problem": f"{error.error_count()} arguments are wrong"}
                )
            for purpose, result in results.items():
                # Asked again word for word, it would be said twice.
                if result not in (*self._known, *self._results.values()):
                    self._results[further_purpose(purpose, self._results)] = result
            return self._pseudonyms.hide(json.dumps({name: _safe(item) for name, item in results.items()}))

        return StructuredTool.from_function(
            func=run, name=tool.name, description=tool.description, args_schema=tool.request
        )


class _Meter(BaseCallbackHandler):
    """Counts what each call used; an exceeded budget ends the run."""

    raise_error = True

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:
        """Count a finished call."""
        for generations in response.generations:
            for generation in generations:
                message = getattr(generation, "message", None)
                self._budget.spend(getattr(message, "usage_metadata", None), 0, len(generation.text))
        self._budget.admit(0, REPLY_TOKENS)


def _statuses(evidence: Evidence) -> list[str]:
    """Which tools gave what, without the reasons: those may quote."""
    return [line.split(",")[0] + f": {evidence.results[purpose].status.value}"
            for line, purpose in zip(looked_at(evidence), evidence.results, strict=True)]  # fmt: skip


def _safe(result: ToolResult) -> dict[str, Any]:
    """What a planner may see of a result: everything but free text."""
    return {
        "status": result.status.value,
        "rows": [_safe_row(row) for row in result.rows[:5]],
        "count": len(result.rows) or len(result.sources),
    }


def _safe_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _safe_value(name, value) for name, value in row.items()}


def _safe_value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, str) and (name in _SAFE_COLUMN or _SAFE_WORD.match(value)):
        return value[:40]
    return _WITHHELD
