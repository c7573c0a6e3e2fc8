"""`opsgraph land`, `opsgraph ledger …` and `opsgraph dead-letters …`.

Add a verb here when people need one about landing. Avoid logic: `orchestration.ingest` has it.
"""

import json
import logging
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table

from orchestration.environment import Environment

if TYPE_CHECKING:  # landing brings pyarrow and polars, which `opsgraph --help` does not need
    from orchestration.ingest.contracts import TopicContract
    from orchestration.ingest.landing_report import LandingReport
    from orchestration.ingest.ledger_check import LedgerReport
    from orchestration.ingest.services import LandingServices

console = Console()
ledger_app = typer.Typer(
    help="The ledger: proof that nothing is lost or counted twice.", no_args_is_help=True
)
letters_app = typer.Typer(help="Messages that landing refused.", no_args_is_help=True)
LEDGER_HEADINGS = ("offsets", "landed", "dead", "discard", "tomb", "absent", "older", "raw", "lake", "waits")
COUNT_COLUMNS = ("landed", "dead_lettered", "discarded", "tombstones", "absent", "superseded")


def register(parent: typer.Typer) -> None:
    """Mount the verbs."""
    parent.command()(land)
    parent.add_typer(ledger_app, name="ledger")
    parent.add_typer(letters_app, name="dead-letters")


def landing_services(environment: Environment) -> "LandingServices":
    """The addresses that landing works with."""
    from orchestration.ingest.services import LandingServices

    return LandingServices(
        database_url=environment.database_url,
        bootstrap_servers=environment.kafka_bootstrap_servers,
        lake_url=environment.lake_url,
        catalog_uri=environment.lake_catalog_uri,
        schema_registry_url=environment.schema_registry_url,
    )


def land(
    topics: Annotated[
        list[str] | None, typer.Argument(help="Topics; all that are landed by default.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until SIGTERM or Ctrl-C.")] = False,
    share: Annotated[
        bool, typer.Option("--share", help="With --follow: share the partitions with other such landers.")
    ] = False,
    low_latency: Annotated[
        bool, typer.Option("--low-latency", help="With --follow: half of the delay, for more commits.")
    ] = False,
    max_messages: Annotated[
        int | None,
        typer.Option(min=1, help="At most so many of each topic; the rest waits for the next run."),
    ] = None,
    max_mib: Annotated[
        float | None, typer.Option(min=0.1, help="End a topic's landing after about so many MiB of rows.")
    ] = None,
) -> None:
    """Land what Kafka holds into Postgres and the lake.

    Example: `opsgraph land`, `opsgraph land equipment-sensors`, `opsgraph land --follow`,
    `opsgraph land --follow --share` in several terminals or machines, `opsgraph land --max-messages 100000`
    """
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.landing import land_topic
    from orchestration.ingest.offsets import LandingError
    from orchestration.ingest.run_limits import RunLimits

    environment = Environment()
    contracts = load_contracts()
    chosen = landed_of(contracts, topics)
    if follow:
        if max_messages or max_mib:
            raise typer.BadParameter("Limits of a run do not go with --follow; see `opsgraph quota`.")
        _follow(environment, chosen, share, low_latency)
        return
    limits = RunLimits(max_messages, int(max_mib * 1024**2) if max_mib else None)
    services, failed = landing_services(environment), False
    for topic in chosen:
        try:
            _print_landing(land_topic(topic, services, contracts=contracts, limits=limits))
        except LandingError as error:
            console.print(f"[red]{topic}[/]: {error}", soft_wrap=True)
            failed = True
    if failed:
        raise typer.Exit(1)


def _follow(environment: Environment, topics: list[str], share: bool, low_latency: bool) -> None:
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.landing_service import FRESH, LOW_LATENCY, LandingService
    from orchestration.ingest.sink_states import STATE_FILE

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    service = LandingService(
        landing_services(environment), load_contracts(), topics, dagster_url=environment.dagster_url,
        settings=LOW_LATENCY if low_latency else FRESH, is_shared=share,
        state_file=environment.state_dir / STATE_FILE,
    )  # fmt: skip
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: service.stop())
    service.run()


