"""Where the cluster lies, and locks that a crash leaves."""

import os
from pathlib import Path

import pytest

from deployment.embedded import postgres
from deployment.embedded.service import ServiceError


def test_lock_of_a_reused_process_id_is_removed(tmp_path: Path) -> None:
    """Forbids a server that won't start since another program got the process id of its dead forerunner."""
    lock = tmp_path / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{tmp_path}\n")  # alive, and not a Postgres of this folder
    assert postgres.clear_stale_lock(tmp_path)
    assert not lock.exists()


def test_half_written_lock_is_removed(tmp_path: Path) -> None:
    """Forbids a traceback over a lock that a full disk left empty."""
    (tmp_path / "postmaster.pid").write_text("")
    assert postgres.clear_stale_lock(tmp_path)


def test_no_lock_is_no_event(tmp_path: Path) -> None:
    """Forbids a failure of the first start, which has no lock yet."""
    assert not postgres.clear_stale_lock(tmp_path)


def test_root_in_a_closed_home_gets_a_cluster_outside(tmp_path: Path) -> None:
    """Forbids a checkout under root's home that can't start its database at all."""
    home = tmp_path / "home"
    state = home / "checkout" / ".opsgraph"
    state.mkdir(parents=True)
    tmp_path.chmod(0o755)
    home.chmod(0o700)
    shared = tmp_path / "shared"
    placed = postgres.data_dir(state, "nobody", shared)
    assert placed.is_relative_to(shared)
    assert placed == postgres.data_dir(state, "nobody", shared)  # every process finds the same place
    assert placed != postgres.data_dir(home / "other", "nobody", shared)
    assert postgres.data_dir(state, None, shared) == state / "postgres"  # not root: its own folder is fine


def test_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    """Forbids the deletion of files that only happen to lie where the cluster should be."""
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    with pytest.raises(ServiceError, match="not empty and not a Postgres cluster"):
        postgres.initialise(folder)
    assert (folder / "letter.txt").read_text() == "mine"


def test_first_start_that_was_cut_off_is_begun_anew(tmp_path: Path) -> None:
    """Forbids a half-initialised cluster: `initdb` writes PG_VERSION long before it is done."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    partial = tmp_path / "postgres.initdb"
    partial.mkdir()
    (partial / "PG_VERSION").write_text("18\n")
    assert postgres.initialise(tmp_path / "postgres")
    assert (tmp_path / "postgres" / "global" / "pg_control").exists()
    assert not partial.exists()
    assert not postgres.initialise(tmp_path / "postgres")


def test_server_listens_on_loopback_alone(tmp_path: Path) -> None:
    """Forbids a server with trust authentication that other machines can reach."""
    command = postgres.command(tmp_path, 15432)
    assert "listen_addresses=127.0.0.1" in command
    assert "fsync=on" in command
