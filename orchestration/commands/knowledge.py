"""Verbs of the knowledge base and the copilot: `index`, `index-forget`, `index-rollback`, `ask`.

Add a verb here when a person wants to do to documents or answers what Dagster does by itself.
Avoid logic: it belongs to `rag_assets`.
"""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from orchestration.environment import PROJECT_ROOT, Environment

if TYPE_CHECKING:
    from rag_assets.copilot.copilot import Answering, Diagnosis
    from rag_assets.embedding import Embedder
    from rag_assets.index.contract import VectorStore

GOLDEN_QUESTIONS = PROJECT_ROOT / "tests" / "evals" / "golden" / "questions.jsonl"

Tenant = Annotated[str, typer.Option("--tenant", help="Owner of the documents or asker of the question.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

evaluations = typer.Typer(help="Measure answers on questions whose right documents are known.")
console = Console()


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    app.command("index")(index)
    app.command("index-forget")(index_forget)
    app.command("index-rollback")(index_rollback)
    app.command("ask")(ask)
    app.add_typer(evaluations, name="eval")


def index(
    source: Annotated[
        str,
        typer.Argument(help="Folder, s3://bucket/prefix, or git+URL[@branch]; *.md, *.html, *.pdf, *.txt."),
    ],
    tenant: Tenant,
) -> None:
    """Read documents into the corpus, and index the corpus.

    The new build answers only after it has been verified; until then the old one does. A file that can't
    be read is listed with its reason and keeps its last good text.

    Example: `opsgraph index docs/runbooks --tenant demo-plant`
    """
    from rag_assets.index.refresh import store_files
    from rag_assets.sources.git import GitError
    from rag_assets.sources.named import SourceNotFoundError, open_source

    environment = Environment()
    try:
        found = open_source(source, environment.state_dir / "checkouts")
        with _failures_told(environment):
            change = store_files(environment.database_url, found.files, f"{tenant}:{found.name}", tenant)
    except (GitError, SourceNotFoundError) as error:
        _fail(str(error))
    console.print(
        f"{change.document_count} documents read, {change.changed_count} new or changed, "
        f"{change.removed_count} removed; source {escape(change.source)}"
    )
    for item in change.broken:
        console.print(f"[yellow]left out[/] {escape(item.path)}: {escape(item.reason)}")
    _build_index(environment)


def _build_index(environment: Environment) -> None:
    from rag_assets.index.build import BuildStatus, EmptyCorpusError
    from rag_assets.index.refresh import refresh_index

    today = datetime.now(UTC).date()
    try:
        with _failures_told(environment):
            store, embedder = _store(environment), configured_embedder(environment)
            outcome = refresh_index(
                environment.database_url, store, embedder, GOLDEN_QUESTIONS, today, is_asked_for=True
            )
    except EmptyCorpusError as error:
        _fail(str(error))
    for check in outcome.checks:
        mark = "[green]passed[/]" if check.passed else "[red]failed[/]"
        console.print(f"{mark} {check.name}: {escape(check.detail)}")
    written = f", {outcome.written_count} chunks written" if outcome.checks else ""
    on = f" on {outcome.base_build_id}" if outcome.base_build_id else ""
    console.print(
        f"{outcome.build_id} {outcome.status.value}{on}: {outcome.document_count} documents, "
        f"{outcome.chunk_count} chunks{written}, {outcome.embedded_count} texts embedded"
    )
    if outcome.status is BuildStatus.REJECTED:
        _fail("the build was rejected; the earlier one keeps answering")


def index_forget(
    source: Annotated[str, typer.Argument(help="As `opsgraph index` names it where it reads or leaves out.")],
) -> None:
    """Take everything that a source gave out of the corpus, and index the corpus.

    For a folder that has moved: its documents belong to the place where they were read first.

    Example: `opsgraph index-forget demo-plant:/srv/old/runbooks`
    """
    import psycopg

    from rag_assets.documents import Collection
    from rag_assets.index.corpus import store_collection

    environment = Environment()
    with _failures_told(environment), psycopg.connect(environment.database_url) as connection:
        removed = store_collection(connection, Collection(()), source).removed_count
    if not removed:
        _fail(f"the corpus has nothing of a source {source}; nothing was changed")
    console.print(f"{removed} documents removed")
    _build_index(environment)


def index_rollback() -> None:
    """Let the build answer that answered before; a second call goes forward again.

    Dagster builds nothing while the older build answers; `opsgraph index` or a second call lets it again.

    Example: `opsgraph index-rollback`
    """
    import psycopg

    from rag_assets.index.builds import NoPreviousBuildError, roll_back

    environment = Environment()
    with _failures_told(environment), psycopg.connect(environment.database_url) as connection:
        try:
            build = roll_back(connection)
        except NoPreviousBuildError as error:
            _fail(str(error))
    console.print(
        f"{build.build_id} answers now ({build.document_count} documents, {build.chunk_count} chunks)"
    )


def ask(
    question: Annotated[str, typer.Argument(help="In plain words; an alert text works too.")],
    tenant: Tenant,
    equipment: Annotated[str | None, typer.Option("--equipment", help="The machine in question.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the copilot; it answers from predictions, marts and runbooks, or says what is missing.

    Example: `opsgraph ask "Which machines fail next, and what do I do?" --tenant demo-plant`
    """
    from rag_assets.copilot.client import ApiError
    from rag_assets.copilot.questions import Question
    from rag_assets.index.contract import BuildUnavailableError, MissingTenantError

    environment = Environment()
    with _failures_told(environment), closing(connected_copilot(environment)) as copilot:
        try:
            diagnosis = copilot.diagnose(Question(question, tenant, equipment))
        except (ApiError, BuildUnavailableError, MissingTenantError) as error:
            _fail(str(error))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(diagnosis), indent=2, default=str))
    else:
        _print_diagnosis(diagnosis)


def _print_diagnosis(diagnosis: "Diagnosis") -> None:
    console.print(escape(diagnosis.answer))
    for step in diagnosis.next_steps:
        console.print(f"  • {escape(step)}")
    for citation in diagnosis.citations:
        console.print(f"[dim]{escape(_citation_line(citation))}[/]")
    console.print(
        f"[dim]{diagnosis.status}, confidence {diagnosis.confidence}: {escape(diagnosis.confidence_reason)} "
        f"{diagnosis.latency_ms:.0f} ms, "
        f"{diagnosis.index_build}, answer {diagnosis.answer_id}[/]"
    )


def _citation_line(citation: dict[str, Any]) -> str:
    if citation["kind"] == "table":
        return f"[{citation['number']}] {citation['table']}, as of {citation['as_of']}"
    age = f", {citation['age_days']} days old" if citation["age_days"] is not None else ""
    return (
        f"[{citation['number']}] {citation['title']}, section {citation['section']}, "
        f"version {citation['version']}{age}"
    )


def _store(environment: Environment) -> "VectorStore":
    from rag_assets.index.stores import open_store

    return open_store(environment.index_dir, environment.qdrant_url)


def configured_embedder(environment: Environment) -> "Embedder":
    """The embedder of the settings, as builds are stamped with it."""
    from rag_assets.embedders import open_embedder

    models = environment.state_dir / "models"
    url, key = environment.embedding_base_url, environment.embedding_api_key
    return open_embedder(models, environment.embedder, url, key)


def connected_copilot(environment: Environment) -> "Answering":
    """The API's copilot while it is up, else one in this process."""
    from rag_assets.copilot.client import connect_copilot

    return connect_copilot(
        environment.api_url,
        environment.database_url,
        _store(environment),
        configured_embedder(environment),
        environment.api_client_keys,
        environment.llm_timeout_s,
    )


@contextmanager
def _failures_told(environment: Environment) -> Iterator[None]:
    """A database that is down and an embedder that does not fit are told in a sentence each."""
    import psycopg
    from psycopg_pool import PoolTimeout

    from rag_assets.embedders import UnknownEmbedderError
    from rag_assets.remote_embedding import DimensionMismatchError

    try:
        yield
    except (UnknownEmbedderError, DimensionMismatchError) as error:
        _fail(str(error))
    except (psycopg.OperationalError, PoolTimeout) as error:
        _fail(
            f"the database at {environment.database_url} does not answer ({error}): "
            "start it with `opsgraph up`"
        )


def _fail(message: str) -> NoReturn:
    Console(stderr=True).print(f"[red]{escape(message)}[/]")
    raise typer.Exit(1)
