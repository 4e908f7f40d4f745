"""Every flag of the programs, given whatever one may give it: a line and a status, never a stack trace."""

import dataclasses
import json
import pathlib
import string
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgc_tf.common.errors import UserError
from cgc_tf.evaluation.protocol import OTHERWISE, Protocol
from cgc_tf.training.config import Config

ROOT = pathlib.Path(__file__).parent.parent
PROGRAMS = ("train.py", "evaluate.py", "export.saved_model", "export.client", "export.verify", "export.server")
FEW = settings(max_examples=6, deadline=None, database=None)
TEXTS = st.text(string.printable.replace("\n", ""), max_size=12) | st.text(st.characters(codec="utf-8"), max_size=6)


WORKERS = {}


@pytest.fixture(scope="module", autouse=True)
def _workers(programs):
    for program in PROGRAMS:
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        WORKERS[program] = programs.start("tests/helpers/flag_worker.py", program, **pipes)
    yield
    for worker in WORKERS.values():
        worker.communicate()


def start(program, *arguments):
    worker = WORKERS[program]
    print(json.dumps(arguments), file=worker.stdin, flush=True)
    return json.loads(worker.stdout.readline())


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


WRONG = {
    "int": TEXTS.filter(lambda text: not is_number(text)) | st.floats(0.1, 0.9).map(str) | st.just("1e3"),
    "float": TEXTS.filter(lambda text: not is_number(text)),
    "bool": st.sampled_from(["maybe", "2", "-1", "None", "tru", " ", "ja"]),
    "enum": TEXTS,
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_value_of_another_kind(program):
    """The flags are asked of the program itself, so a new one is tried without a word here."""
    tried = 0
    for name, flag in start(program, "--no_such_flag")["flags"].items():
        kind = "enum" if "enum" in flag["kind"] else flag["kind"].split()[-1]
        if kind in WRONG:
            try_wrong_values(program, name, WRONG[kind], flag["choices"] or ())
            tried += 1
    assert tried >= 1


def try_wrong_values(program, name, values, choices):
    @FEW
    @given(values.filter(lambda text: text not in choices))
    def refused(value):
        ended = start(program, f"--{name}={value}")
        assert ended["status"] == 2, ended["text"]
        assert "Traceback" not in ended["text"] and name in ended["text"]

    refused()


MODES = {
    "workdir": ["--workdir=absent"],
    "saved_model": ["--saved_model=absent"],
    "checkpoint": ["--checkpoint", "--weights=absent"],
    "table": ["--table=absent"],
    "group_by": ["--group_by=objective", "absent"],
}
MEASURED = {field.name for field in dataclasses.fields(Protocol)} | {"batch_size", "shard"}
DRAWN = {"examples", "show", "show_ids", "gallery"}
OF_WEIGHTS = {"weights", "backbone", "pooling", "explain_layer"}
READ = {
    "workdir": MEASURED | DRAWN | {"explainer"},
    "saved_model": MEASURED | DRAWN | {"image_size", "labels", "output"},
    "checkpoint": MEASURED | DRAWN | OF_WEIGHTS | {"explainer", "image_size", "labels", "output"},
    "table": {"dataset", "data_dir", "seeds", "output"},
    "group_by": {"resamples", "output", "split", *OTHERWISE},
}


@pytest.mark.parametrize("mode", MODES)
def test_a_flag_that_a_mode_does_not_read(mode):
    """It is refused, each by its name; every flag is read by some mode, and where it is, it is not in the way."""
    start("evaluate.py", "--no_such_flag")  # the first time libraries define flags, too
    every = start("evaluate.py", "--no_such_flag")["flags"]
    assert set(every) == set(MODES).union(*READ.values())
    for name, flag in every.items():
        if name not in MODES:
            value = flag["choices"][-1] if flag["choices"] else {"resamples": 100}.get(name, 20)
            ended = start("evaluate.py", *MODES[mode], f"--{name}={value}")
            assert ended["status"] == 2 and "Traceback" not in ended["text"], ended["text"]
            assert (f"--{name} is not used by --{mode}" in ended["text"]) == (name not in READ[mode]), ended["text"]


@pytest.mark.parametrize(
    ("program", "arguments", "unread"),
    [
        ("train.py", ["--allow_changes"], "--allow_changes is not used without --workdir"),
        *(
            ("train.py", arguments, f"{arguments[0].partition('=')[0]} is not used by {arguments[1]}")
            for arguments in (
                ["--lambda_cgc=1", "--objective=baseline"],
                ["--explain_class=label", "--objective=baseline"],
                ["--temperature=0.5", "--objective=cgc_no_negatives"],
                ["--negatives=global", "--objective=baseline"],
                ["--momentum=0.5", "--optimizer=adamw"],
                ["--step_factor=0.5", "--schedule=cosine"],
                ["--nan_steps=3", "--on_nan=skip"],
            )
        ),
        ("train.py", ["--unlabeled_data_dir=x"], "--unlabeled_data_dir is not used without --unlabeled_dataset"),
        ("train.py", ["--callback=nowhere:Mine"], "--callback=nowhere:Mine cannot be imported"),
        ("export.client", ["--image=x", "--version=1", "--label=stable"], "--label=stable is not used by --version=1"),
        ("evaluate.py", ["--show_ids=x", "--examples=3"], "--examples is not used by --show_ids"),
        ("evaluate.py", ["--curves=none", "--curve_steps=3"], "--curve_steps is not used by --curves=none"),
        ("evaluate.py", ["--shard=0/2", "--examples=3"], "--examples is not used by --shard=0/2, which draws nothing"),
        ("train.py", ["--worker_index=1"], "--worker_index=1 is not used without --workers"),
        ("train.py", ["--workers=a:1,b:2"], "--worker_index should be 0 to 1, which of --workers this one is"),
        ("train.py", ["--workers=a:1,b", "--worker_index=0"], "--workers should be host:port"),
        ("train.py", ["--strategy=multiworker", "--workdir=absent"], "--strategy=multiworker: nobody says who"),
        ("evaluate.py", ["--workdir=a", "--saved_model=b"], "choose one of --workdir and --saved_model"),
    ],
)
def test_a_flag_that_is_not_read_beside_another(program, arguments, unread):
    ended = start(program, *arguments)
    assert ended["status"] == 2 and ended["text"].startswith(f"error: {unread}"), ended["text"]


BOUNDED = [
    (field.name, key, bound) for field in dataclasses.fields(Config) for key, bound in field.metadata["bounds"].items()
]


@pytest.mark.parametrize(("name", "key", "bound"), BOUNDED)
@FEW
@given(distance=st.integers(0, 10**6) | st.sampled_from([float("inf"), float("nan")]))
def test_a_value_beyond_its_bound(name, key, bound, distance):
    distance = distance or (key in ("least", "most"))  # which are themselves allowed
    value = bound - distance if key in ("above", "least") else bound + distance
    with pytest.raises(UserError, match=rf"^--{name} should be .* Received: "):
        Config(**{name: value})


@pytest.mark.parametrize(
    "name", ["dataset", "backbone", "weights", "explain_layer", "data_dir", "unlabeled_dataset", "checkpoint_every"]
)
def test_a_name_of_nothing(name, small_config):
    given_flags = small_config.to_flags()

    @FEW
    @given(TEXTS)
    def refused(value):
        ended = start("train.py", *given_flags, f"--{name}={value}!", "--workdir=absent", "--dry_run")
        assert ended["status"] == 2, ended["text"]
        assert "Traceback" not in ended["text"]

    refused()
    assert not (ROOT / "absent").exists()


def test_flags_of_a_run_leave_out_what_it_does_not_read(small_config):
    """So that a program that trains several runs may give all of them the same settings."""
    weighed = dataclasses.replace(small_config, lambda_cgc=0.25)
    assert "--lambda_cgc=0.25" in weighed.to_flags()
    baseline = dataclasses.replace(weighed, objective="baseline").to_flags()
    assert sorted(baseline) == sorted(["--objective=baseline", *small_config.to_flags()])


@pytest.mark.parametrize("name", ["ce_views", "hidden_units", "step_epochs"])
@FEW
@given(value=TEXTS.filter(lambda text: text and not all(map(is_number, text.split(",")))))
def test_a_list_of_something_else(name, value):
    ended = start("train.py", f"--{name}={value}", "--dataset=folder", "--data_dir=absent")
    assert ended["status"] == 2, ended["text"]
    assert "Traceback" not in ended["text"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_url_is_no_path(program):
    """Whatever the flag: a folder named `gs:` was made and trained into."""
    start(program, "--no_such_flag")  # as TensorFlow is loaded it has flags of its own, once
    found = start(program, "--no_such_flag")["flags"]
    names = [name for name, flag in found.items() if flag["kind"] in ("string", "comma separated list of strings")]
    assert names
    for name in names:
        for url in ("gs://bucket/run", "s3://bucket/run", "hdfs://host/run", "https://host/run", "file:///tmp/run"):
            if name != "url":
                ended = start(program, f"--{name}={url}")
                assert ended["status"] == 2 and ended["text"].count("\n") == 1, ended["text"]
                assert ended["text"].startswith(f"error: --{name}={url} is a URL"), ended["text"]
    assert not any((ROOT / scheme).exists() for scheme in ("gs:", "s3:", "hdfs:", "https:", "file:"))
