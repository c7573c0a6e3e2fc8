"""Pull sources: a paged HTTP API or a table of another database, read from a cursor on.

What is pulled is described by a file (`PullSource`), so that a plant adds one without code. The cursor moves
after the broker has acknowledged what lies before it; `cursors` says how far. Avoid schedules: Dagster or
cron calls `pull`.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import psycopg
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestration.ingest.contracts import ContractError, TopicContract
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.intake.cursors import CursorTrack
from orchestration.ingest.intake.files import row_of
from orchestration.ingest.intake.positions import cursor_of, move_cursor
from orchestration.ingest.intake.sending import KEPT_REASONS, Intake, IntakeSender, SourceRow

TRIES = 4
BACKOFF_S = 0.5
RETRIED = frozenset({429, 500, 502, 503, 504})
FIRST_RUN = re.compile(r"coalesce\s*\([^)]*:cursor|:cursor\b[^()]*\)?\s*is\s+null", re.IGNORECASE)
"""A query that gives rows while `:cursor` is NULL; `id > NULL` is never true."""


class PullSource(BaseModel):
    """One pull source, as its YAML file says.

    Attributes:
        name: Name of its cursor.
        topic: Topic that its rows go to.
        kind: `api` or `database`.
        url: Address of the first page, or SQLAlchemy URL of the database.
        items: Path of the rows in a page, `data.items`; empty where the page is a list.
        next_page: Path of the next page's address, or of the token for `page_parameter`.
        page_parameter: Query parameter that takes the token; unset where `next_page` is an address.
        cursor_parameter: Query parameter that takes the cursor.
        cursor_field: Field whose highest value is the cursor: a growing id or instant. Rows that come later
            with a value that was read before are not seen, so an id is better than an instant.
        first_cursor: Cursor of the first run. Without it an API is asked without the parameter, and the query
            of a database must itself take NULL for "everything".
        ascending: Whether an API gives rows with ascending cursor fields, over all pages. Then the cursor
            moves page by page; else after the last page only. A database's query must always ascend.
        headers: HTTP headers, for example for authorization.
        query: `select` that orders by the cursor field and compares it with `:cursor`.
        fields: Contract field to source field, where the names differ.
        constants: Contract fields with one value for all rows, for example `tenant_id`.
        page_rows: Rows per page of a database.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    topic: str
    kind: Literal["api", "database"]
    url: str
    cursor_field: str
    items: str = ""
    next_page: str = ""
    page_parameter: str = ""
    cursor_parameter: str = ""
    first_cursor: int | float | str | None = None
    ascending: bool = False
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: str = ""
    fields: Mapping[str, str] = Field(default_factory=dict)
    constants: Mapping[str, Any] = Field(default_factory=dict)
    page_rows: int = 10_000

    @model_validator(mode="after")
    def _is_complete(self) -> "PullSource":
        if self.kind == "database" and ":cursor" not in self.query:
            raise ValueError("a database needs a `query` that compares the cursor field with `:cursor`")
        if self.kind == "database" and self.first_cursor is None and not FIRST_RUN.search(self.query):
            raise ValueError(
                "on the first run `:cursor` is NULL, and a comparison with it gives no row, ever: set "
                "`first_cursor`, or compare with `coalesce(:cursor, …)`"
            )
        if self.kind == "api" and not self.cursor_parameter:
            raise ValueError("an api needs the `cursor_parameter` that takes the cursor")
        return self


@dataclass(frozen=True)
class Page:
    """Rows that were read together, and the cursor behind them; None where it must not move yet."""

    rows: list[SourceRow]
    cursor: Any | None


def load_source(path: Path) -> PullSource:
    """Read a source's file.

    Raises:
        ContractError: The file is no description of a source; says what is wrong.
    """
    try:
        return PullSource.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValidationError, OSError) as error:
        raise ContractError(f"{path}: {error}") from None


