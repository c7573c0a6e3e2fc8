"""`opsgraph incidents channels …` and the evals of incidents and remediation.

Add a verb here about who is told and how well. Avoid logic.
"""

import json
import random
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.commands.incidents import incidents_app
from orchestration.commands.knowledge import configured_embedder, evaluations
from orchestration.environment import Environment

console = Console()
channels_app = typer.Typer(help="Receivers of alerts.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def register(_: typer.Typer) -> None:
    """Mount the verbs below `incidents` and `eval`."""
    channels_app.command("list")(list_channels)
    channels_app.command("test")(test_channel)
    incidents_app.add_typer(channels_app, name="channels")
    evaluations.command("incidents")(eval_incidents)
    evaluations.command("remediation")(eval_remediation)


def list_channels(as_json: AsJson = False) -> None:
    """Receivers with what was sent, what waits, and what was refused.

    Example: `opsgraph incidents channels list`
    """
    import psycopg

    from orchestration.incident_parts import channels_of
    from orchestration.ingest.delivery.channels import ChannelsError

    environment = Environment()
    try:
        channels = channels_of(environment)
    except ChannelsError as error:
        Console(stderr=True).print(f"[red]{escape(str(error))}[/]")
        raise typer.Exit(1) from None
    with psycopg.connect(environment.database_url) as connection:
        rows = {
            row[0]: row[1:]
            for row in connection.execute(
                """
                select channel, count(*) filter (where state = 'sent'),
                    count(*) filter (where state = 'pending'), count(*) filter (where state = 'refused'),
                    (array_agg(last_error order by delivery_id desc) filter (where last_error is not null))[1]
                from ops.deliveries group by channel
                """
            ).fetchall()
        }
    names = [*(channel.name for channel in channels), *sorted(rows.keys() - {c.name for c in channels})]
    kinds = {channel.name: channel.kind.value for channel in channels}
    if as_json:
        fields = ("sent", "pending", "refused", "last_error")
        values = [
            {
                "channel": name,
                "kind": kinds.get(name),
                **dict(zip(fields, rows.get(name, (0, 0, 0, None)), strict=True)),
            }
            for name in names
        ]
        typer.echo(json.dumps(values, indent=2))
        return
    table = Table("channel", "kind", "sent", "waits", "refused", "last error", box=None)
    for name in names:
        sent, pending, refused, error = rows.get(name, (0, 0, 0, None))
        table.add_row(
            escape(name), kinds.get(name, "no longer configured"), str(sent), str(pending), str(refused),
            escape((error or "")[:80]),
        )  # fmt: skip
    console.print(table if names else f"no receiver: list some in {environment.channels_file}")


def test_channel(
    name: Annotated[str, typer.Argument(help="Name of the channel.")],
) -> None:
    """Send one receiver an alert that says that it is a test, and its end.

    Example: `opsgraph incidents channels test on-call`
    """
    import httpx

    from orchestration.incident_parts import channels_of
    from orchestration.ingest.delivery.alert import Alert
    from orchestration.ingest.delivery.send import Outcome, send
    from orchestration.ingest.incidents.model import Severity, digest

    channels = {channel.name: channel for channel in channels_of(Environment())}
    if name not in channels:
        console.print(
            f"[red]no channel is named {escape(name)}; known are {', '.join(channels) or 'none'}[/]"
        )
        raise typer.Exit(1)
    now = datetime.now(UTC)
    for status in ("open", "resolved"):
        alert = Alert(
            tenant_id="demo-plant", fingerprint=digest("test", now.isoformat()),
            revision=int(status != "open"),
            status=status, severity=Severity.INFO, title="Test of an opsgraph channel: nothing is wrong",
            subject="opsgraph", started_at=now, detected_at=now, ended_at=now if status != "open" else None,
            body={"incident": "test", "subjects": ["opsgraph"]},
        )  # fmt: skip
        attempt = send(channels[name], [alert], httpx.Client())
        console.print(f"{status}: {attempt.outcome.value} {escape(attempt.reason)}")
        if attempt.outcome is not Outcome.TAKEN:
            raise typer.Exit(1)


def eval_incidents(
    seed: Annotated[int | None, typer.Option(help="Draws the scenarios; a new one by default.")] = None,
    scenarios: Annotated[int, typer.Option(min=1, help="Days to draw.")] = 20,
    from_lines: Annotated[
        bool, typer.Option("--from-lines", help="Generate log lines and detect, too: two hours of lines.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Judge grouping on drawn plants and faults: does one fault give one incident?

    Example: `opsgraph eval incidents --seed 7 --json`, `opsgraph eval incidents --from-lines`
    """
    from orchestration.ingest.incidents.evaluation import evaluate_grouping
    from orchestration.ingest.incidents.generator_evaluation import evaluate_generator

    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    quality = evaluate_generator(chosen) if from_lines else evaluate_grouping(chosen, scenarios)
    if as_json:
        typer.echo(json.dumps(asdict(quality), indent=2))
        return
    _print(f"Grouping, seed {chosen}", asdict(quality))


def eval_remediation(
    seed: Annotated[int | None, typer.Option(help="Draws the incidents; a new one by default.")] = None,
    per_type: Annotated[int, typer.Option(min=1, help="Incidents of each of the six types.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Judge remediation: is the right runbook first for the generator's six kinds of trouble?

    Example: `opsgraph eval remediation --seed 7 --json`
    """
    import tempfile
    from pathlib import Path

    from orchestration.remediation_evaluation import evaluate_remediation, index_corpus
    from rag_assets.documents import CORPUS_DIR

    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    embedder = configured_embedder(Environment())
    with tempfile.TemporaryDirectory(prefix="opsgraph-remediation-") as work:
        retriever = index_corpus(CORPUS_DIR, embedder, Path(work))
        quality = evaluate_remediation(retriever, chosen, per_type)
        retriever.close()
    if as_json:
        typer.echo(json.dumps(asdict(quality), indent=2))
        return
    _print(f"Remediation, seed {chosen}", asdict(quality))


def _print(title: str, values: dict[str, Any]) -> None:
    table = Table("measure", "value", title=title, title_justify="left")
    for name, value in values.items():
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    console.print(table)