def _print_landing(report: "LandingReport") -> None:
    counts = report.counts
    terms = ", ".join(
        f"{getattr(counts, name):,} {name.replace('_', ' ')}"
        for name in COUNT_COLUMNS
        if getattr(counts, name)
    )
    rate = f", {counts.span / report.seconds:,.0f} msg/s" if counts.span else ""
    console.print(
        f"{report.topic}: {terms or 'nothing new'} in {report.seconds:.1f} s{rate}; {report.lag:,} wait; "
        f"by {report.landed_by}",
        highlight=False,
    )
    for finding in report.findings:
        console.print(f"[yellow]{finding}[/]", soft_wrap=True)


def landed_of(contracts: "Mapping[str, TopicContract]", topics: "Sequence[str] | None") -> list[str]:
    """The topics that a person named, or all that are landed.

    Raises:
        typer.BadParameter: One is not landed; says which are.
    """
    from orchestration.ingest.landing import landed_topics

    known = landed_topics(contracts)
    if unknown := sorted(set(topics or ()) - set(known)):
        raise typer.BadParameter(f"{', '.join(unknown)}: not landed; choose from {', '.join(known)}.")
    return list(topics or known)


def ledger_report(
    environment: Environment, topics: list[str] | None = None, is_full: bool = True
) -> "LedgerReport":
    """Check the ledger of some topics, or of all that are landed."""
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.ledger_check import check_ledger

    contracts = load_contracts()
    return check_ledger(landing_services(environment), contracts, landed_of(contracts, topics), is_full)


