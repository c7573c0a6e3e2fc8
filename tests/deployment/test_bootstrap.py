"""`make setup` on machines that are not like ours: wrong Python, no venv, no pip, a mirror."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestration.environment import PROJECT_ROOT

# Stands for an interpreter: answers what bootstrap asks and notes what it was called with.
FAKE_PYTHON = """#!/bin/bash
echo "$0 $*" >> "$CALLS"
case "$*" in
    --version) echo "Python {version}" ;;
    *sys.exit*) exit {is_refused} ;;
    *print*) echo {version} ;;
    "-m venv"*) {venv} ;;
    "-m pip"*) {pip} ;;
esac
"""
FAKE_UV = '#!/bin/bash\necho "uv $* index=${UV_DEFAULT_INDEX:-}" >> "$CALLS"\n'


class Machine:
    """A folder with a copy of bootstrap and a PATH that holds nothing but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        self.path = folder / "bin"
        self.calls = folder / "calls"
        (self.root / "deployment").mkdir(parents=True)
        self.path.mkdir()
        self.calls.touch()
        shutil.copy(PROJECT_ROOT / "deployment" / "bootstrap", self.root / "deployment")
        for tool in ("bash", "cat", "dirname", "mkdir", "chmod", "cp"):
            (self.path / tool).symlink_to(shutil.which(tool) or "")

    def add(self, name: str, script: str) -> Path:
        """Put a command on the PATH."""
        path = self.path / name
        path.write_text(script)
        path.chmod(0o755)
        return path

    def add_python(self, name: str = "python3", version: str = "3.11", **steps: str) -> None:
        """Put an interpreter on the PATH; `venv` and `pip` say what those modules do."""
        is_refused = "0" if version in ("3.11", "3.12") else "1"
        fields = {"venv": "exit 1", "pip": "exit 1", **steps}
        self.add(name, FAKE_PYTHON.format(version=version, is_refused=is_refused, **fields))

    def bootstrap(self, step: str = "runtime", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one step with that PATH and nothing of the caller's environment."""
        environment = {"PATH": str(self.path), "CALLS": str(self.calls), "HOME": str(self.root), **variables}
        command = [self.root / "deployment" / "bootstrap", step]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_too_old_python_is_refused_in_words(machine: Machine) -> None:
    """Forbids an error of pip about a package that has no file for this Python."""
    machine.add_python("python3", "3.9")
    result = machine.bootstrap()
    assert result.returncode == 1
    assert "needs Python 3.11 or 3.12" in result.stderr
    assert "Python 3.9" in result.stderr
    assert not (machine.root / ".tools").exists()


def test_shim_without_an_interpreter_is_passed_over(machine: Machine) -> None:
    """Forbids the choice of a version manager's shim whose Python is not installed."""
    machine.add("python3.11", "#!/bin/bash\nexit 127\n")
    machine.add_python("python3.12", "3.12")
    machine.add("uv", FAKE_UV)
    assert machine.bootstrap().returncode == 0
    assert f"venv --quiet --clear --python {machine.path / 'python3.12'} .venv" in machine.calls.read_text()


def test_named_python_must_fit(machine: Machine) -> None:
    """Forbids another interpreter than the one that the person named."""
    machine.add_python("python3.11")
    machine.add_python("python3.14", "3.14")
    machine.add("uv", FAKE_UV)
    result = machine.bootstrap(PYTHON="python3.14")
    assert result.returncode == 1
    assert "PYTHON=python3.14 is Python 3.14" in result.stderr
    assert "uv venv" not in machine.calls.read_text()


def test_uv_comes_through_pip_where_venv_is_missing(machine: Machine) -> None:
    """Forbids a setup that fails on Debian without python3-venv."""
    uv = machine.add("uv-to-install", FAKE_UV)
    machine.add_python("python3.11", pip=f"mkdir -p .tools/uv/bin && cp {uv} .tools/uv/bin/uv")
    assert machine.bootstrap().returncode == 0
    assert "uv pip sync" in machine.calls.read_text()


def test_neither_venv_nor_pip_is_told_with_the_way_out(machine: Machine) -> None:
    """Forbids a traceback of ensurepip as the last word."""
    machine.add_python("python3.11")
    result = machine.bootstrap()
    assert result.returncode == 1
    assert "Install one of python3-venv, python3-pip or uv" in result.stderr


def test_locks_are_installed_by_hash(machine: Machine) -> None:
    """Forbids packages that nobody has checked, and a resolver that adds some."""
    machine.add_python("python3.11")
    machine.add("uv", FAKE_UV)
    for step in ("runtime", "project", "dev"):
        machine.bootstrap(step)
    installs = [line for line in machine.calls.read_text().splitlines() if line.startswith("uv pip")]
    assert [".lock" in line and "--require-hashes" in line for line in installs] == [True, False, True]
    assert "--no-deps --editable ." in installs[1]


def test_mirror_of_pip_is_used(machine: Machine) -> None:
    """Forbids a setup that fails behind a mirror which only pip's settings know."""
    machine.add_python("python3.11")
    machine.add("uv", FAKE_UV)
    machine.bootstrap(PIP_INDEX_URL="https://mirror.example/simple")
    assert "index=https://mirror.example/simple" in machine.calls.read_text()


def test_make_lists_its_verbs() -> None:
    """Forbids a verb without a line of help."""
    result = subprocess.run(
        ["make", "help"], cwd=PROJECT_ROOT, env=os.environ, capture_output=True, text=True
    )
    verbs = [line.split()[1] for line in result.stdout.splitlines()]
    phony = next(
        line for line in (PROJECT_ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY")
    )
    assert verbs == phony.split()[1:]
