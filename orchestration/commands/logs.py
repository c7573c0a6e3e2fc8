"""Verbs of the logs: `lines generate|serve|windows`, `eval nezha|hdfs-sessions|loghub`, `replay` of log sets.

Add a verb here when a person wants to do to logs what the services do by themselves. Avoid logic: it belongs
to `orchestration.ingest.logs` and `orchestration.ingest.simulators.logs`.
"""

import json
import logging
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from orchestration.commands.knowledge import evaluations
from orchestration.commands.sources import replay_app
from orchestration.environment import Environment

if TYPE_CHECKING:
    from orchestration.ingest.logs.nezha_evaluation import NezhaResult
    from orchestration.ingest.logs.window_service import ServiceCounts
    from orchestration.ingest.simulators.logs.outputs import Output

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of the data set.")]
Seed = Annotated[int, typer.Option(help="Seed; the same seed writes the same lines.")]
Config = Annotated[
    Path | None, typer.Option(help="Configuration of the generator; the project's by default.")
]
Tenant = Annotated[str, typer.Option(help="Tenant of the messages.")]

FIGURES = ("recall", "precision", "localisation_top1", "localisation_top3", "median_delay_s", "f1")
SHOWN_FAULTS = 40
console = Console()
logs_app = typer.Typer(help="Write, count and judge log lines.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the verbs to the `opsgraph` command."""
    logs_app.command("generate")(generate)
    logs_app.command("serve")(serve)
    logs_app.command("windows")(windows)
    app.add_typer(logs_app, name="lines")
    evaluations.command("nezha")(eval_nezha)
    evaluations.command("hdfs-sessions")(eval_hdfs_sessions)
    evaluations.command("loghub")(eval_loghub)
    for name in ("nezha", "loghub", "hdfs-sessions"):
        replay_app.command(name)(_replay_verb(name))


def generate(
    count: Annotated[int, typer.Option(help="Lines to write.", min=1)] = 1000,
    to: Annotated[str, typer.Option(help="stdout, file:PATH (rotating), jsonl:PATH or kafka.")] = "stdout",
    continuous: Annotated[bool, typer.Option("--continuous", help="Go on until stopped.")] = False,
    interval: Annotated[
        float, typer.Option(help="Seconds between two rounds of `--count` lines.", min=0)
    ] = 1.0,
    rate: Annotated[float, typer.Option(help="Lines per second of the lines' own time.", min=0.001)] = 1000.0,
    seed: Seed = 7,
    config: Config = None,
    no_truth: Annotated[bool, typer.Option("--no-truth", help="Leave the labels out.")] = False,
) -> None:
    """Write log lines with anomalies.

    Example: `opsgraph lines generate --count 100`,
    `opsgraph lines generate --to kafka --count 1000 --continuous --interval 1.0`
    """
    from orchestration.ingest.producer import DeliveryError
    from orchestration.ingest.simulators.logs.config import DEFAULT_CONFIG, LogConfigError, load_config
    from orchestration.ingest.simulators.logs.lines import LogGenerator
    from orchestration.ingest.simulators.logs.outputs import KafkaOutput

    try:
        settings = load_config(config or DEFAULT_CONFIG)
    except LogConfigError as error:
        _fail(str(error))
    generator = LogGenerator(settings, seed, datetime.now(UTC), rate)
    output = _output(to, settings.tenant_id, with_truth=not no_truth)
    begun, written = time.perf_counter(), 0
    try:
        while True:
            for line in generator.lines(count):
                output.write(line)
            written += count
            if not continuous:
                break
            if isinstance(output, KafkaOutput):
                output.flush()
            time.sleep(interval)
    except KeyboardInterrupt:
        pass
    except DeliveryError as error:
        _fail(str(error))
    output.close()
    took = time.perf_counter() - begun
    told = Console(stderr=True)
    told.print(f"{written:,} lines in {took:.1f} s ({written / took:,.0f}/s), seed {seed}", highlight=False)
    if isinstance(output, KafkaOutput):
        report = output.report
        told.print(f"sent {report.sent:,}, delivered {report.delivered:,}, tried again {report.retries}")


def _output(to: str, tenant_id: str, *, with_truth: bool) -> "Output":
    from orchestration.ingest.simulators.logs import outputs

    kind, _, path = to.partition(":")
    if kind == "stdout":
        return outputs.TerminalOutput()
    if kind == "file" and path:
        return outputs.RotatingFileOutput(Path(path))
    if kind == "jsonl" and path:
        return outputs.JsonLinesOutput(Path(path), tenant_id, with_truth=with_truth)
    if kind == "kafka":
        servers = Environment().kafka_bootstrap_servers
        return outputs.KafkaOutput.to(servers, tenant_id, with_truth=with_truth)
    raise typer.BadParameter(f"{to!r}: give stdout, file:PATH, jsonl:PATH or kafka.")


def serve(
    port: Annotated[int, typer.Option(help="Port on the loopback address.")] = 8010,
    seed: Seed = 7,
    config: Config = None,
) -> None:
    """Serve generated lines: /api/health, /api/generate, /api/stream, /api/inject-anomaly, /ws/logs.

    Example: `opsgraph lines serve --port 8010`
    """
    import uvicorn

    from orchestration.ingest.simulators.logs.config import DEFAULT_CONFIG, LogConfigError, load_config
    from orchestration.ingest.simulators.logs.service import create_app

    try:
        settings = load_config(config or DEFAULT_CONFIG)
    except LogConfigError as error:
        _fail(str(error))
    uvicorn.run(create_app(settings, seed), host="127.0.0.1", port=port, log_level="info")


def windows(
    follow: Annotated[
        bool, typer.Option("--follow", help="Count and judge lines as they come, until stopped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count the log lines that wait into minutes, and judge the minutes that are over.

    Example: `opsgraph lines windows --follow`
    """
    from orchestration.ingest.logs.window_service import WindowService
    from orchestration.ingest.logs.window_store import PositionMovedError
    from orchestration.ingest.offsets import LandingError

    environment = Environment()
    service = WindowService(environment.database_url, environment.kafka_bootstrap_servers)
    if follow:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: service.stop())
        service.follow()
        return
    try:
        counts = service.run(until_end=True)
    except (LandingError, PositionMovedError) as error:
        _fail(str(error))
    _print_counts(counts, as_json)


def eval_nezha(
    path: Folder,
    warm: Annotated[
        Path | None, typer.Option(help="Day that the detector sees before, without its labels.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge detection and naming on a day of injected faults, the mission's spike rule beside it.

    Example: `opsgraph eval nezha ../shared/data/nezha/2023-01-29 --json`
    """
    from orchestration.ingest.logs.nezha_evaluation import evaluate_nezha, evaluate_rule
    from orchestration.ingest.replay.nezha_files import NezhaFormatError, read_nezha

    try:
        day = read_nezha(path)
        before = read_nezha(warm) if warm else None
    except NezhaFormatError as error:
        _fail(str(error))
    result, rule = evaluate_nezha(day, before), evaluate_rule(day)
    if as_json:
        figures = _figures(result)
        print(json.dumps({**figures, "mission_rule": _figures(rule)}, indent=2))  # noqa: T201
        return
    table = Table("", *FIGURES)
    for name, item in (("detector", result), ("mission's rule", rule)):
        table.add_row(
            name, *(f"{value:.3f}" if value is not None else "-" for value in _figures(item).values())
        )
    console.print(table)
    faults = Table("injected at (UTC)", "service", "kind", "delay s", "named")
    for item in result.faults[:SHOWN_FAULTS]:
        delay = "missed" if item.delay_s is None else f"{item.delay_s:.0f}"
        named = ", ".join(item.suspects[:3])
        faults.add_row(f"{item.fault.at:%m-%d %H:%M:%S}", item.fault.source, item.fault.kind, delay, named)
    console.print(faults)
    false = {alert.starts_at: alert for alert in result.false_alerts}
    for starts_at, alert in false.items():
        console.print(f"false alarm {starts_at:%H:%M}: {alert.suspects[0][0]}", highlight=False)


def eval_hdfs_sessions(path: Folder, as_json: AsJson = False) -> None:
    """Judge sessions of events, trained on the normal sessions of the training split.

    Example: `opsgraph eval hdfs-sessions ../shared/data/hdfs_sessions --json`
    """
    from orchestration.ingest.logs.session_evaluation import (
        SessionFormatError,
        evaluate_sessions,
        read_sessions,
    )

    try:
        result = evaluate_sessions(read_sessions(path))
    except SessionFormatError as error:
        _fail(str(error))
    if as_json:
        missed = [{"events": events, "sessions": n} for events, n in result.unseen]
        print(json.dumps({**_figures(result), "not_seen": missed}, indent=2))  # noqa: T201
        return
    _print_figures(result)
    for events, count in result.unseen[:5]:
        console.print(f"not seen, {count} sessions: {events}", highlight=False)
    console.print(
        "Their events and counts are those of normal sessions: nothing in the events tells them apart."
    )


def eval_loghub(path: Folder, as_json: AsJson = False) -> None:
    """Judge the detector on a labelled Loghub sample, line by line.

    Example: `opsgraph eval loghub ../shared/data/loghub/BGL --json`
    """
    from orchestration.ingest.logs.loghub_evaluation import LoghubFormatError, evaluate_loghub

    try:
        result = evaluate_loghub(path)
    except LoghubFormatError as error:
        _fail(str(error))
    if as_json:
        print(json.dumps(_figures(result), indent=2))  # noqa: T201
        return
    _print_figures(result)


def _replay_verb(name: str) -> Any:
    def replay(
        path: Folder,
        tenant: Tenant = name,
        as_json: AsJson = False,
    ) -> None:
        from orchestration.ingest.logs.replayed_topic import judge_replayed
        from orchestration.ingest.logs.window_store import PositionMovedError
        from orchestration.ingest.offsets import LandingError
        from orchestration.ingest.replay.log_sets import LogSetError, send_log_set

        environment = Environment()
        servers = environment.kafka_bootstrap_servers
        try:
            sent = send_log_set(name, path, servers, tenant)
            found = judge_replayed(environment.database_url, servers, tenant)
        except (LogSetError, LandingError, PositionMovedError) as error:
            _fail(str(error))
        if as_json:
            print(json.dumps({"sent": sent, **vars(found)}))  # noqa: T201
            return
        console.print(
            f"{sent:,} lines of {path} sent. Tenant {tenant} now has {found.lines:,} lines in "
            f"{found.windows_closed:,} judged minutes, {found.alerts:,} of them with signals "
            f"({found.signals:,})."
            "\n`opsgraph incidents` groups them, `opsgraph incidents list --all` shows them.",
            highlight=False,
        )
        if found.late:
            console.print(
                f"{found.late:,} lines came after their minute was judged: they are counted, not judged. "
                "Replay under another --tenant to have them judged.",
                highlight=False,
            )

    replay.__doc__ = (
        f"Send a {name} folder through Kafka and the log windows, as if it were written now.\n\n"
        f"Example: `opsgraph replay {name} PATH`"
    )
    return replay


def _print_counts(counts: "ServiceCounts", as_json: bool) -> None:
    if as_json:
        print(json.dumps(vars(counts)))  # noqa: T201
        return
    console.print(
        f"{counts.lines:,} lines counted ({counts.late:,} late, {counts.refused:,} refused), "
        f"{counts.windows_closed:,} minutes judged, {counts.alerts:,} alert with {counts.signals:,} signals",
        highlight=False,
    )
    if counts.lost:
        console.print(
            f"{counts.lost:,} offsets were deleted by the topic's retention before they were counted; their "
            "minutes lack those lines. `opsgraph ledger check raw_logs` says whether they were landed."
        )


def _figures(result: "NezhaResult | object") -> dict[str, float | None]:
    found = {name: getattr(result, name, None) for name in FIGURES}
    return {name: round(value, 4) if value is not None else None for name, value in found.items()}


def _print_figures(result: object) -> None:
    table = Table(*FIGURES)
    table.add_row(*(f"{value:.3f}" if value is not None else "-" for value in _figures(result).values()))
    console.print(table)


def _fail(message: str) -> NoReturn:
    typer.secho(message, err=True, fg="red")
    raise typer.Exit(1)
