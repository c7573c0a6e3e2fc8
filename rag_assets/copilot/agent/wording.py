"""The second of two steps: a model without tools words the answer from numbered sources.

A tool call in its reply is not run, a sentence that its sources do not support is flagged, and a link
that no source has is taken out. Avoid choosing evidence.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage

from rag_assets.copilot.agent.budget import Budget
from rag_assets.copilot.agent.prompts import ANSWER, read_prompt
from rag_assets.copilot.agent.pseudonyms import Pseudonyms
from rag_assets.copilot.answering import AnswerStatus, Composed, said
from rag_assets.copilot.draft import Draft, Statement
from rag_assets.copilot.evidence import Evidence
from rag_assets.copilot.injections import without_orders
from rag_assets.copilot.results import DocumentSource, Source, TableSource, plain_purpose

ANSWER_TOKENS = 900
_SOURCE_CHARACTERS = 2400
_SOURCES = 14
_LINK = re.compile(
    r"!?\[[^\]]*\]\([^)]*\)|\b(?:https?|ftp|file|data|javascript):\S+|\bwww\.\S+|<[^<>\n]{1,200}>"
)
_MARKS = re.compile(r"\[(\d{1,2})\]")
_SENTENCE = re.compile(r".+?(?:[.!?](?=\s|\[|$)(?:\s*\[\d{1,2}\])*|\n|$)", re.DOTALL)
_END = re.compile(r"[.!?](?:\s*\[\d{1,2}\])*\s|\n")
LINK_REMOVED = "(link removed)"


class UnusableReplyError(RuntimeError):
    """The reply can't be given out: empty, unknown, or nothing in it rests on a source."""


@dataclass(frozen=True)
class Worded:
    """An answer in a model's words.

    Attributes:
        refused_calls: Tool calls that it asked for and that were not run.
    """

    composed: Composed
    refused_calls: int


def word_answer(
    model: BaseChatModel,
    evidence: Evidence,
    extractive: Composed,
    budget: Budget,
    pseudonyms: Pseudonyms,
    on_text: Callable[[str], None] | None = None,
) -> Worded:
    """Let a model word the answer.

    Args:
        model: Without tools.
        evidence: What was gathered.
        extractive: The answer without a model: its steps and its confidence are kept.
        budget: Of this answer.
        pseudonyms: Of this answer.
        on_text: Is given each piece of text as it comes.

    Raises:
        BudgetError: Tokens, money or time are used up.
        UnusableReplyError: The reply can't be given out.
    """
    sources = _sources(evidence)
    draft = Draft(evidence.asked_on, evidence.question.tenant_id)
    for source in sources:
        draft.cite(source)
    prompt = read_prompt(ANSWER).text
    content = _content(evidence, sources, pseudonyms)
    budget.admit(len(prompt) + len(content), ANSWER_TOKENS)
    refused: list[str] = []
    pieces: list[str] = []
    raw = _stream(model, prompt, content, budget, refused)
    for sentence in _whole_sentences(pseudonyms.show_stream(raw)):
        # Cleaned before anybody sees it: a link shown for a second is a link followed.
        pieces.append(_LINK.sub(LINK_REMOVED, sentence))
        if on_text:
            on_text(pieces[-1])
    text = "".join(pieces).strip()
    if not text or text.strip(" .").upper() == "UNKNOWN":
        raise UnusableReplyError("the model gave no answer")
    for statement in _statements(text, len(sources)):
        draft.add(statement)
    if not draft.statements or len(draft.ungrounded()) == len(draft.statements):
        raise UnusableReplyError("nothing that the model said rests on a source")
    for step in extractive.draft.steps:
        # Steps stay quotes: a model must not invent what a person does with a wrench.
        draft.advise(step.text, _step_sources(evidence, step.text))
    text = said(draft, evidence)
    worded = Composed(AnswerStatus.ANSWERED, text, draft, extractive.confidence, extractive.reason)
    return Worded(worded, len(refused))


def _stream(
    model: BaseChatModel, prompt: str, content: str, budget: Budget, refused: list[str]
) -> Iterator[str]:
    whole: AIMessageChunk | None = None
    for chunk in model.stream([SystemMessage(prompt), HumanMessage(content)]):
        budget.check_time()
        whole = chunk if whole is None else whole + chunk
        refused.extend(call["name"] or "" for call in chunk.tool_call_chunks if call["name"])
        if isinstance(chunk.content, str) and chunk.content:
            yield chunk.content
    if whole is not None:
        budget.spend(whole.usage_metadata, len(prompt) + len(content), len(str(whole.content)))


def _whole_sentences(pieces: Iterable[str]) -> Iterator[str]:
    """Text in pieces that end where a sentence does."""
    held = ""
    for piece in pieces:
        held += piece
        ends = [match.end() for match in _END.finditer(held)]
        if ends:
            yield held[: ends[-1]]
            held = held[ends[-1] :]
    if held:
        yield held


def _content(evidence: Evidence, sources: Sequence[Source], pseudonyms: Pseudonyms) -> str:
    listed = "\n\n".join(
        f"<source number={number}>\n{_text(source)}\n</source>"
        for number, source in enumerate(sources, start=1)
    )
    return pseudonyms.hide(f"Question: {evidence.question.text}\n\nSources:\n\n{listed}")


def _text(source: Source) -> str:
    text = source.snippet if isinstance(source, TableSource) else f"{source.title}\n{source.text}"
    return without_orders(text[:_SOURCE_CHARACTERS]).replace("</source", "< /source")


def _sources(evidence: Evidence) -> list[Source]:
    """Tables, and the best passage of each document."""
    tables = [
        source
        for purpose, result in evidence.results.items()
        if purpose != "fleet"
        for source in result.sources
        if isinstance(source, TableSource)
    ]
    passages: list[Source] = [document.passages[document.best] for document in evidence.documents[:5]]
    found = [
        source
        for purpose, result in evidence.results.items()
        if plain_purpose(purpose) == "more runbooks"
        for source in result.sources
        if isinstance(source, DocumentSource)
    ]
    return [*tables[: _SOURCES - 5], *passages, *found[:3]][:_SOURCES]


def _statements(text: str, source_count: int) -> Iterator[Statement]:
    for match in _SENTENCE.finditer(text):
        sentence = match.group().strip()
        plain = " ".join(_MARKS.sub("", sentence).split())
        numbers = tuple(dict.fromkeys(int(n) for n in _MARKS.findall(sentence) if 0 < int(n) <= source_count))
        if len(plain) > 1:
            yield Statement(plain, numbers, is_quote=False, is_worded=True)


def _step_sources(evidence: Evidence, text: str) -> list[Source]:
    wanted = " ".join(text.split())
    for document in evidence.documents:
        for passage in document.passages:
            if wanted in " ".join(passage.text.split()):
                return [passage]
    return []
