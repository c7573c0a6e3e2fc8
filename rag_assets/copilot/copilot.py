"""The copilot itself: reads the question, gathers evidence, composes, keeps the receipt.

Everything here works without Dagster, HTTP and a language model.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg_pool import ConnectionPool

from rag_assets.copilot.analysis import Analysis, AnalysisRequest, analyse
from rag_assets.copilot.answering import COMPOSER, AnswerStatus, Composed, compose
from rag_assets.copilot.applicability import applicability
from rag_assets.copilot.evidence import Evidence, digest, freeze, thaw
from rag_assets.copilot.gathering import gather
from rag_assets.copilot.looked_at import evidence_rows, looked_at, not_looked_at
from rag_assets.copilot.questions import Question
from rag_assets.copilot.receipts import answer_digest, answer_id, receipt, store_answer
from rag_assets.copilot.toolbox import ToolContext
from rag_assets.copilot.tools import analytics
from rag_assets.copilot.tools.database import CONNECTION_SECONDS, ReadOnlyDatabase
from rag_assets.copilot.tools.measures import MeasureCatalogue
from rag_assets.embedding import Embedder
from rag_assets.index.builds import IndexBuild, current_build
from rag_assets.index.contract import BuildUnavailableError, TenantScope, VectorStore
from rag_assets.index.live import LiveIndex
from rag_assets.index.serving import open_retriever
from rag_assets.rerank.served import served_rankers, served_versions
from rag_assets.retrieval import RetrievalCaches, Retriever, SearchHit, SearchRequest

if TYPE_CHECKING:
    # Importing LangChain takes seconds: only a process with a model configured does.
    from rag_assets.copilot.agent.wording import Worded
    from rag_assets.copilot.agent.writer import Attempt, ModelWriter


@dataclass(frozen=True)
class Diagnosis:
    """An answer as it is given out; the fields of `POST /v1/diagnose`.

    Attributes:
        status: `answered` or `refused`.
        citations: As JSON-ready objects, by number.
        evidence: What was looked at, found or not.
        looked_at: The same in a line each.
        not_looked_at: Tools that were not asked, and what the asked ones leave out.
        confidence_reason: Why the confidence is what it is.
        ungrounded: Statements that their citations do not support; empty in extractive mode.
        written_by: The composer, or the language model.
    """

    answer: str
    status: str
    citations: list[dict[str, Any]]
    evidence: list[dict[str, Any]]
    looked_at: list[str]
    not_looked_at: list[str]
    confidence: str
    confidence_reason: str
    next_steps: list[str]
    answer_id: str
    latency_ms: float
    index_build: str
    ungrounded: list[str]
    written_by: str


def as_diagnosis(
    evidence: Evidence, composed: Composed, index_build: str, written_by: str, notes: Sequence[str] = ()
) -> Diagnosis:
    """The answer in the form in which it is given out, without an id and a latency yet.

    Args:
        evidence: What was looked at.
        composed: What it says.
        index_build: Where its documents were found.
        written_by: The composer, or the language model.
        notes: What a reader should know of the model's part; a receipt keeps them, a replay repeats them.
    """
    return Diagnosis(
        answer=composed.text,
        status=composed.status.value,
        citations=[dict(vars(citation)) for citation in composed.draft.cited],
        evidence=evidence_rows(evidence),
        looked_at=looked_at(evidence),
        not_looked_at=[*not_looked_at(evidence), *notes],
        confidence=composed.confidence,
        confidence_reason=composed.reason,
        next_steps=[step.cited for step in composed.draft.steps],
        answer_id="",
        latency_ms=0.0,
        index_build=index_build,
        ungrounded=list(composed.draft.ungrounded()),
        written_by=written_by,
    )


def _notes(worded: "Worded | None", attempt: "Attempt") -> list[str]:
    """What a reader should know of the model's part."""
    if worded is None:
        return (
            [f"language model: {attempt.problem}; this is the extractive answer"] if attempt.problem else []
        )
    if worded.refused_calls:
        return [f"language model: it asked for {worded.refused_calls} tool calls while wording; none was run"]
    return []


