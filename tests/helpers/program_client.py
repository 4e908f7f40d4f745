"""Stands in for `python` in a shell: `program_server.py` runs the program. Imports little, so that it starts at once.

PROGRAM_SERVER names the server's socket. SMALLER names a JSON file, {program: [flags]}, of flags that are added to
those of a program, so that what takes minutes takes seconds.
"""

import json
import os
import signal
import socket
import sys


def main():
    arguments = sys.argv[1:]
    program = arguments[1] if arguments[0] == "-m" else arguments[0]
    if "SMALLER" in os.environ and "--help" not in arguments:
        with open(os.environ["SMALLER"]) as file:
            arguments += json.load(file).get(program, [])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["PROGRAM_SERVER"])
        start = json.dumps([arguments, os.getcwd(), dict(os.environ)]).encode() + b"\n"
        socket.send_fds(connection, [start], [0, 1, 2])
        answers = connection.makefile()
        pid = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        status = int(answers.readline() or 1)
    if status < 0:  # a signal's, by which this process is to end, too
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    sys.exit(main())
