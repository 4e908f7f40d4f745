"""Runs a program: its flags and flagfiles, its --help; a user's mistake is one line and a status, never a stack trace.

A program is a module with `define_flags()` and `main(argv)`, and with these lines at its end:

    if __name__ == "__main__":
        program.run(main)
"""

import contextlib
import os
import pathlib
import re
import shlex
import signal
import sys
import textwrap

from absl import app, flags, logging

from cgc_tf.common.errors import Stopped, UserError, first_line

MODULES = {  # what `cgc NAME` runs
    "train": "cgc_tf.programs.train",
    "evaluate": "cgc_tf.programs.evaluate",
    "export": "export.saved_model",
    "verify": "export.verify",
    "serve": "export.server",
    "query": "export.client",
    "networks": "cgc_tf.networks.__main__",
    "inspect": "cgc_tf.data.inspect_dataset",
    "convert": "cgc_tf.data.convert",
    "onnx": "export.onnx_model",
    "torch": "export.torch_checkpoint",
    "push": "export.push",
}
STOPPED = 75  # the exit status of stopped work, sysexits.h's EX_TEMPFAIL: try again later
READER_LEFT = 128 + signal.SIGPIPE  # what a shell reports of a program whose output nobody reads any more
URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
HANDLES = ("hf://", "kaggle://", "modelscope://")  # which --weights may be: a KerasHub preset's
KINDS = {"string": "TEXT", "int": "N", "float": "X"}  # how --help writes a flag's value; others are lists


def run(main):
    """Defines the flags of the module that `main` is from, parses them, runs `main(argv)` and exits.

    --help prints the docstring of `main`'s module, and the flags. A `UserError` and a flag that cannot be parsed become
    one line on stderr and exit status 2, `Stopped` becomes status 75. Where the reader of its output leaves, as `head`
    does, nothing more is said and the status is `READER_LEFT`.
    """
    main.__globals__["define_flags"]()
    with readers_may_leave():
        app.run(lambda argv: _status(main, argv), flags_parser=lambda argv: _parse(argv, main))