def ledger_table(report: "LedgerReport") -> Table:
    """The terms of each partition as a table."""
    table = Table(
        Column("partition", no_wrap=True),
        *(Column(heading, justify="right", no_wrap=True) for heading in LEDGER_HEADINGS),
        title="ledger",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for item in report.balances:
        table.add_row(
            str(item.partition),
            f"{item.offsets.lo:,}–{item.offsets.hi:,}",
            *(f"{getattr(item.counts, name):,}" for name in COUNT_COLUMNS),
            f"{item.raw_rows:,}",
            "–" if item.lake_rows is None else f"{item.lake_rows:,}",
            "gone" if item.pending is None else f"{item.pending:,}",
        )
    return table


@ledger_app.command()
def check(
    topics: Annotated[
        list[str] | None, typer.Argument(help="Topics; all that are landed by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    is_new_only: Annotated[
        bool, typer.Option("--new", help="Count only rows that no earlier check has counted.")
    ] = False,
) -> None:
    """Prove per topic and partition that ledger, broker, raw table and lake agree; exit 1 if not.

    Example: `opsgraph ledger check equipment-sensors --json`, `opsgraph ledger check --new`
    """
    from orchestration.ingest.offsets import LandingError

    try:
        report = ledger_report(Environment(), topics, is_full=not is_new_only)
    except LandingError as error:
        console.print(str(error), soft_wrap=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(_report_json(report), indent=2))
    else:
        Console(width=max(console.width, 120)).print(ledger_table(report))
        for fault in report.faults:
            style = "red" if fault.severity == "error" else "yellow"
            console.print(f"[{style}]{fault.severity}[/] {fault}", soft_wrap=True, highlight=False)
        console.print(
            "[green]The ledger balances.[/]" if report.is_balanced else "[red]It does not balance.[/]"
        )
    if not report.is_balanced:
        raise typer.Exit(1)


def _report_json(report: "LedgerReport") -> dict[str, Any]:
    return {
        "is_balanced": report.is_balanced,
        "partitions": [
            {
                "topic": item.partition.topic,
                "topic_id": str(item.partition.topic_id),
                "partition": item.partition.partition,
                "offset_lo": item.offsets.lo,
                "offset_hi": item.offsets.hi,
                **asdict(item.counts),
                "raw_rows": item.raw_rows,
                "lake_rows": item.lake_rows,
                "lake_offset": item.lake_offset,
                "pending": item.pending,
            }
            for item in report.balances
        ],
        "faults": [
            {
                "severity": fault.severity,
                "topic": fault.partition.topic,
                "topic_id": str(fault.partition.topic_id),
                "partition": fault.partition.partition,
                "offset_lo": fault.offsets.lo if fault.offsets else None,
                "offset_hi": fault.offsets.hi if fault.offsets else None,
                "message": fault.message,
            }
            for fault in report.faults
        ],
    }


@letters_app.command("list")
def list_letters(
    topic: Annotated[str | None, typer.Option(help="Only of this topic.")] = None,
    error_class: Annotated[str | None, typer.Option(help="Only of this class, e.g. UnknownSchemaId.")] = None,
    replayed: Annotated[bool, typer.Option("--replayed", help="Those that were landed since.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
) -> None:
    """List refused messages, oldest first.

    Example: `opsgraph dead-letters list --topic equipment-sensors --error-class EventTimeInFuture`
    """
    import psycopg

    from orchestration.ingest.dead_letters import Selection, find

    selection = Selection(topic=topic, error_class=error_class, is_replayed=replayed, limit=limit)
    with psycopg.connect(Environment().database_url) as connection:
        letters = find(connection, selection)
    table = Table(
        Column("id", justify="right"), "place", "class", Column("reason", overflow="fold"), "landed at"
    )
    for item in letters:
        place = f"{item.partition}@{item.kafka_offset}"
        table.add_row(
            str(item.dead_letter_id), place, item.error_class, item.error_message, f"{item.landed_at:%F %T}"
        )
    console.print(table)
    if len(letters) == limit:
        console.print(f"Only the first {limit} are shown; use --limit.")


@letters_app.command()
def show(dead_letter_id: Annotated[int, typer.Argument(help="Id from `dead-letters list`.")]) -> None:
    """Show a refused message: reason, headers, bytes as hex, and what can be decoded.

    Example: `opsgraph dead-letters show 17`
    """
    import psycopg

    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.dead_letter_view import hex_lines, partial_decode
    from orchestration.ingest.dead_letters import Selection, find
    from orchestration.ingest.postgres_sink import headers_from_json

    environment = Environment()
    with psycopg.connect(environment.database_url) as connection:
        found = find(connection, Selection(ids=[dead_letter_id], is_replayed=None))
    if not found:
        console.print(f"No dead letter has id {dead_letter_id}; see `opsgraph dead-letters list`.")
        raise typer.Exit(1)
    (letter,) = found
    contracts = load_contracts()
    console.print(
        f"{letter.partition} offset {letter.kafka_offset}, topic id {letter.topic_id}", markup=False
    )
    console.print(f"{letter.error_class}: {letter.error_message}", soft_wrap=True, markup=False)
    console.print(f"key {letter.message_key!r}, headers {headers_from_json(letter.headers)!r}", markup=False)
    if letter.replayed_at:
        console.print(f"landed at {letter.replayed_at:%F %T} by replay, batch {letter.replay_batch_id}")
    payload = letter.payload or b""
    console.print("\n".join(hex_lines(payload)), markup=False, highlight=False)
    catalog = landing_services(environment).schema_catalog(contracts)
    decoded = partial_decode(payload, contracts[letter.topic], catalog)
    for name, value in decoded.fields.items():
        console.print(f"  {name} = {value!r:.200}", markup=False)
    console.print(decoded.note, soft_wrap=True, markup=False)


@letters_app.command("replay")
def replay_letters(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids from `dead-letters list`.")] = None,
    topic: Annotated[str | None, typer.Option(help="All open ones of this topic.")] = None,
    error_class: Annotated[str | None, typer.Option(help="All open ones of this class.")] = None,
) -> None:
    """Land refused messages after a fix of the contract, with a new known time.

    Example: `opsgraph dead-letters replay 17 18`, `opsgraph dead-letters replay --topic quality-metrics`
    """
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.dead_letters import Selection, replay

    if not (ids or topic or error_class):
        raise typer.BadParameter("Name ids, --topic or --error-class.")
    selection = Selection(ids=ids or (), topic=topic, error_class=error_class)
    report = replay(landing_services(Environment()), load_contracts(), selection)
    console.print(
        f"{report.landed} landed, {report.discarded} discarded by contract, {len(report.refused)} still "
        "refused; the lake takes them with its next landing."
    )
    for dead_letter_id, reason in report.refused:
        console.print(f"  {dead_letter_id}: {reason}", soft_wrap=True, markup=False)