@dataclass(frozen=True)
class FoundPassages:
    """The answer to a plain search."""

    hits: tuple[SearchHit, ...]
    index_build: str


class Answering(Protocol):
    """Whoever can answer: this process, or the API over HTTP."""

    def diagnose(self, question: Question, question_id: str | None = None, keep: bool = True) -> Diagnosis:
        """Answer a question."""
        ...

    def close(self) -> None:
        """Let go of everything that is held."""
        ...


class Copilot:
    """Answers questions in this process; threads may share one.

    Args:
        live: The index build that answers.
        database: Read-only rows of the marts and predictions.
        receipts: Connections on which answers are kept.
        today: The day that documents must be current on; the clock is read at this edge only.
        writer: A language model that plans and words; None: the extractive copilot alone.
    """

    def __init__(
        self,
        live: LiveIndex,
        database: ReadOnlyDatabase,
        receipts: ConnectionPool[Any],
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
        writer: "ModelWriter | None" = None,
    ) -> None:
        self.live = live
        self._writer = writer
        self._database = database
        self._measures = MeasureCatalogue(database)
        self._receipts = receipts
        self._today = today

    def diagnose(
        self,
        question: Question,
        question_id: str | None = None,
        keep: bool = True,
        on_text: Callable[[str], None] | None = None,
    ) -> Diagnosis:
        """Gather evidence, compose the answer, and keep it with its receipt.

        Args:
            question: The question.
            question_id: Row of the question table, if it comes from there.
            keep: Whether to store the answer; an audit asks again without leaving a trace.
            on_text: Is given a language model's text as it comes.

        Raises:
            MissingTenantError: The question names no tenant.
            BuildUnavailableError: No index build answers.
        """
        started = time.perf_counter()
        TenantScope(question.tenant_id)
        with self.live.lease() as (build, retriever):
            gathered = gather(question, self._today(), retriever, self._database, self._measures)
            attempt = self._writer.begin(gathered) if self._writer else None
            if self._writer and attempt:
                context = ToolContext(
                    question.tenant_id, gathered.asked_on, self._database, self._measures, retriever
                )
                further = self._writer.plan(attempt, gathered, context)
                gathered = replace(gathered, results={**gathered.results, **further})
        # Composed from what storage would give back: a replay then can't differ.
        frozen = freeze(gathered)
        evidence, evidence_digest = thaw(frozen), digest(frozen)
        composed = compose(evidence)
        written_by, prompt_version, notes = COMPOSER, None, list[str]()
        if self._writer and attempt:
            worded = None
            if composed.status is AnswerStatus.ANSWERED:
                worded = self._writer.word(attempt, evidence, evidence_digest, composed, on_text)
            if worded:
                composed, prompt_version = worded.composed, self._writer.prompt_version
                written_by = self._writer.name
            notes = _notes(worded, attempt)
        said = as_diagnosis(evidence, composed, build.build_id, written_by, notes)
        # A model may word equal evidence anew: its words are part of what the answer is.
        words = composed.text if prompt_version else ""
        diagnosis = replace(
            said,
            answer_id=answer_id(evidence, evidence_digest, said.written_by, words, notes),
            latency_ms=round((time.perf_counter() - started) * 1000, 3),
        )
        if keep:
            kept = {**receipt(evidence, composed, build, prompt_version), "notes": notes}
            self._keep(question, question_id, diagnosis, kept, frozen, evidence_digest)
        return diagnosis

    def analyse(self, request: AnalysisRequest) -> Analysis:
        """Analyse a period; see `rag_assets.copilot.analysis`."""
        return analyse(self._database, self._measures, request)

    def search(
        self, query: str, tenant_id: str, top_k: int, equipment_id: str | None = None
    ) -> FoundPassages:
        """Plain retrieval of current documents, for the firmware that the tenant's machines run.

        Args:
            query: Question or alert text.
            tenant_id: Whose documents.
            top_k: Documents at most.
            equipment_id: Only what is written for this machine.

        Raises:
            MissingTenantError: No tenant is named.
            BuildUnavailableError: No index build answers.
        """
        TenantScope(tenant_id)
        fleet = analytics.fleet(self._database, tenant_id)
        fits = applicability({str(row["equipment_id"]): row for row in fleet.rows}, equipment_id)
        request = SearchRequest(
            query, tenant_id, self._today(), top_k, fits.machine_model, fits.firmware_in_use
        )
        with self.live.lease() as (build, retriever):
            return FoundPassages(retriever.search(request), build.build_id)

    def answers(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """A connection to the kept answers; each statement commits by itself."""
        return self._receipts.connection()

    def age_days(self, effective_on: date | None) -> int | None:
        """Days since a document took effect."""
        return (self._today() - effective_on).days if effective_on else None

    def database_latency_ms(self) -> float:
        """How long the database takes to answer at all."""
        started = time.perf_counter()
        with self._receipts.connection() as connection:
            connection.execute("select 1")
        return round((time.perf_counter() - started) * 1000, 3)

    def close(self) -> None:
        """Let the build and all connections go; the connections also where the build fails to close."""
        with closing(self._receipts), closing(self._database):
            self.live.close()

    def _keep(
        self,
        question: Question,
        question_id: str | None,
        diagnosis: Diagnosis,
        kept_receipt: dict[str, Any],
        frozen: bytes,
        evidence_digest: str,
    ) -> None:
        row = {
            "answer_id": diagnosis.answer_id,
            "question_id": question_id,
            "tenant_id": question.tenant_id,
            "question": question.text,
            "status": diagnosis.status,
            "answer": diagnosis.answer,
            "citations": diagnosis.citations,
            "evidence": diagnosis.evidence,
            "receipt": {**kept_receipt, "next_steps": diagnosis.next_steps},
            "latency_ms": diagnosis.latency_ms,
        }
        with self._receipts.connection() as connection:
            store_answer(connection, row, frozen, evidence_digest, answer_digest(vars(diagnosis)))


def open_copilot(
    database_url: str,
    store: VectorStore,
    embedder: Embedder,
    today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    writer: "ModelWriter | None" = None,
) -> Copilot:
    """A copilot over the live build of a database; close it after use.

    Args:
        database_url: The opsgraph database.
        store: The engine that holds the builds.
        embedder: The embedder that the builds are stamped with.
        today: The day that documents must be current on.
        writer: A language model, if one is configured.
    """

    def read_alias() -> IndexBuild | None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            return current_build(connection)

    caches = RetrievalCaches()
    versions: dict[str, dict[str, str]] = {}

    def follow_rankers(retriever: Retriever) -> None:
        """A promoted ranker orders from the next look on, without waiting for another build."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            found = served_versions(connection)
            if found != versions.get("now"):
                retriever.serve(served_rankers(connection))
                versions.update(now=found)

    def open_build(build: IndexBuild, answering: tuple[IndexBuild, Retriever] | None) -> Retriever:
        if (build.embedder, build.dimension) != (embedder.name, embedder.dimension):
            raise BuildUnavailableError(
                f"index build {build.build_id} was made with {build.embedder} ({build.dimension}), "
                f"this process embeds with {embedder.name} ({embedder.dimension}): build the index again"
            )
        with psycopg.connect(database_url, autocommit=True) as connection:
            found = served_versions(connection)
            retriever = open_retriever(connection, store, build, embedder, answering, caches)
            try:
                retriever.serve(served_rankers(connection))
            except BaseException:
                retriever.close()
                raise
            versions.update(now=found)
        return retriever

    with ExitStack() as opened:
        database = opened.enter_context(closing(ReadOnlyDatabase(database_url)))
        # Many writers at once: Postgres flushes their commits together; one by one each waits for the disk.
        receipts: ConnectionPool[Any] = ConnectionPool(
            database_url,
            min_size=1,
            max_size=16,
            kwargs={"autocommit": True},
            timeout=CONNECTION_SECONDS,
            name="copilot-receipts",
            open=True,
        )
        opened.enter_context(closing(receipts))
        live = LiveIndex(read_alias, open_build, follow_rankers)
        copilot = Copilot(live, database, receipts, today, writer)
        opened.pop_all()  # from here on the copilot's own `close` closes them
    return copilot