def pull(
    source: PullSource,
    connection: psycopg.Connection[Any],
    bootstrap_servers: str,
    contracts: Mapping[str, TopicContract],
    max_pages: int | None = None,
    schemas: SchemaCatalog | None = None,
) -> Intake:
    """Send what is new since the cursor, page by page.

    Args:
        source: What to pull.
        connection: Connection in autocommit mode, for the cursor.
        bootstrap_servers: `host:port,…` of the cluster.
        contracts: Contracts by topic.
        max_pages: Pages at most; all by default.
        schemas: Where schema ids come from; the ids pinned in the repository by default.

    Returns:
        Rows that reached Kafka by this run.

    Raises:
        ContractError: The source does not answer as described; the cursor stays behind what was read whole.
        DeliveryError: The broker did not take a page.
    """
    if max_pages is not None and source.kind == "api" and not source.ascending:
        raise ContractError(
            f"{source.name}: without `ascending: true` the cursor moves after the last page only, so a run "
            f"of {max_pages} pages would read the same ones for ever. Leave the limit out, or add that field"
        )
    sender = IntakeSender(bootstrap_servers, contracts, source.topic, schemas)
    known = cursor_of(connection, source.name)
    begin = source.first_cursor if known is None else known
    pages = _api_pages(source, begin) if source.kind == "api" else _database_pages(source, begin)
    total = unreported = Intake(source.topic, 0, 0)
    for number, page in enumerate(pages, 1):
        intake = sender.send(page.rows)
        total, unreported = _sum(total, intake), _sum(unreported, intake)
        if page.cursor is not None:
            move_cursor(connection, source.name, page.cursor, unreported)
            unreported = Intake(source.topic, 0, 0)
        if number == max_pages:
            break
    return total


def _sum(one: Intake, other: Intake) -> Intake:
    reasons = (*one.reasons, *other.reasons)[:KEPT_REASONS]
    return Intake(one.topic, one.sent + other.sent, one.refused + other.refused, reasons)


def _api_pages(source: PullSource, begin: Any) -> Iterator[Page]:
    track = CursorTrack(source.name, source.cursor_field, begin, source.ascending)
    parameters = {} if begin is None else {source.cursor_parameter: begin}
    url: str | None = source.url
    with httpx.Client(headers=dict(source.headers), timeout=30, follow_redirects=True) as client:
        while url:
            body = _fetch(client, source, url, parameters)
            items = _at(body, source.items)
            if not isinstance(items, list):
                raise ContractError(f"{source.name}: {url} has no list at {source.items or 'its top'!r}")
            found = cast("list[Any]", items)
            following = _at(body, source.next_page) if source.next_page else None
            cursor = track.after(found, is_last=not following)
            yield Page([_row(source, f"{url}#{n}", item) for n, item in enumerate(found)], cursor)
            if not following:
                return
            if source.page_parameter:
                parameters = {**parameters, source.page_parameter: following}
            else:
                url, parameters = str(httpx.URL(url).join(str(following))), {}


def _fetch(client: httpx.Client, source: PullSource, url: str, parameters: Mapping[str, Any]) -> Any:
    """One page; what may pass is tried again, later each time."""
    for attempt in range(1, TRIES + 1):
        try:
            answer = client.get(url, params=dict(parameters) or None)
            if answer.status_code not in RETRIED or attempt == TRIES:
                answer.raise_for_status()
                return answer.json()
            wait = float(answer.headers.get("retry-after", BACKOFF_S * 2**attempt))
        except httpx.TransportError as error:
            if attempt == TRIES:
                raise ContractError(f"{source.name}: {url}: {error}, {TRIES} times. {_kept()}") from None
            wait = BACKOFF_S * 2**attempt
        except (httpx.HTTPStatusError, ValueError) as error:
            raise ContractError(f"{source.name}: {url}: {error}. {_kept()}") from None
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _kept() -> str:
    return "What came before is in Kafka and its cursor is kept; the next run goes on there"


def _database_pages(source: PullSource, begin: Any) -> Iterator[Page]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    track = CursorTrack(source.name, source.cursor_field, begin, is_ascending=True)
    try:
        engine = create_engine(source.url)
    except (SQLAlchemyError, ImportError) as error:
        raise ContractError(f"{source.name}: the database can't be opened: {error}") from None
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.execute(text(source.query), {"cursor": begin})
            parts = ([dict(row) for row in part] for part in result.mappings().partitions(source.page_rows))
            items = next(parts, None)
            for number in count():
                if items is None:
                    return
                following = next(parts, None)
                cursor = track.after(items, is_last=following is None)
                place = f"{source.name}:{number * source.page_rows}"
                yield Page([_row(source, f"{place}+{n}", item) for n, item in enumerate(items)], cursor)
                items = following
    except SQLAlchemyError as error:
        raise ContractError(f"{source.name}: {str(error).splitlines()[0]}. {_kept()}") from None
    finally:
        engine.dispose()


def _row(source: PullSource, place: str, item: Any) -> SourceRow:
    if not isinstance(item, dict):
        return SourceRow(place, {"item": item})
    values = cast("dict[str, Any]", item)
    if source.fields:
        values = {name: values.get(origin) for name, origin in source.fields.items()}
    return row_of(place, {**values, **source.constants})


def _at(body: Any, path: str) -> Any:
    """The value at a dotted path; None where it leads nowhere."""
    for name in filter(None, path.split(".")):
        body = cast("dict[str, Any]", body).get(name) if isinstance(body, dict) else None
    return body
