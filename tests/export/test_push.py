"""What `cgc push` puts on the Hugging Face Hub, and what it refuses. Only the Hub is one of our own."""

import os
import re
import shutil
import subprocess
import sys

import huggingface_hub
import pytest
from hub import TOKEN, Hub
from huggingface_hub import constants

from cgc_tf.common.errors import UserError
from cgc_tf.report import model_card
from cgc_tf.report.readme import readme
from export import verify
from export.artifact import card
from export.push import push as push_version

REPO = "someone/planes"


@pytest.fixture
def hub():
    with Hub().serving() as served:
        yield served


@pytest.fixture
def push(hub, programs, exported, tmp_path):
    """Runs the program: `push("--repo=A/B")`."""

    def push(*arguments, model_dir=exported.parent, **environment):
        plain = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        return programs.run("-m", "export.push", f"--model_dir={model_dir}", *arguments, env={**plain, **environment})

    return push


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_what_arrives_is_the_version_and_a_readme_whose_program_runs(push, hub, exported, files, tmp_path, capsys):
    expected = contents(exported)
    done = push(f"--repo={REPO}", "--private", "--license=mit")
    assert done.returncode == 0, done.stderr
    assert f"pushed: {exported} to {hub.address}/{REPO}" in done.stdout
    assert "note: with it go model_card.json, which names folders of this machine, and splits.csv, w" in done.stdout
    arrived = dict(hub.repositories[REPO]["files"])
    text = arrived.pop("README.md").decode()
    assert arrived.pop(".gitattributes") and arrived == expected == contents(exported)
    assert hub.repositories[REPO]["private"] and len(hub.large) >= 2
    data = huggingface_hub.ModelCard(text).data
    assert (data.license, data.library_name, data.datasets, data.eval_results) == ("mit", "tf-keras", None, None)
    assert "Not measured: it was not evaluated." in text and "Trained on a folder of pictures. `--back" in text
    for path, data in arrived.items():
        (tmp_path / "got" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "got" / path).write_bytes(data)
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    example = example.replace(f'huggingface_hub.snapshot_download("{REPO}")', repr(str(tmp_path / "got")))
    exec(example.replace('"picture.jpg"', repr(str(files[0]))), {})
    label, score = capsys.readouterr().out.split()
    assert label in (exported / model_card.LABELS).read_text().split() and 0 < float(score) <= 1


@pytest.mark.slow
def test_another_version_replaces_the_first_and_a_readme_of_ones_own_is_taken(push, hub, exported, tmp_path):
    hub.repositories[REPO] = {"private": False, "files": {".gitattributes": b"", "variables/old": b"1"}}
    shutil.copytree(exported, tmp_path / "models" / "2")
    (tmp_path / "models" / "2" / "README.md").write_text("---\nlicense: unknown\n---\nOurs.\n")
    done = push(f"--repo={REPO}", model_dir=tmp_path / "models")
    assert done.returncode == 0, done.stderr
    arrived = hub.repositories[REPO]["files"]
    assert arrived.pop(".gitattributes") == b"" and arrived == contents(tmp_path / "models" / "2")


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "--repo is missing: USER/NAME on the Hugging Face Hub"),
        (["--repo=a b/c"], {}, "--repo=a b/c should be USER/NAME: Repo id must use alphanumeric"),
        (["--repo=planes"], {}, "--repo=planes should be USER/NAME"),
        (["--repo=https://huggingface.co/someone/planes"], {}, "should be USER/NAME"),
        ([f"--repo={REPO}"], {"HF_TOKEN": ""}, "no token of the Hugging Face Hub: run `hf auth login`, or put"),
        ([f"--repo={REPO}"], {"HF_TOKEN": "hf_wrong"}, "Invalid user token. The token from HF_TOKEN environment"),
        ([f"--repo={REPO}"], {"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be pushed to the Hugging Face Hub: [Er"),
        ([f"--repo={REPO}", "--version=7"], {}, "holds no version 7; versions there: 1"),
        ([f"--repo={REPO}", "--model_dir=absent"], {}, "--model_dir=absent holds no version; versions there: none"),
    ],
)
def test_refused_in_a_line(arguments, environment, message, push, hub):
    done = push(*arguments, **environment)
    assert done.returncode == 2 and message in done.stderr.splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr and hub.repositories == {}


def test_is_refused_by_a_process_of_its_own(exported, tmp_path):
    """The other tests' processes have loaded libraries before."""
    command = [sys.executable, "-m", "export.push", f"--model_dir={exported.parent}", f"--repo={REPO}"]
    environment = {**os.environ, "HF_TOKEN": "", "HF_HOME": str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and done.stderr.startswith("error: no token of the Hugging Face Hub"), done.stderr


@pytest.mark.parametrize(
    ("repo", "private", "license", "message"),
    [
        ("others/planes", False, "mit", "You don't have the rights to create a model under the namespace"),
        (REPO, False, "none", 'Invalid metadata in README.md. - "license" must be one of'),
        ("someone/public", True, "mit", "^--private: someone/public is there already, and public; nothing was pushed"),
    ],
)
def test_refused_by_the_hub(repo, private, license, message, hub, exported, monkeypatch):
    public = hub.repositories["someone/public"] = {"private": False, "files": {"mine": b"1"}}
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(verify, "verify", lambda _: {})  # which takes seconds, and has its own tests
    with pytest.raises(UserError, match=message) as caught:
        push_version(exported, repo, private, license)
    assert "\n" not in str(caught.value) and public["files"] == {"mine": b"1"}
    assert not any("/commit/" in call for call in hub.asked)


def test_a_version_that_is_not_as_it_was_written_stays_here(push, hub, exported, tmp_path):
    shutil.copytree(exported, tmp_path / "models" / "1")
    (tmp_path / "models" / "1" / model_card.LABELS).write_text("a\nb\nc\n")
    done = push(f"--repo={REPO}", model_dir=tmp_path / "models")
    assert done.returncode == 2 and "not as they were written: assets/labels.txt" in done.stderr
    assert hub.repositories == {}


def test_readme_of_a_model_without_a_run_claims_nothing():
    text = readme(card.of_model("a classifier", ("cat", "dog"), 224, {}), ("cat", "dog"), REPO)
    assert "# a classifier\n\nAn image classifier of 2 classes" in text and "Classes: `cat`, `dog` (" in text
    assert "What it was trained on is not known.\n" in text and "Contrastive" not in text
    assert huggingface_hub.ModelCard(text).data.datasets is None
