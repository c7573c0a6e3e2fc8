"""The warehouse verbs: what they refuse, and what the documentation's server allows."""

import threading
import urllib.request
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from orchestration.commands import warehouse


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    warehouse.register(app)
    return app


@pytest.mark.parametrize(
    "arguments", [["warehouse", "build", "--as-of", "soon"], ["warehouse", "drop", "soon"]]
)
def test_unreadable_instant_is_refused_before_anything_runs(app: typer.Typer, arguments: list[str]) -> None:
    """Forbids a build of everything, or a drop of the warehouse, when the instant can't be read."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "is no ISO 8601 instant" in " ".join(result.stderr.split())


def test_docs_server_forbids_requests_to_anywhere_else(tmp_path: Path) -> None:
    """Forbids that the page reports its readers to a collector on the internet."""
    (tmp_path / "index.html").write_text("<html></html>")
    with warehouse.docs_server(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}/") as response:
            policy = response.headers["Content-Security-Policy"]
        server.shutdown()
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy


def test_taken_port_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Forbids a stack trace where another docs server runs already."""
    with warehouse.docs_server(tmp_path, 0) as server:
        port = server.server_address[1]
        with pytest.raises(typer.Exit):
            warehouse.docs_server(tmp_path, port)
    assert f"Port {port} can't be opened" in capsys.readouterr().err.replace("\n", " ")
