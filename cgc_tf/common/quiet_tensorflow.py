"""Imported first by the programs: loads TensorFlow without its start-up chatter.

TensorFlow writes some lines about absent GPUs to the process's stderr before it reads any log level; nothing less
than closing that file meanwhile stops them. TF_CPP_MIN_LOG_LEVEL=0 lets everything through.
"""

import logging
import os
import warnings

os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # where a download fails, the program says so itself
if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
    import tensorflow
else:
    stderr, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(null)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    for category in (DeprecationWarning, FutureWarning):  # what a library says to its developers; all else is shown
        warnings.filterwarnings("ignore", category=category, module="keras|tensorflow|tensorflow_datasets")
