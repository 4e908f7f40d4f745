"""Starts Python programs as processes of their own, without loading TensorFlow for each: see `program_server.py`."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
SERVER, CLIENT = (pathlib.Path(__file__).with_name(f"program_{name}.py") for name in ("server", "client"))


class Programs:
    """A running `program_server.py`, which listens at `socket`."""

    def __init__(self, folder):
        """`folder` is for its socket, and for what TFDS prepares."""
        self.socket = str(folder / "socket")
        # TFDS reads the latter as it is loaded, also in what a program starts itself: no test may write into a home.
        self.environment = {"PROGRAM_SERVER": self.socket, "TFDS_DATA_DIR": str(folder / "tfds")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}
        self._server = subprocess.Popen([sys.executable, SERVER, self.socket], **pipes, text=True, env=environment)
        assert self._server.stdout.readline() == "ready\n"

    def close(self):
        self._server.stdin.close()
        self._server.wait(60)

    def start(self, *arguments, cwd=ROOT, env=None, **pipes):
        """`python arguments`, a `subprocess.Popen`; `env` is what its environment has besides."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.environment, **(env or {})}
        command = [sys.executable, "-S", CLIENT, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes}
        return subprocess.Popen(command, cwd=cwd, env=environment, **pipes, text=True)

    def run(self, *arguments, cwd=ROOT, env=None):
        """As `start`; what came of it, a `subprocess.CompletedProcess`."""
        process = self.start(*arguments, cwd=cwd, env=env)
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)
