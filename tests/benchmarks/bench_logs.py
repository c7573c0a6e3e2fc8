"""How fast log lines go through parse, templates, windows and detection, beside drain3 and a plain loop.

`make bench ONLY=logs`. One process on the machine's two cores; also the generator's rate, and memory with
10,000 sources and a bomb of templates.
"""

import gc
import json
import re
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import median

import polars as pl
from drain3.drain import Drain

from orchestration.figures import Figure, report
from orchestration.ingest.logs.detector import LogDetector
from orchestration.ingest.logs.evidence import WindowLines
from orchestration.ingest.logs.judging import judge_window
from orchestration.ingest.logs.lines import split_metrics
from orchestration.ingest.logs.messages import read_messages
from orchestration.ingest.logs.templates import DEPTH, MASKS, MOST_TEMPLATES, SIMILARITY, TemplateMiner
from orchestration.ingest.simulators.logs.config import load_config
from orchestration.ingest.simulators.logs.lines import LogGenerator
from orchestration.ingest.windows import aggregate

COMMAND = "make bench ONLY=logs"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
RATE, MINUTES = 1_000, 2
LINES = RATE * 60 * MINUTES
BATCH = 20_000
ROUNDS = 3


def payloads() -> tuple[list[bytes], float]:
    """Two minutes of lines at 1,000 a second with anomalies, and how many were made a second."""
    config = replace(load_config(), anomaly_probability=0.0005)
    generator = LogGenerator(config, 7, BEGIN, RATE)
    begun = time.perf_counter()
    made = [line.encode("bench", with_truth=False) for line in generator.lines(LINES)]
    return made, LINES / (time.perf_counter() - begun)


def own(messages: list[bytes]) -> None:
    """The service's work on a stream: batches of 20,000, windows judged as they end."""
    miner, detector = TemplateMiner(), LogDetector()
    waiting: list[pl.DataFrame] = []
    minute = BEGIN
    for at in range(0, len(messages), BATCH):
        read = read_messages(messages[at : at + BATCH], BEGIN + timedelta(days=1))
        named = miner.assign(read.lines)
        aggregate(named, minute)
        waiting.append(named)
        newest = named["event_at"].max()
        assert isinstance(newest, datetime)
        while newest >= minute + timedelta(minutes=1):
            minute = judge(detector, waiting, minute)
    judge(detector, waiting, minute)


def judge(detector: LogDetector, waiting: list[pl.DataFrame], minute: datetime) -> datetime:
    """Judge one window with its looks; the rest waits on."""
    lines, end = pl.concat(waiting), minute + timedelta(minutes=1)
    window, metrics = split_metrics(lines.filter(pl.col("event_at") < end))
    list(judge_window(detector, WindowLines(minute, end, window, metrics)))
    waiting[:] = [lines.filter(pl.col("event_at") >= end)]
    return end


def drain3_alone(messages: list[str]) -> None:
    """drain3 on the same texts, with the same masks applied line by line."""
    drain = Drain(depth=DEPTH, sim_th=SIMILARITY, max_children=100)
    masks = [(re.compile(pattern), name) for pattern, name in MASKS]
    for message in messages:
        text = message
        for pattern, name in masks:
            text = pattern.sub(name, text)
        drain.add_log_message(text)


def drain3_unmasked(messages: list[str]) -> None:
    """drain3 on the texts as they are: less work, and a template per number."""
    drain = Drain(depth=DEPTH, sim_th=SIMILARITY, max_children=100)
    for message in messages:
        drain.add_log_message(message)


def plain_loop(messages: list[bytes]) -> None:
    """What a script would do: read each line, count lines and errors by minute and source."""
    counts: Counter[tuple[str, str, bool]] = Counter()
    for payload in messages:
        record = json.loads(payload)
        is_error = record["level"] in ("ERROR", "CRITICAL")
        counts[record["event_at"][:16], record["source"], is_error] += 1


def rate(count: int, work: Callable[[], None]) -> float:
    """Lines a second, median of three rounds."""
    rates: list[float] = []
    for _ in range(ROUNDS):
        gc.collect()
        begun = time.perf_counter()
        work()
        rates.append(count / (time.perf_counter() - begun))
    return median(rates)


def memory_of_a_bomb() -> tuple[float, int]:
    """MiB that 10,000 sources and 75,000 different texts add, and templates kept."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    miner, detector = TemplateMiner(), LogDetector()
    for minute in range(6):
        starts_at = BEGIN + timedelta(minutes=minute)
        records = [
            json.dumps({
                "tenant_id": "bomb", "event_at": (starts_at + timedelta(milliseconds=n)).isoformat(),
                "level": "INFO", "source": f"source-{n % 10_000}",
                "message": f"{_word(minute * 12_500 + n)} {_word(n * 7919)} went {_word(n + 31)}",
            }).encode()
            for n in range(12_500)
        ]  # fmt: skip
        lines = miner.assign(read_messages(records, starts_at + timedelta(minutes=1)).lines)
        aggregate(lines, None)
        list(judge_window(detector, WindowLines(starts_at, starts_at + timedelta(minutes=1), lines)))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (after - before) / 1024, len(miner.templates)


def _word(number: int) -> str:
    letters = ""
    for _ in range(6):
        number, digit = divmod(number * 48_271 + 11, 26)
        letters += chr(97 + digit)
    return letters


def main() -> None:
    """Measure and report."""
    grown, templates = memory_of_a_bomb()  # first: later peaks would hide it
    messages, made = payloads()
    texts = [str(json.loads(payload)["message"]) for payload in messages[: LINES // 4]]
    ours = rate(LINES, lambda: own(messages))
    masked = rate(len(texts), lambda: drain3_alone(texts))
    bare = rate(len(texts), lambda: drain3_unmasked(texts))
    loop = rate(LINES, lambda: plain_loop(messages))
    figures = [
        Figure("log_pipeline_rate", ours, "lines/s", "higher", bar=60_000,
               peer="drain3 alone, masked", peer_value=masked, command=COMMAND),
        Figure("log_pipeline_to_drain3", ours / max(masked, bare), "ratio", "higher", bar=0.5,
               command=COMMAND),
        Figure("drain3_unmasked_rate", bare, "lines/s", "higher", command=COMMAND),
        Figure("log_plain_loop_rate", loop, "lines/s", "higher", command=COMMAND),
        Figure("log_generator_rate", made, "lines/s", "higher", bar=50_000, command=COMMAND),
        Figure("log_bomb_memory", grown, "MiB", "lower", bar=500, command=COMMAND),
        Figure("log_bomb_templates", templates, "templates", "lower", bar=MOST_TEMPLATES, command=COMMAND),
    ]  # fmt: skip
    report("logs", figures)


if __name__ == "__main__":
    main()
