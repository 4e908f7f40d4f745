"""The files that start workers: what they say is what the programs know, and Slurm's script is run with stand-ins."""

import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent
FILES = ROOT / "cluster"


@pytest.fixture(scope="module")
def known(programs):
    """The flags of a program."""
    helps = {name: programs.run(f"{name}.py", "--help").stdout for name in ("train", "evaluate")}
    return lambda name: set(re.findall(r"^  --(?:\[no\])?(\w+)", helps[name], re.MULTILINE)) | {"flagfile"}


def flags(text):
    return set(re.findall(r"--(\w+)=", text))


def test_loops_in_a_shell(known):
    """What `test_commands` does not run, since no line of it ends by itself."""
    loops = re.findall(r"^for .*?(train|evaluate)\.py(.*)$", (ROOT / "docs/scaling.md").read_text(), re.MULTILINE)
    assert {name for name, _ in loops} == {"train", "evaluate"}
    for name, arguments in loops:
        assert flags(arguments) and flags(arguments) <= known(name)


def test_a_kubernetes_job_names_its_own_pods(known):
    service, job = yaml.safe_load_all((FILES / "kubernetes.yaml").read_text())
    spec = job["spec"]
    pod, (container,) = spec["template"]["spec"], spec["template"]["spec"]["containers"]
    name, domain = job["metadata"]["name"], service["metadata"]["name"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    assert pod["subdomain"] == domain and service["spec"]["selector"] == {"job-name": name}
    arguments = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    assert set(arguments) | flags(container["command"][2]) <= known("train")
    hosts = [address.split(":")[0] for address in arguments["workers"].split(",")]
    assert hosts == [f"{name}-{index}.{domain}" for index in range(spec["completions"])]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {arguments["data_dir"], str(pathlib.PurePath(arguments["workdir"]).parent)} == mounts
    assert (ROOT / arguments["flagfile"]).exists()
    # The shell that puts a pod's index before the rest, run with a stand-in.
    script, *rest = container["command"][2:]
    stub = script.replace("exec cgc", "exec echo")
    done = subprocess.run(["sh", "-c", stub, *rest, "--a=b c"], env={"JOB_COMPLETION_INDEX": "1"}, capture_output=True)
    assert done.stdout.decode() == "train --worker_index=1 --a=b c\n"


@pytest.mark.parametrize(("status", "is_queued"), [(0, False), (2, False), (75, True), (137, True)])
def test_slurms_script_queues_what_can_go_on(status, is_queued, tmp_path, known):
    for name, text in {"srun": f'echo "$@"; exit {status}', "scontrol": 'echo "scontrol $@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7"}
    command = ["sh", FILES / "slurm.sh", "--workdir=/shared/a b", "--seed=1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status and done.stderr == ""
    started, *queued = done.stdout.splitlines()
    assert started == "python train.py --strategy=multiworker --workdir=/shared/a b --seed=1"
    assert queued == ["scontrol requeue 7"] * is_queued
    text = (FILES / "slurm.sh").read_text()
    assert "#SBATCH --requeue" in text and "#SBATCH --signal=TERM@" in text
    assert flags(re.search(r"sbatch cluster/slurm.sh (.*)", text)[1]) <= known("train")


def test_the_containers_files_are_there():
    text = (FILES / "Dockerfile").read_text()
    assert (ROOT / re.search(r"/cgc/([\w.]+\.txt)", text)[1]).exists()
    assert 'ENTRYPOINT ["cgc"]' in text and "/runs" not in text
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv", "runs"} <= set(ignored)
