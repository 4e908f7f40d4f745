"""Starts a program again and again in one process: a line of JSON in, its arguments; a line out, how it ended.

Loading TensorFlow for each of hundreds of starts would take hours.
"""

import contextlib
import io
import json
import runpy
import sys
import traceback

from absl import app, flags  # noqa: F401  # app has flags of its own


def start(program, arguments):
    for name in list(flags.FLAGS):  # those that the program defines; absl's own are of modules that stay
        if flags.FLAGS.find_module_defining_flag(name) not in OWN:
            delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
    sys.argv = [program, *arguments]
    text, status = io.StringIO(), 0
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            if program.endswith(".py"):
                runpy.run_path(program, run_name="__main__")
            else:
                runpy.run_module(program, run_name="__main__")
        except SystemExit as left:
            status = left.code or 0
        except BaseException:
            status = -1
            traceback.print_exc()
    kinds = {
        name: {"kind": flag.flag_type(), "choices": getattr(flag.parser, "enum_values", None)}
        for name, flag in flags.FLAGS._flags().items()
        if flags.FLAGS.find_module_defining_flag(name) not in OWN
    }
    return {"status": status, "text": text.getvalue(), "flags": kinds}


OWN = set(flags.FLAGS.flags_by_module_dict())

if __name__ == "__main__":
    chosen, answers = sys.argv[1], sys.stdout
    for line in sys.stdin:
        print(json.dumps(start(chosen, json.loads(line))), file=answers, flush=True)
