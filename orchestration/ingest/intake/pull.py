"""Pull sources: a paged HTTP API or a table of another database, read from a cursor on.

What is pulled is described by a file (`PullSource`), so that a plant adds one without code. The cursor moves
page by page, after the broker has acknowledged the page. Avoid schedules: Dagster or cron calls `pull`.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import httpx
import psycopg
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestration.ingest.contracts import ContractError, TopicContract
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.ingest.intake.files import row_of
from orchestration.ingest.intake.positions import cursor_of, move_cursor
from orchestration.ingest.intake.sending import Intake, IntakeSender, SourceRow

TRIES = 4
BACKOFF_S = 0.5
RETRIED = frozenset({429, 500, 502, 503, 504})


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
        cursor_field: Field whose highest value is the cursor: a growing id or instant.
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
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: str = ""
    fields: Mapping[str, str] = Field(default_factory=dict)
    constants: Mapping[str, Any] = Field(default_factory=dict)
    page_rows: int = 10_000

    @model_validator(mode="after")
    def _is_complete(self) -> "PullSource":
        if self.kind == "database" and ":cursor" not in self.query:
            raise ValueError("a database needs a `query` that compares the cursor field with `:cursor`")
        if self.kind == "api" and not self.cursor_parameter:
            raise ValueError("an api needs the `cursor_parameter` that takes the cursor")
        return self


@dataclass(frozen=True)
class Page:
    """Rows that were read together, and where to go on."""

    rows: list[SourceRow]
    cursor: Any


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
        ContractError: The source does not answer as described; the cursor stays behind the last full page.
        DeliveryError: The broker did not take a page.
    """
    sender = IntakeSender(bootstrap_servers, contracts, source.topic, schemas)
    begin = cursor_of(connection, source.name)
    pages = _api_pages(source, begin) if source.kind == "api" else _database_pages(source, begin)
    sent, refused, reasons = 0, 0, list[str]()
    for number, page in enumerate(pages, 1):
        intake = sender.send(page.rows)
        move_cursor(connection, source.name, page.cursor, intake)
        sent, refused = sent + intake.sent, refused + intake.refused
        reasons.extend(intake.reasons)
        if number == max_pages:
            break
    return Intake(source.topic, sent, refused, tuple(reasons[:5]))


def _api_pages(source: PullSource, begin: Any) -> Iterator[Page]:
    cursor = begin
    parameters = {} if begin is None else {source.cursor_parameter: begin}
    url: str | None = source.url
    with httpx.Client(headers=dict(source.headers), timeout=30, follow_redirects=True) as client:
        while url:
            body = _fetch(client, source, url, parameters)
            items = _at(body, source.items)
            if not isinstance(items, list):
                raise ContractError(f"{source.name}: {url} has no list at {source.items or 'its top'!r}")
            found = cast("list[Any]", items)
            cursor = _highest(cursor, found, source.cursor_field)
            if found:
                yield Page([_row(source, f"{url}#{n}", item) for n, item in enumerate(found)], cursor)
            following = _at(body, source.next_page) if source.next_page else None
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

    engine = create_engine(source.url)
    cursor = begin
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.execute(text(source.query), {"cursor": begin})
            for number, part in enumerate(result.mappings().partitions(source.page_rows)):
                items = [dict(item) for item in part]
                cursor = _highest(cursor, items, source.cursor_field)
                place = f"{source.name}:{number * source.page_rows}"
                yield Page([_row(source, f"{place}+{n}", item) for n, item in enumerate(items)], cursor)
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


def _highest(cursor: Any, items: list[Any], name: str) -> Any:
    """The highest cursor so far, as JSON keeps it: instants as ISO text, which sorts as they do."""
    values: list[Any] = []
    for item in items:
        value = cast("dict[str, Any]", item).get(name) if isinstance(item, dict) else None
        if value is not None:
            values.append(value.isoformat() if isinstance(value, datetime) else value)
    return max([cursor, *values] if cursor is not None else values, default=cursor)
