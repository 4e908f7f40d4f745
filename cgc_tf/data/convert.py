"""Writes where the objects of a folder's pictures are in this project's own form, from whichever form a tool wrote.

  python -m cgc_tf.data.convert --data_dir=DIR --objects=annotations.json

writes DIR/boxes.csv, and DIR/masks/ where there are masks: a PNG for each picture, white on the object. These are what
every program reads of DIR where --objects is not given.
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import csv
import pathlib

import numpy as np
from absl import flags
from PIL import Image
from tqdm import tqdm

from cgc_tf.common import errors, files, program
from cgc_tf.data import folder, folder_listing
from cgc_tf.data.objects import boxes_csv, drawn, find
from cgc_tf.data.splits import Splits


def define_flags() -> None:
    """Defines the flags: whose objects, where they are, and where to write."""
    flags.DEFINE_string("data_dir", None, "The folder of pictures, as for train.py.")
    flags.DEFINE_string("objects", None, f"Where their objects are: {find.FORMS}.")
    flags.DEFINE_string("output", None, "The folder to write into (default: --data_dir).")
    flags.DEFINE_enum("on_bad_image", "fail", ("fail", "skip"), "As for train.py.")


def main(_):
    options = flags.FLAGS
    if not options.data_dir or not options.objects:
        raise errors.UserError("--data_dir=DIR and --objects=PATH are needed: pictures, and where their objects are")
    root, output = pathlib.Path(options.data_dir), pathlib.Path(options.output or options.data_dir)
    if output.joinpath(find.BOXES).exists() or output.joinpath(folder_listing.MASKS).exists():
        raise errors.UserError(f"--output={output} has {find.BOXES} or masks/ already; choose another folder")
    # How pictures are divided does not matter here; a folder of classes alone is all for one split.
    is_divided = any((root / name).is_dir() for names in folder_listing.SPLITS.values() for name in names)
    splits = Splits() if is_divided else Splits(test_fraction=1.0)
    found = folder.read(root, options.on_bad_image, splits, objects=options.objects)
    with files.reported(f"--output={output}"):
        output.mkdir(parents=True, exist_ok=True)
        with files.whole(output / find.BOXES) as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(boxes_csv.COLUMNS)
            for name, boxes in found.boxes.items():
                rows.writerows([name, *(f"{edge:.6f}" for edge in box)] for box in boxes)
        for picture in tqdm(found.files, "masks", leave=False, disable=None):
            if picture.id in found.masks:
                path = output / folder_listing.MASKS / pathlib.Path(picture.id).with_suffix(".png")
                path.parent.mkdir(parents=True, exist_ok=True)
                mask = drawn.mask_of(found.masks[picture.id], *drawn.shape_of(picture))
                with files.whole(path, "wb") as file:
                    Image.fromarray(mask * np.uint8(255)).convert("1").save(file, "PNG")
    of = f"{errors.counted(len(found.boxes), 'picture')} with boxes, {len(found.masks)} with a mask"
    print(f"converted: {of}, of {len(found.files)}, into {output}")


if __name__ == "__main__":
    program.run(main)
