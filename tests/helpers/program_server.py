"""Runs Python programs as the interpreter does, but with TensorFlow loaded already: each in a fork of this process.

Started with the path of a socket to listen on. `program_client.py` stands in for `python` and sends each start here:
its arguments, folder, environment, and its three standard files themselves. In that environment EAGERLY names programs
whose functions TensorFlow is not to trace, and PYTHON what a program takes for its own interpreter, to start others by.
"""

import atexit
import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import threading
import traceback
import warnings

READY = "ready"
LIBRARIES = ("tensorflow", "keras", "keras_hub", "tensorflow_datasets", "matplotlib.pyplot", "scipy.ndimage", "cv2")


def load_libraries():
    """Imports what takes long to import; nothing of it is used here, so that a fork finds it as if just imported."""
    for name in LIBRARIES:
        __import__(name)


def serve(path):
    """Answers connections until stdin ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that hand over a status
    threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print(READY, flush=True)
        while True:
            connection, _ = listening.accept()
            if not os.fork():
                hand_over(connection)
            connection.close()


def hand_over(connection):
    """Starts the program that a client asks for, tells its process's number, waits for it, and tells its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    text, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not text.endswith(b"\n"):
        text += connection.recv(1 << 16)
    if not (pid := os.fork()):
        for standard, given in enumerate(files):
            os.dup2(given, standard)
            os.close(given)
        connection.close()
        become(*json.loads(text))
    for file in files:
        os.close(file)
    connection.sendall(f"{pid}\n".encode())
    threading.Thread(target=die_with, args=(connection, pid), daemon=True).start()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(f"{status}\n".encode())
    os._exit(0)


def die_with(client, pid):
    """Kills a program whose client was killed."""
    if not client.recv(1):
        os.kill(pid, signal.SIGKILL)


def become(arguments, folder, environment):
    """Runs `python arguments` in this process, and leaves it as the interpreter would."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    name = arguments[1] if arguments[0] == "-m" else arguments[0]
    if name in environment.get("EAGERLY", "").split(","):  # of few steps, tracing is most of the work
        sys.modules["tensorflow"].config.run_functions_eagerly(True)
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions_eagerly`")
    sys.orig_argv = ["python", *arguments]
    multiprocessing.set_executable(sys.executable)  # whose children inherit files, which do not pass through here
    sys.executable = environment.get("PYTHON", sys.executable)
    status = 0
    try:
        run(arguments, folder)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        print(f"Exception ignored while flushing sys.stdout: {error!r}", file=sys.stderr)
        status = 120
    os._exit(status)


def run(arguments, folder):
    first, *rest = arguments
    if first == "-m":
        sys.path[0], sys.argv = folder, rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path[0], sys.argv = folder, ["-c", *rest[1:]]
        exec(rest[0], {"__name__": "__main__"})
    else:
        sys.path[0], sys.argv = os.path.dirname(os.path.abspath(first)), arguments
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    load_libraries()
    serve(sys.argv[1])
