"""`opsgraph incidents …`: the service, and what people on call do with incidents.

Add a verb here when a person needs one about incidents. Avoid logic: `orchestration.ingest.incidents` has it.
"""

import getpass
import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestration.environment import Environment

if TYPE_CHECKING:
    import psycopg

    from orchestration.ingest.incidents.model import Incident

console = Console()
incidents_app = typer.Typer(help="Incidents: one per cause, with the fix attached.")

Tenant = Annotated[str, typer.Option("--tenant", help="Owner of the incident.")]
Which = Annotated[str, typer.Argument(help="Fingerprint, or its first characters.")]
By = Annotated[str | None, typer.Option("--by", help="Who decides; your login name by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_COLORS = {"critical": "red", "warning": "yellow", "info": "blue"}


def register(app: typer.Typer) -> None:
    """Mount the verbs."""
    incidents_app.callback(invoke_without_command=True)(incidents)
    for name, verb in (
        ("list", list_), ("show", show), ("ack", ack), ("resolve", resolve), ("silence", silence),
        ("feedback", feedback), ("approve", approve), ("reject", reject), ("postmortem", postmortem),
        ("measures", measures), ("change", change),
    ):  # fmt: skip
        incidents_app.command(name)(verb)
    app.add_typer(incidents_app, name="incidents")


def incidents(
    context: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until SIGTERM or Ctrl-C.")] = False,
) -> None:
    """Group what detectors found, alert, and deliver: once, or for ever with --follow."""
    if context.invoked_subcommand:
        return
    from orchestration.incident_parts import alert_maker, service_settings
    from orchestration.ingest.delivery.channels import ChannelsError
    from orchestration.ingest.incident_service import IncidentService
    from orchestration.ingest.incidents.reports import IncidentReports

    environment = Environment()
    try:
        alerts = alert_maker(environment)
    except ChannelsError as error:
        _fail(str(error))
    reports = IncidentReports(environment.dagster_url if follow else None)
    service = IncidentService(service_settings(environment), alerts, alerts.channels, reports.add)
    if not follow:
        advance = service.work_once()
        console.print(f"{advance.signals} signals grouped, {len(advance.steps)} steps")
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: service.stop())
    service.run()
    reports.close()


def list_(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    limit: Annotated[int, typer.Option(help="Rows at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Incidents, latest first.

    Example: `opsgraph incidents list --all`
    """
    from orchestration.ingest.incidents import store
    from orchestration.ingest.incidents.model import IncidentState

    states = [IncidentState.OPEN, IncidentState.ACKNOWLEDGED]
    if everything:
        states.append(IncidentState.RESOLVED)
    with _connected() as connection:
        found = store.list_incidents(connection, tenant, states, limit)
    if as_json:
        typer.echo(json.dumps([_as_json(item) for item in found], indent=2))
        return
    table = Table("incident", "tenant", "state", "severity", "since (UTC)", "what", box=None)
    for item in found:
        state = f"{item.state.value}{', silenced' if item.silenced_by else ''}"
        color = _COLORS[item.severity.value]
        what = f"{item.affected[item.subject].summary}" + (
            f" (and {len(item.affected) - 1} more)" if len(item.affected) > 1 else ""
        )
        table.add_row(
            item.fingerprint[:8], item.tenant_id, state, f"[{color}]{item.severity.value}[/]",
            f"{item.started_at:%m-%d %H:%M}", escape(what),
        )  # fmt: skip
    console.print(
        table if found else "no incident" + ("" if everything else " is open; --all shows ended ones")
    )


def show(which: Which, tenant: Tenant, as_json: AsJson = False) -> None:
    """One incident: suspects, causes, what to do, proposals, timeline.

    Example: `opsgraph incidents show 3f2a --tenant demo-plant`
    """
    from orchestration.ingest.incidents.post_mortem import gather, write

    with _connected() as connection:
        known = gather(connection, _find(connection, tenant, which))
    if as_json:
        value = {**_as_json(known.incident), **asdict(known.findings)}
        value["timeline"] = [asdict(event) for event in known.timeline]
        typer.echo(json.dumps(value, indent=2, default=str))
        return
    from rich.markdown import Markdown

    console.print(Markdown(write(known)))


def ack(which: Which, tenant: Tenant, by: By = None) -> None:
    """Take an incident: others see who works on it.

    Example: `opsgraph incidents ack 3f2a --tenant demo-plant`
    """
    from orchestration.ingest.incidents.decisions import acknowledge

    with _connected() as connection:
        item = acknowledge(connection, tenant, _find(connection, tenant, which).fingerprint, _who(by), _now())
    console.print(f"{item.fingerprint[:8]} is acknowledged by {item.acknowledged_by}")


def resolve(
    which: Which,
    tenant: Tenant,
    note: Annotated[str, typer.Option(help="What ended it; goes into the post-mortem.")] = "",
    by: By = None,
) -> None:
    """End an incident by hand.

    Example: `opsgraph incidents resolve 3f2a --tenant demo-plant --note "rolled back release 7"`
    """
    from orchestration.ingest.incidents import decisions

    with _connected() as connection:
        found = _find(connection, tenant, which)
        item = decisions.resolve(connection, tenant, found.fingerprint, _who(by), _now(), note)
    console.print(f"{item.fingerprint[:8]} is resolved; the same findings would reopen it for six minutes")


def silence(
    subject: Annotated[str, typer.Argument(help="Subject with * and ?, for example `checkout*`.")],
    tenant: Tenant,
    reason: Annotated[str, typer.Option(help="Why; whoever finds it later must know.")],
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 30, help="For how long.")] = 1.0,
    starts: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d"], help="UTC; now by default.")
    ] = None,
    by: By = None,
) -> None:
    """Keep alerts about some subjects back for a while; attacks still page.

    Example: `opsgraph incidents silence "checkout*" --tenant demo-plant --hours 2 --reason "release 7"`
    """
    from orchestration.ingest.incidents import decisions

    begin = starts.replace(tzinfo=UTC) if starts else _now()
    end = begin + timedelta(hours=hours)
    with _connected() as connection:
        number = decisions.silence(connection, tenant, subject, begin, end, reason, _who(by))
    console.print(f"silence {number}: {escape(subject)} until {end:%Y-%m-%d %H:%M} UTC")


def feedback(
    which: Which,
    tenant: Tenant,
    real: Annotated[bool, typer.Option("--real/--false-alarm", help="Was something wrong at all?")],
    fix_right: Annotated[
        bool | None, typer.Option("--fix-right/--fix-wrong", help="Was it the right fix?")
    ] = None,
    note: Annotated[str | None, typer.Option(help="In your words.")] = None,
    by: By = None,
) -> None:
    """Say whether an incident was real and its fix right.

    Example: `opsgraph incidents feedback 3f2a --tenant demo-plant --real --fix-right`
    """
    from orchestration.ingest.incidents.decisions import Feedback, give_feedback

    with _connected() as connection:
        item = _find(connection, tenant, which)
        give_feedback(connection, tenant, item.fingerprint, Feedback(real, fix_right, note, _who(by)), _now())
    console.print(f"kept with {item.fingerprint[:8]}")


def approve(
    which: Which,
    proposal: Annotated[int, typer.Argument(help="Number of the proposal.")],
    tenant: Tenant,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do; do nothing.")] = False,
    by: By = None,
) -> None:
    """Approve a proposed action and do it, once.

    Example: `opsgraph incidents approve 3f2a 1 --tenant demo-plant --dry-run`
    """
    from orchestration.incident_actions import executors_of
    from orchestration.ingest.incidents.actions import approve_and_run, rehearse

    executors = executors_of(Environment())
    with _connected() as connection:
        item = _find(connection, tenant, which)
        act = rehearse if dry_run else approve_and_run
        said = act(connection, item, proposal, executors, _who(by), _now())
    console.print(f"{'would do' if dry_run else 'done'}: {escape(said)}")


def reject(
    which: Which,
    proposal: Annotated[int, typer.Argument(help="Number of the proposal.")],
    tenant: Tenant,
    by: By = None,
) -> None:
    """Decide against a proposed action.

    Example: `opsgraph incidents reject 3f2a 1 --tenant demo-plant`
    """
    from orchestration.ingest.incidents import actions

    with _connected() as connection:
        actions.reject(connection, _find(connection, tenant, which), proposal, _who(by), _now())
    console.print(f"proposal {proposal} is rejected")


def postmortem(
    which: Which,
    tenant: Tenant,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; the terminal by default.")] = None,
) -> None:
    """Write the post-mortem of an incident as Markdown.

    Example: `opsgraph incidents postmortem 3f2a --tenant demo-plant --out incident.md`
    """
    from orchestration.ingest.incidents.post_mortem import gather, write

    with _connected() as connection:
        text = write(gather(connection, _find(connection, tenant, which)))
    if out is None:
        typer.echo(text)
        return
    out.write_text(text)
    console.print(f"written to {escape(str(out))}")


def measures(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    as_json: AsJson = False,
) -> None:
    """How quickly incidents are seen and ended, and what each stage of an alert takes.

    Example: `opsgraph incidents measures --json`
    """
    from orchestration.ingest.incidents.measures import operation_measures, stage_latencies

    with _connected() as connection:
        figures = operation_measures(connection, tenant)
        stages = stage_latencies(connection, tenant)
    if as_json:
        typer.echo(json.dumps({**asdict(figures), "stages": [asdict(stage) for stage in stages]}, indent=2))
        return
    table = Table("measure", "value", box=None)
    for name, value in asdict(figures).items():
        table.add_row(
            name, "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
        )
    console.print(table)
    table = Table("stage", "p50 ms", "p95 ms", "budget ms", box=None)
    for stage in stages:
        budget = f"{stage.budget_ms:,.0f}" if stage.budget_ms else ""
        table.add_row(stage.stage.removesuffix("_ms"), f"{stage.p50_ms:,.1f}", f"{stage.p95_ms:,.1f}", budget)
    console.print(table)


def change(
    subject: Annotated[str, typer.Argument(help="What was changed: a service, a machine, or *.")],
    summary: Annotated[str, typer.Argument(help="One sentence.")],
    tenant: Tenant,
    kind: Annotated[str, typer.Option(help="release, configuration, contract, …")] = "release",
    by: By = None,
) -> None:
    """Announce a change, so that it can be named as the cause of what follows.

    Example: `opsgraph incidents change checkout "release 7" --tenant demo-plant`
    """
    from orchestration.ingest.incidents.causes import PlantChange
    from orchestration.ingest.incidents.change_log import announce_change

    with _connected() as connection:
        told = PlantChange(kind, subject, _now(), summary, "")
        announce_change(connection, tenant, told, f"{_who(by)} at the command line")
    console.print(f"{escape(kind)} of {escape(subject)} is on record")


@contextmanager
def _connected() -> Iterator["psycopg.Connection[Any]"]:
    """A connection; what can't be done is told in a sentence."""
    import psycopg

    from orchestration.ingest.incidents.actions import NotAllowedError
    from orchestration.ingest.incidents.decisions import NotPossibleError
    from orchestration.ingest.incidents.store import UnknownIncidentError

    try:
        with psycopg.connect(Environment().database_url) as connection:
            yield connection
    except (UnknownIncidentError, NotPossibleError, NotAllowedError, RuntimeError) as error:
        _fail(str(error))


def _find(connection: "psycopg.Connection[Any]", tenant: str, which: str) -> "Incident":
    from orchestration.ingest.incidents.store import find_incident

    return find_incident(connection, tenant, which)


def _as_json(item: "Incident") -> dict[str, Any]:
    value = asdict(item)
    value["operations"] = sorted(item.operations)
    for one in value["affected"].values():
        one["kinds"] = sorted(one["kinds"])
    return json.loads(json.dumps(value, default=str))


def _who(by: str | None) -> str:
    return by or getpass.getuser()


def _now() -> datetime:
    return datetime.now(UTC)


def _fail(message: str) -> NoReturn:
    Console(stderr=True).print(f"[red]{escape(message)}[/]")
    raise typer.Exit(1)
