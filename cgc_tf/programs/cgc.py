"""Image classifiers whose explanations agree with themselves (CGC, CVPR 2022).

  cgc train --flagfile=configs/demo.flags     trains one, here on the embedded toy aircraft
  cgc evaluate                                measures and draws the newest run
  cgc export --workdir=runs/A                 writes a run's model as a SavedModel
  cgc verify --model_dir=exported             checks that it answers as the trained model does
  cgc serve --model_dir=exported              serves it as TensorFlow Serving does, with a page to try it
  cgc query --image=cat.jpg                   asks a server about pictures
  cgc networks                                lists the networks that can be trained
  cgc inspect --dataset=toy_aircraft          counts a dataset's examples and draws some
  cgc convert --data_dir=DIR --objects=FILE   writes where objects are, from a tool's form into ours
  cgc onnx --workdir=runs/A                   writes its model for ONNX Runtime
  cgc torch --workdir=runs/A                  writes its weights for PyTorch
  cgc push --model_dir=exported --repo=A/B    puts it on the Hugging Face Hub, with a model card

Each of them answers --help.
"""

import importlib
import importlib.util
import sys

from cgc_tf.common import program


def load(name):
    """Imports the program `cgc NAME`; `export` is `export` in a checkout, and `cgc_tf.export` where it is installed."""
    module = program.MODULES[name]
    if module.startswith("export.") and importlib.util.find_spec("cgc_tf.export"):
        module = f"cgc_tf.{module}"
    return importlib.import_module(module)


def main():
    """Runs the program that the first argument names, on the others."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        with program.readers_may_leave():
            print(__doc__.strip())
        return 0
    if name not in program.MODULES:
        print(f"error: cgc {name} is not known; there are {', '.join(program.MODULES)}", file=sys.stderr)
        return 2
    chosen = load(name)
    sys.argv = [f"cgc {name}", *arguments]
    return program.run(chosen.main)


if __name__ == "__main__":
    sys.exit(main())