@contextlib.contextmanager
def readers_may_leave():
    """Exits with `READER_LEFT` where the reader of what is printed within it leaves."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, where a reader that has left can be noticed, and not after Python's last line
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # which Python flushes once more as it leaves
            os.dup2(nowhere, stream.fileno())
        sys.exit(READER_LEFT)


def _parse(argv, main):
    if "--help" in argv or "-h" in argv:
        print(help_text(main.__globals__["__doc__"]))
        sys.exit(0)
    try:
        rest = flags.FLAGS([argv[0], *expanded(argv[1:])])
        if not main.__globals__.get("TAKES_ARGUMENTS"):
            refuse_arguments(rest)
        check_paths()
    except (flags.Error, UserError) as error:
        print(as_started(f"error: {first_line(error)}"), file=sys.stderr)
        sys.exit(2)
    return rest


def _status(main, argv):
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)
    try:
        return main(argv)
    except UserError as error:
        print(as_started(f"error: {error}"), file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"{stopped}; start again to go on", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def refuse_arguments(argv):
    """Raises `UserError` for what is no flag in a program's arguments, but for the first, its own name.

    `run` calls it, unless the program's module says `TAKES_ARGUMENTS = True`.
    """
    if len(argv) > 1:
        raise UserError(f"flags start with --. Received: {' '.join(argv[1:])}")


def check_paths():
    """Raises `UserError` for a parsed flag that names a place elsewhere: what is read and written is on local disks.

    TensorFlow would take some of these, Python's own functions would make a folder named `gs:`.
    """
    for name, value in flags.FLAGS.flag_values_dict().items():
        for text in value if isinstance(value, list) else [value]:
            is_handle = name == "weights" and str(text).startswith(HANDLES)
            if URL.match(str(text)) and name not in ("url", "repo") and not is_handle:
                raise UserError(
                    f"--{name}={text} is a URL, which is not supported: pass a path on this machine, and mount or copy "
                    "there what is elsewhere"
                )


def config_folder():
    """Where the configurations are, a path: `configs/` of a checkout, or `cgc_tf/configs/` where it is installed."""
    package = pathlib.Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def expanded(arguments, including=()):
    """The arguments with every --flagfile=FILE replaced by the lines of the file, one by one.

    FILE is looked for as it is given, then from the project of the flagfile that includes it (the last of `including`),
    which is the parent of that file's folder, then among our own configurations.

    Raises:
        UserError: there is no such file, or it includes itself.
    """
    arguments = iter(arguments)
    for argument in arguments:
        name, equals, file = argument.strip().partition("=")
        if name.lstrip("-") != "flagfile" or not name.startswith("-"):
            yield argument
            continue
        path = _flagfile(file if equals else next(arguments, ""), including)
        if path in including:
            raise UserError(f"--flagfile={path} includes itself")
        lines = [line.strip() for line in path.read_text().splitlines()]
        yield from expanded((line for line in lines if line and not line.startswith(("#", "//"))), (*including, path))


def _flagfile(name, including):
    path = pathlib.Path(name).expanduser()
    projects = [config_folder().parent]
    if including:
        projects.insert(0, including[-1].parent.parent)
    for candidate in (path, *(project / path for project in projects)):
        if candidate.is_file():
            return candidate.resolve()
    raise UserError(f"--flagfile={name} does not exist, nor is it one of {config_folder()}")


def section(heading, *holders):
    """Puts flags, as `flags.DEFINE_...` return them, under a heading of --help."""
    for holder in holders:
        flags.FLAGS.register_key_flag_for_module(heading, flags.FLAGS[holder.name])


def help_text(docstring):
    """What --help prints: a docstring and the flags by their headings, those without one first; a text."""
    known = flags.FLAGS.flags_by_module_dict()
    sections = {name: found for name, found in flags.FLAGS.key_flags_by_module_dict().items() if name not in known}
    under_headings = {flag.name for found in sections.values() for flag in found}
    ours = [name for name in known if name == sys.argv[0] or name.split(".")[0] in ("cgc_tf", "export", "benchmarks")]
    others = [flag for name in ours for flag in known[name] if flag.name not in under_headings]
    if others:
        sections = {"Flags": others, **sections}
    texts = [f"{heading}:\n" + "\n".join(map(_described, found)) for heading, found in sections.items()]
    return "\n\n".join(
        [as_started(docstring.strip()), *map(as_started, texts), "--flagfile=FILE reads flags from a file, one a line."]
    )


def _described(flag):
    choices = "|".join(getattr(flag.parser, "enum_values", ()))
    head = f"[no]{flag.name}" if flag.boolean else f"{flag.name}={choices or KINDS.get(flag.flag_type(), 'A,B,...')}"
    text = flag.help.removeprefix(f"<{choices}>: ")
    default = (flag.default_as_str or "").strip("'")
    if default and not flag.boolean:
        text += f" (default: {default})"
    indent = " " * 6
    filled = textwrap.fill(text, 100, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    return f"  --{head}\n{filled}"


def as_started(text):
    """A text that teaches commands of a checkout, as they can be typed where this program was.

    That is with the same interpreter and the same path to train.py and evaluate.py, or as `cgc NAME`.
    """
    if not sys.argv[0].startswith("cgc "):
        python = shlex.quote(sys.orig_argv[0])
        folder = os.path.dirname(sys.argv[0]) if sys.argv[0] in sys.orig_argv else ""  # else started with -m
        scripts = "|".join(rf"{name}\.py" for name, module in MODULES.items() if ".programs." in module)
        text = re.sub(rf"\bpython (?=-m \w|{scripts})", lambda _: f"{python} ", text)
        return re.sub(rf"(?<![\w/=.-])({scripts})\b", lambda name: shlex.quote(os.path.join(folder, name[0])), text)
    for name, module in MODULES.items():
        script = (
            rf"(python )?{name}\.py"
            if ".programs." in module
            else rf"python -m {re.escape(module.removesuffix('.__main__'))}"
        )
        text = re.sub(rf"(?<![\w/=.-]){script}\b", f"cgc {name}", text)
    return text
