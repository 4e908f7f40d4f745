"""What `from cgc_tf import ...` offers is loaded when it is used; test_docstrings.py runs the examples."""

import subprocess
import sys


def test_importing_the_package_loads_nothing_and_changes_no_figures():
    """No TensorFlow until a name is used, every name is listed, and a notebook's plots stay as they are."""
    code = (
        "import sys, cgc_tf\n"
        "assert set(cgc_tf.__all__) <= set(dir(cgc_tf))\n"
        "assert not {'tensorflow', 'keras', 'numpy', 'matplotlib'} & set(sys.modules)\n"
        "import matplotlib\n"
        "matplotlib.use('svg')\n"  # as a notebook chooses its own
        "for name in cgc_tf.__all__: getattr(cgc_tf, name)\n"
        "from cgc_tf.report import figures\n"
        "assert matplotlib.get_backend() == 'svg'\n"
        "try: cgc_tf.nothing\n"
        "except AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "module 'cgc_tf' has no attribute 'nothing'\n"
