"""The package that `pip install` makes: one top-level name, and every file that the programs read."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = ("cgc_tf", "configs", "export")
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel, built from a copy of what it is made of."""
    folder = tmp_path_factory.mktemp("wheel") / "project"
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", "dummy_data")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for path in (*(ROOT / name for name in FILES), *ROOT.glob("requirements*")):
        shutil.copy(path, folder)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as opened:
        yield opened


def test_it_takes_one_name(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert [name for name in tops if not name.endswith(".dist-info")] == ["cgc_tf"]


def test_it_holds_what_the_programs_read(wheel):
    """Every file beside the code, but for the tests' data; export/ and configs/ lie within the one package."""
    held = set(wheel.namelist())
    read = (path for name in SOURCES for path in (ROOT / name).rglob("*") if path.is_file())
    expected = {path.relative_to(ROOT).as_posix() for path in read if not {"dummy_data", "__pycache__"} & {*path.parts}}
    assert len(expected) > 100
    missing = {name if name.startswith("cgc_tf/") else f"cgc_tf/{name}" for name in expected} - held
    assert missing == set()


def test_its_metadata(wheel):
    (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    text = wheel.read(metadata).decode()
    for extra in ("cuda", "dev", "onnx", "torch"):
        assert f"Provides-Extra: {extra}\n" in text
    required = [line for line in text.splitlines() if line.startswith("Requires-Dist: ")]
    assert any(line.startswith("Requires-Dist: tensorflow<") for line in required)
    assert not [line for line in required if "==" in line.partition(";")[0]], "no pins: others are installed beside it"
    assert "cgc = cgc_tf.programs.cgc:main" in wheel.read(metadata.replace("METADATA", "entry_points.txt")).decode()


def test_the_programs_start_from_another_folder(wheel, tmp_path):
    """Unpacked, as pip does: `cgc` finds its configurations and `cgc_tf.export`, and this checkout is not used."""
    wheel.extractall(tmp_path / "installed")
    code = (
        "import pathlib, sys\n"
        "from cgc_tf.common import program\n"
        "from cgc_tf.programs import cgc\n"
        "print(program.config_folder()); print(cgc.load('query').__name__)\n"
        "print(*program.expanded(['--flagfile=configs/cub200_no_negatives.flags']))\n"
        "sys.argv = ['cgc', 'query', '-h']\n"
        "cgc.main()"
    )
    environment = {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    configs, module, given, *helped = done.stdout.splitlines()
    assert pathlib.Path(configs) == tmp_path / "installed/cgc_tf/configs"
    assert module == "cgc_tf.export.client"
    assert "--dataset=cub200" in given and "--objective=cgc_no_negatives" in given
    assert "    cgc query --image=cat.jpg --url=grpc://127.0.0.1:8500" in helped
