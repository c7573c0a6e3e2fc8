"""How soon a change of 1 % of the documents is found, over 20,000 chunks, in process.

`make bench ONLY=index_change`. The public runbooks five times over, as files with front matter; a sentence
is written into every hundredth file, and the clock runs from reading the folder until the build that the
alias names finds every one of them. Vectors of the first corpus are kept from before, those of the change
are made within the time that is measured.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg

from deployment.embedded import postgres
from deployment.embedded.service import running
from orchestration.environment import Environment
from orchestration.figures import Figure, report
from orchestration.migrations import upgrade
from rag_assets.chunking import ChunkerSettings
from rag_assets.documents import read_folder
from rag_assets.embedding import MiniLmEmbedder
from rag_assets.embedding_cache import FileKeeper, PostgresKeeper
from rag_assets.index.build import BuildStatus, build_index
from rag_assets.index.builds import IndexBuild, current_build
from rag_assets.index.edge import EdgeStore
from rag_assets.index.live import LiveIndex
from rag_assets.index.points import make_points
from rag_assets.index.refresh import read_source
from rag_assets.index.serving import open_retriever
from rag_assets.retrieval import Retriever, SearchRequest
from tests.conftest import free_port

COMMAND = "make bench ONLY=index_change"
ASKED_ON = date(2026, 11, 21)
TENANT, SOURCE = "public-runbooks", "runbooks"
COPIES, EVERY = 5, 100


@dataclass(frozen=True)
class Spent:
    """Seconds of one change, and how much it was."""

    read: float
    built: float
    opened: float
    documents: int
    embedded: int
    chunks: int

    @property
    def total(self) -> float:
        """From reading the folder until everything is found."""
        return self.read + self.built + self.opened


def main() -> None:
    """Measure, report, and fail when a bar is not held."""
    environment = Environment()
    embedder = MiniLmEmbedder(environment.state_dir / "models")
    with tempfile.TemporaryDirectory(prefix="opsgraph-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # Postgres runs as another user when this process is root
        files = _copies(environment.data_dir / "runbooks" / "corpus", folder / "documents")
        port = free_port()
        postgres.initialise(folder / "postgres")
        with running(postgres.service(folder / "postgres", port), folder / "logs"):
            postgres.create_databases(port, ["opsgraph"])
            url = f"postgresql://postgres@127.0.0.1:{port}/opsgraph"
            upgrade(url)
            _keep_vectors(url, environment, embedder)
            spent = _measured(url, folder, files, embedder)
    figures = [
        Figure("index_change_1_percent_searchable", spent.total, "s", "lower", bar=5.0, command=COMMAND),
        Figure("index_change_read", spent.read, "s", "lower", command=COMMAND),
        Figure("index_change_build_and_verify", spent.built, "s", "lower", command=COMMAND),
        Figure("index_change_open", spent.opened, "s", "lower", command=COMMAND),
        Figure("index_change_documents", spent.documents, "documents", "higher", command=COMMAND),
        Figure("index_change_texts_embedded", spent.embedded, "texts", "lower", command=COMMAND),
        Figure("index_change_chunks", spent.chunks, "chunks", "higher", command=COMMAND),
    ]
    report("index_change", figures)
    if any(figure.holds is False for figure in figures):
        raise SystemExit("index_change: a bar is not held")


def _measured(url: str, folder: Path, files: list[Path], embedder: MiniLmEmbedder) -> Spent:
    store = EdgeStore(folder / "index")
    documents = folder / "documents"
    read_source(url, documents, SOURCE, TENANT)
    build_index(url, store, embedder)

    def read_alias() -> IndexBuild | None:
        with psycopg.connect(url, autocommit=True) as connection:
            return current_build(connection)

    def opened(build: IndexBuild, answering: tuple[IndexBuild, Retriever] | None) -> Retriever:
        with psycopg.connect(url, autocommit=True) as connection:
            return open_retriever(connection, store, build, embedder, answering)

    live = LiveIndex(read_alias, opened)
    live.refresh()
    marks: dict[Path, str] = {}
    for number, path in enumerate(files[::EVERY]):
        name = "".join(chr(ord("a") + int(digit)) for digit in f"{number:03d}")
        marks[path] = f"zeb{name}ra qu{name}agga ok{name}api"
        path.write_text(f"{marks[path]}\n\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    started = time.perf_counter()
    read_source(url, documents, SOURCE, TENANT)
    read = time.perf_counter()
    outcome = build_index(url, store, embedder)
    built = time.perf_counter()
    live.refresh()
    with live.lease() as (build, retriever):
        done = time.perf_counter()
        for path, mark in marks.items():
            hits = retriever.search(SearchRequest(mark, TENANT, ASKED_ON, top_k=20))
            if not any(mark in hit.passage.text for hit in hits):
                raise SystemExit(f"the change of {path} is not found in {build.build_id}")
    live.close()
    if outcome.status is not BuildStatus.PUBLISHED or outcome.base_build_id is None:
        raise SystemExit(f"expected a small change of the live build, got {outcome}")
    return Spent(
        read=read - started,
        built=built - read,
        opened=done - built,
        documents=len(marks),
        embedded=outcome.embedded_count,
        chunks=outcome.chunk_count,
    )


def _copies(source: Path, target: Path) -> list[Path]:
    """The runbooks several times, each copy in a folder of its own."""
    written: list[Path] = []
    for copy in range(COPIES):
        for path in sorted(source.rglob("*.md")):
            place = target / str(copy) / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
            written.append(place)
    return written


def _keep_vectors(url: str, environment: Environment, embedder: MiniLmEmbedder) -> None:
    """The vectors of the first corpus, which are not what is measured."""
    documents = read_folder(environment.data_dir / "runbooks" / "corpus", TENANT).documents
    with (
        closing(FileKeeper(environment.state_dir / "cache" / "embeddings.sqlite")) as keeper,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        make_points(documents, embedder, _Both(keeper, connection), ChunkerSettings())


class _Both:
    """Gives what the file has, and writes it into `rag.embeddings` on the way."""

    def __init__(self, file: FileKeeper, connection: psycopg.Connection) -> None:
        self._file, self._table = file, PostgresKeeper(connection)

    def load(self, hashes: Sequence[str], embedder: str) -> dict[str, bytes]:
        """Vectors that the file has."""
        found = self._file.load(hashes, embedder)
        self._table.save(found, embedder, MiniLmEmbedder.dimension)
        return found

    def save(self, vectors: dict[str, bytes], embedder: str, dimension: int) -> None:
        """Keep vectors in both."""
        self._file.save(vectors, embedder, dimension)
        self._table.save(vectors, embedder, dimension)


if __name__ == "__main__":
    main()
