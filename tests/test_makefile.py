"""The Makefile's environment: one whose installation was cut off is made anew, one that is whole is kept."""

import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# A Python that makes environments whose pip fails as long as there is a file `broken`.
FAKE = """#!/bin/sh
[ "$1" = -m ] || exit 0
case "$*" in *--clear*) rm -rf .venv ;; esac
mkdir -p .venv/bin
printf '#!/bin/sh\\ntouch .venv/"$(basename "$6")"\\n! test -e broken\\n' > .venv/bin/pip
chmod +x .venv/bin/pip

"""


@pytest.fixture
def make(tmp_path):
    """Runs `make` in a copy of the project's Makefile, with an interpreter that only pretends; gives its status."""
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(FAKE)
    python.chmod(0o755)

    def run(*arguments):
        command = ["make", f"PYTHON={python}", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True).returncode

    return run


@pytest.mark.parametrize("target", ["venv", ".venv/installed-dev"])
def test_a_half_finished_environment_is_made_anew(make, tmp_path, target):
    (tmp_path / "broken").touch()
    assert make(target) != 0
    (tmp_path / ".venv" / "half_a_package").touch()
    (tmp_path / "broken").unlink()
    assert make(target) == 0
    assert not (tmp_path / ".venv" / "half_a_package").exists()


def test_tools_cut_off_over_a_whole_environment(make, tmp_path):
    assert make("venv") == 0
    (tmp_path / "broken").touch()
    assert make(".venv/installed-dev") != 0
    (tmp_path / ".venv" / "half_a_package").touch()
    (tmp_path / "broken").unlink()
    assert make(".venv/installed-dev") == 0
    assert not (tmp_path / ".venv" / "half_a_package").exists()


def test_a_whole_environment_is_kept(make, tmp_path):
    assert make(".venv/installed-dev") == 0
    (tmp_path / ".venv" / "own").touch()
    assert make("venv", ".venv/installed-dev") == 0
    assert (tmp_path / ".venv" / "own").exists()
