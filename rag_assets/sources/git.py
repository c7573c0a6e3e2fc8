"""Documents of a Git repository: a checkout that is brought up to date before it is read.

Avoid writing to the repository.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 300


class GitError(RuntimeError):
    """Git refused; the message is its own, with what was kept."""


def clone_command(url: str, ref: str, checkout: Path) -> list[str]:
    """Arguments of the first fetch: one commit deep, no tags."""
    return ["git", "clone", "--quiet", "--depth", "1", "--no-tags", "--branch", ref, "--", url, str(checkout)]


def update_commands(ref: str, checkout: Path) -> list[list[str]]:
    """Arguments of every later fetch."""
    at = ["git", "-C", str(checkout)]
    return [
        [*at, "fetch", "--quiet", "--depth", "1", "--no-tags", "origin", ref],
        [*at, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD"],
    ]


def check_out(url: str, ref: str, checkout: Path) -> str:
    """Make a folder hold a branch or tag as it is now.

    Args:
        url: Address or path of the repository.
        ref: Branch or tag.
        checkout: Folder of the checkout; made when absent.

    Returns:
        The commit.

    Raises:
        GitError: The repository or the ref is not there; an earlier checkout stays as it was.
    """
    if (checkout / ".git").is_dir():
        for command in update_commands(ref, checkout):
            _run(command, checkout)
    else:
        checkout.parent.mkdir(parents=True, exist_ok=True)
        _run(clone_command(url, ref, checkout), checkout)
    return _run(["git", "-C", str(checkout), "rev-parse", "HEAD"], checkout).strip()


def _run(command: Sequence[str], checkout: Path) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git did not run: {error}; {checkout} was left as it was") from error
    if done.returncode:
        raise GitError(f"{done.stderr.strip() or 'git failed'}; {checkout} was left as it was")
    return done.stdout
