"""Verbs of the copilot: `answer show|replay|audit|feedback`, `keys create|list|revoke`, `report`.

Add a verb here when a person wants to look into answers or let somebody in. Avoid logic: it belongs to
`rag_assets.copilot`.
"""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.commands.knowledge import connected_copilot
from orchestration.environment import Environment

if TYPE_CHECKING:
    import psycopg

TenantOption = Annotated[str | None, typer.Option("--tenant", help="Only of this tenant.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

answers = typer.Typer(help="Look into answers that were given.", no_args_is_help=True)
keys = typer.Typer(help="Let people and programs of one tenant use the API.", no_args_is_help=True)
console = Console()


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    answers.command("show")(answer_show)
    answers.command("replay")(answer_replay)
    answers.command("audit")(answer_audit)
    answers.command("feedback")(answer_feedback)
    app.add_typer(answers, name="answer")
    keys.command("create")(keys_create)
    keys.command("list")(keys_list)
    keys.command("revoke")(keys_revoke)
    app.add_typer(keys, name="keys")
    app.command("report")(report)


def answer_show(
    answer_id: Annotated[str, typer.Argument(help="As every answer names it.")],
    tenant: TenantOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a kept answer with its sources and its receipt.

    Example: `opsgraph answer show 0123456789abcdef0123456789abcdef`
    """
    from rag_assets.copilot.replay import load_answer

    with _connection() as connection:
        kept = load_answer(connection, answer_id, tenant)
    plain = {name: value for name, value in dataclasses.asdict(kept).items() if name != "evidence"}
    if as_json:
        typer.echo(json.dumps(plain, indent=2, default=str))
        return
    console.print(
        f"[bold]{escape(kept.question)}[/] ({kept.tenant_id}, {kept.answered_at:%Y-%m-%d %H:%M} UTC)"
    )
    console.print(escape(kept.answer))
    for citation in kept.citations:
        where = (
            citation.get("table")
            or f"{citation['title']}, {citation['section']}, version {citation['version']}"
        )
        console.print(f"[dim]\\[{citation['number']}] {escape(str(where))}[/]")
    console.print_json(json.dumps(kept.receipt, default=str))


def answer_replay(
    answer_id: Annotated[str, typer.Argument(help="As every answer names it.")],
    tenant: TenantOption = None,
    as_json: AsJson = False,
) -> None:
    """Make an answer again from its stored evidence; fails unless every byte is the same.

    Needs neither the index build nor the marts of then.

    Example: `opsgraph answer replay 0123456789abcdef0123456789abcdef`
    """
    from rag_assets.copilot.replay import load_answer, replay

    with _connection() as connection:
        outcome = replay(load_answer(connection, answer_id, tenant))
    said = outcome.diagnosis.answer if outcome.diagnosis else None
    if as_json:
        plain = {
            "answer_id": answer_id,
            "is_equal": outcome.is_equal,
            "problem": outcome.problem,
            "answer": said,
        }
        typer.echo(json.dumps(plain, indent=2))
    else:
        console.print(escape(said or ""))
        mark = "[green]equal, byte for byte[/]" if outcome.is_equal else f"[red]{escape(outcome.problem)}[/]"
        console.print(mark)
    if not outcome.is_equal:
        raise typer.Exit(1)


def answer_audit(
    tenant: TenantOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="How many of the latest answers to look at.")
    ] = 200,
    again: Annotated[bool, typer.Option(help="Ask again, to say what would change.")] = True,
    as_json: AsJson = False,
) -> None:
    """List answers whose evidence was superseded, recalled, demoted or corrected since.

    Example: `opsgraph answer audit --tenant demo-plant`
    """
    from rag_assets.copilot.audit import audit
    from rag_assets.copilot.tools.database import ReadOnlyDatabase

    environment = Environment()
    with _connection() as connection, closing(ReadOnlyDatabase(environment.database_url)) as database:
        if again:
            with closing(connected_copilot(environment)) as copilot:
                found = audit(
                    connection, database, datetime.now(UTC).date(), tenant, limit,
                    lambda question: copilot.diagnose(question, keep=False).answer,
                )  # fmt: skip
        else:
            found = audit(connection, database, datetime.now(UTC).date(), tenant, limit)
    if as_json:
        rows = [dataclasses.asdict(item) for item in found]
        for row in rows:
            row["doubts"] = [{**doubt, "finding": doubt["finding"].value} for doubt in row["doubts"]]
        typer.echo(json.dumps(rows, indent=2, default=str))
        return
    if not found:
        console.print(f"the evidence of the latest {limit} answers still holds")
    for item in found:
        console.print(f"[bold]{item.answer_id}[/] {escape(item.question)} ({item.tenant_id})")
        for doubt in item.doubts:
            console.print(
                f"  [yellow]{doubt.finding.value}[/] {escape(doubt.subject)}: {escape(doubt.detail)}"
            )
        for sentence in item.no_longer_said:
            console.print(f"  [red]-[/] {escape(sentence)}")
        for sentence in item.would_say:
            console.print(f"  [green]+[/] {escape(sentence)}")


def answer_feedback(
    tenant: TenantOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write JSON Lines of `query` and `relevant`.")
    ] = None,
) -> None:
    """How useful answers were, and the judged questions for evaluation and the reranker's training.

    Example: `opsgraph answer feedback --tenant demo-plant --out judged.jsonl`
    """
    from rag_assets.copilot.feedback import judged_questions, satisfaction

    with _connection() as connection:
        overall, judged = satisfaction(connection, tenant), judged_questions(connection, tenant)
    ratio = f"{overall.useful_ratio:.0%}" if overall.useful_ratio is not None else "nothing judged yet"
    console.print(f"{overall.useful_count} of {overall.judged_count} judged answers were useful ({ratio})")
    if out:
        lines = [json.dumps({"query": item.query, "relevant": item.relevant}) for item in judged]
        try:
            out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except OSError as error:
            _fail(f"{out} can't be written: {error.strerror}; nothing was changed")
        console.print(f"{len(lines)} judged questions written to {out}")


def keys_create(
    tenant: Annotated[str, typer.Option("--tenant", help="The one tenant that the key opens.")],
    name: Annotated[str, typer.Option("--name", help="Who or what uses it.")] = "unnamed",
    per_minute: Annotated[
        int | None, typer.Option("--per-minute", min=1, help="Requests per minute.")
    ] = None,
    per_day: Annotated[int | None, typer.Option("--per-day", min=1, help="Requests per day (UTC).")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="How long it is valid.")] = None,
) -> None:
    """Make a key; it is shown once, and only its digest is kept.

    Example: `opsgraph keys create --tenant demo-plant --name dashboard --per-minute 600`
    """
    from rag_assets.copilot.keys import issue_key

    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    with _connection() as connection:
        issued = issue_key(connection, tenant, name, per_minute, per_day, expires_at)
    typer.echo(issued.secret)
    Console(stderr=True).print(
        f"[dim]key {issued.key.key_id} of tenant {escape(tenant)}; send it as `Authorization: Bearer …`. "
        "It is not shown again.[/]"
    )


def keys_list(tenant: TenantOption = None, as_json: AsJson = False) -> None:
    """List keys, never the keys themselves.

    Example: `opsgraph keys list`
    """
    from rag_assets.copilot.keys import list_keys

    with _connection() as connection:
        found = list_keys(connection, tenant)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(key) for key in found], indent=2, default=str))
        return
    table = Table("key", "tenant", "name", "per minute", "per day", "created", "expires", "revoked")
    for key in found:
        instants = (key.created_at, key.expires_at, key.revoked_at)
        limits = (key.requests_per_minute, key.requests_per_day)
        table.add_row(
            key.key_id, escape(key.tenant_id), escape(key.name),
            *(str(value or "") for value in limits),
            *(f"{value:%Y-%m-%d %H:%M}" if value else "" for value in instants),
        )  # fmt: skip
    console.print(table)


def keys_revoke(key_id: Annotated[str, typer.Argument(help="As `opsgraph keys list` names it.")]) -> None:
    """Let a key work no longer; a running API forgets it within 5 s.

    Example: `opsgraph keys revoke 0123456789ab`
    """
    from rag_assets.copilot.keys import revoke_key

    with _connection() as connection:
        if not revoke_key(connection, key_id):
            _fail(f"there is no working key {key_id}: `opsgraph keys list` names them")
    console.print(f"key {key_id} is revoked")


def report(
    tenant: Annotated[str, typer.Option("--tenant", help="Whose plant.")],
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="Period, against the one before.")] = 7,
    out: Annotated[Path, typer.Option("--out", help="Folder for report.md and report.html.")] = Path(
        "reports"
    ),
) -> None:
    """Write the executive report as Markdown and as one HTML file with its plots inside.

    Example: `opsgraph report --tenant demo-plant --out reports`
    """
    from rag_assets.copilot.reporting import write_report

    environment = Environment()
    with _told():
        written = write_report(environment.database_url, tenant, days, out)
    console.print(f"{written.markdown_path}\n{written.html_path}")


@contextmanager
def _connection() -> Iterator["psycopg.Connection[Any]"]:
    """A connection to the opsgraph database; what is not there is told in a sentence."""
    import psycopg

    with _told(), psycopg.connect(Environment().database_url) as connection:
        yield connection


@contextmanager
def _told() -> Iterator[None]:
    from rag_assets.copilot.client import ApiError
    from rag_assets.copilot.replay import NoSuchAnswerError
    from rag_assets.copilot.reporting import NothingToReportError
    from rag_assets.embedders import UnknownEmbedderError
    from rag_assets.index.contract import BuildUnavailableError, MissingTenantError
    from rag_assets.remote_embedding import DimensionMismatchError

    try:
        yield
    except (
        ApiError,
        NoSuchAnswerError,
        NothingToReportError,
        BuildUnavailableError,
        MissingTenantError,
        UnknownEmbedderError,
        DimensionMismatchError,
    ) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    Console(stderr=True).print(f"[red]{escape(message)}[/]")
    raise typer.Exit(1)
