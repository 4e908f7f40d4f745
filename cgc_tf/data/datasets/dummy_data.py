"""Draws the builders' dummy data: a few small pictures in each official archive's own layout.

  python -m cgc_tf.data.datasets.dummy_data

writes cgc_tf/data/datasets/*/dummy_data and tests/testdata/caltech_birds2011 anew.

Each picture is a plain rectangle on a plain ground, so every box and mask is known by hand.
"""

import gzip
import io
import pathlib
import tarfile

import numpy as np
import scipy.io
from PIL import Image, ImageDraw

DATASETS = pathlib.Path(__file__).parent
BIRDS = DATASETS.parents[2] / "tests/testdata/caltech_birds2011"

AIRCRAFT = {  # id: (split, variant, family, manufacturer, box as printed); pictures are 100 x 60, banner included
    "0000001": ("train", "F/A-18", "F/A-18", "McDonnell Douglas", "11 21 50 60"),
    "0000002": ("train", "Boeing 707 320", "Boeing 707", "Boeing", "0 0 50 20"),
    "0000003": ("val", "DHC-8-100", "Dash 8", "de Havilland", "21 11 120 30"),
    "0000004": ("test", "Boeing 707 320", "Boeing 707", "Boeing", "1 1 100 60"),
    "0000005": ("test", "DHC-8-100", "Dash 8", "de Havilland", "10 45 30 55"),
}
CARS = {  # split: rows of x1, y1, x2, y2, class, file; pictures are 80 x 50
    "train": [(9, 6, 40, 25, 1, "00001.jpg"), (1, 1, 80, 50, 196, "00002.jpg"), (41, 26, 90, 60, 3, "00003.jpg")],
    "test": [(21, 11, 60, 40, 2, "00001.jpg")],
}
FLOWERS = {  # number: (split, label from 1, the flower's edges); pictures are 64 x 48
    1: ("tstid", 77, (16, 8, 48, 40)),
    2: ("trnid", 1, (8, 16, 32, 32)),
    3: ("valid", 102, (0, 0, 64, 24)),
    4: ("trnid", 77, (24, 0, 40, 48)),
    5: ("tstid", 5, (0, 0, 0, 0)),
}
WNIDS = ("n01735189", "n03794056", "n01440764")  # the last is not in ImageNet-100
VALIDATION = {  # number: objects as (wnid, edges), of pictures 50 x 40; the official labels of these numbers are known
    6: [("n01735189", (0, 0, 25, 20)), ("n01440764", (0, 0, 50, 40)), ("n01735189", (30, 10, 50, 40))],
    9: [("n01440764", (5, 5, 10, 10))],
    293: [("n01440764", (10, 8, 40, 32))],
}
CUB = {  # file: (trains, box as x, y, width, height); pictures are 60 x 40
    "001.Black_footed_Albatross/Black_Footed_Albatross_0001_1.jpg": (1, (15, 10, 30, 20)),
    "001.Black_footed_Albatross/Black_Footed_Albatross_0002_2.jpg": (0, (0, 0, 60, 20)),
    "002.Laysan_Albatross/Laysan_Albatross_0001_3.jpg": (1, (30, 4, 15, 32)),
    "002.Laysan_Albatross/Laysan_Albatross_0002_4.jpg": (0, (6, 8, 12, 16)),
}


def picture(size, edges, ground=(90, 120, 60), paint=(200, 60, 60), mode="RGB"):
    """A picture of `size` (width, height) with a rectangle between `edges` (left, top, right, bottom)."""
    image = Image.new(mode, size, ground)
    left, top, right, bottom = edges
    if right > left:
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), paint)
    return image


def encode(image, kind="JPEG"):
    """The bytes of an image's file."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def archive(members):
    """The bytes of a tar of {path: contents}, the same each time."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for path, contents in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(contents)
            tar.addfile(info, io.BytesIO(contents))
    return file.getvalue()


def write(path, contents):
    """Writes bytes, compressed where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(contents, mtime=0) if path.suffix in (".gz", ".tgz") else contents)


def write_mat(path, variables):
    """Writes a MATLAB file, with a constant text where the format has room for the time."""
    file = io.BytesIO()
    scipy.io.savemat(file, variables, do_compression=True)
    write(path, b"MATLAB 5.0 MAT-file".ljust(116) + file.getvalue()[116:])


def shade(index):
    """A color that no other index below 20 has, so that no two pictures are the same."""
    return (200, 10 * index, 60)


def aircraft(folder):
    """fgvc-aircraft-2013b.tar.gz."""
    texts = {"images_box.txt": [f"{name} {row[4]}" for name, row in AIRCRAFT.items()]}
    levels = {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}
    for column, (level, file) in enumerate(levels.items(), 1):
        texts[f"{file}.txt"] = sorted({row[column] for row in AIRCRAFT.values()})
        for split in ("train", "val", "trainval", "test"):
            rows = {name: row for name, row in AIRCRAFT.items() if row[0] in split}
            texts[f"images_{level}_{split}.txt"] = [f"{name} {row[column]}" for name, row in rows.items()]
    members = {f"fgvc-aircraft-2013b/data/{name}": "\n".join([*rows, ""]).encode() for name, rows in texts.items()}
    for index, name in enumerate(AIRCRAFT):
        image = picture((100, 60), (0, 40, 100, 60), ground=shade(index), paint=(255, 255, 255))
        members[f"fgvc-aircraft-2013b/data/images/{name}.jpg"] = encode(image)
    write(folder / "fgvc-aircraft-2013b.tar.gz", archive(members))


def cars(folder):
    """cars_train/, cars_test/ and devkit/, without the optional cars_meta.mat."""
    fields = [(name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    for split, file in {"train": "cars_train_annos", "test": "cars_test_annos_withlabels"}.items():
        rows = np.empty((1, len(CARS[split])), fields)
        rows[0] = [tuple(row) for row in CARS[split]]
        write_mat(folder / "devkit" / f"{file}.mat", {"annotations": rows})
        for index, row in enumerate(CARS[split]):
            image = picture((80, 50), (row[0] - 1, row[1] - 1, *row[2:4]), paint=shade(index + 5 * (split == "test")))
            write(folder / f"cars_{split}" / row[5], encode(image))


def flowers(folder):
    """102flowers.tgz, 102segmentations.tgz, imagelabels.mat and setid.mat."""
    images, segmented = {}, {}
    for number, (_, _, edges) in FLOWERS.items():
        images[f"jpg/image_{number:05d}.jpg"] = encode(picture((64, 48), edges, paint=shade(number)))
        segmented[f"segmim/segmim_{number:05d}.jpg"] = encode(picture((64, 48), edges, (0, 0, 254), shade(number)))
    write(folder / "102flowers.tgz", archive(images))
    write(folder / "102segmentations.tgz", archive(segmented))
    write_mat(folder / "imagelabels.mat", {"labels": [[row[1] for row in FLOWERS.values()]]})
    splits = {key: [[n for n, row in FLOWERS.items() if row[0] == key]] for key in ("trnid", "valid", "tstid")}
    write_mat(folder / "setid.mat", splits)


def imagenet(folder):
    """The archive of archives to train on, that to validate on, and the latter's boxes."""
    train, photographs, annotations = {}, {}, {}
    for index, wnid in enumerate(WNIDS):
        colors = {number: shade(3 * index + number) for number in (1, 2)}
        pictures = {number: picture((50, 40), (9, 9, 30, 30), paint=color) for number, color in colors.items()}
        files = {f"{wnid}_{number}.JPEG": encode(image) for number, image in pictures.items()}
        train[f"{wnid}.tar"] = archive(files)
    for number, objects in VALIDATION.items():
        name = f"ILSVRC2012_val_{number:08d}"
        photographs[f"{name}.JPEG"] = encode(picture((50, 40), objects[0][1], paint=shade(10 + number % 10)))
        annotations[f"val/{name}.xml"] = voc(name, objects).encode()
    write(folder / "ILSVRC2012_img_train.tar", archive(train))
    write(folder / "ILSVRC2012_img_val.tar", archive(photographs))
    write(folder / "ILSVRC2012_bbox_val_v3.tgz", archive(annotations))


def voc(name, objects):
    """A VOC annotation of a picture of 50 x 40."""
    rows = "".join(
        f"<object><name>{wnid}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for wnid, (left, top, right, bottom) in objects
    )
    size = "<size><width>50</width><height>40</height><depth>3</depth></size>"
    return f"<annotation><folder>val</folder><filename>{name}</filename>{size}{rows}</annotation>"


def birds(folder):
    """CUB_200_2011.tgz and segmentations.tgz, as TFDS's caltech_birds2011 reads them."""
    lists = {"images": [], "train_test_split": [], "bounding_boxes": []}
    members, masks = {}, {}
    for index, (path, (trains, (x, y, width, height))) in enumerate(CUB.items(), 1):
        lists["images"].append(f"{index} {path}")
        lists["train_test_split"].append(f"{index} {trains}")
        lists["bounding_boxes"].append(f"{index} {x:.1f} {y:.1f} {width:.1f} {height:.1f}")
        edges = (x, y, x + width, y + height)
        members[f"CUB_200_2011/images/{path}"] = encode(picture((60, 40), edges, paint=shade(index)))
        mask = picture((60, 40), edges, 51, 204, "L")  # of five people's votes: one said so, four said so
        masks[f"segmentations/{path.replace('.jpg', '.png')}"] = encode(mask, "PNG")
    texts = {f"CUB_200_2011/{name}.txt": "\n".join([*rows, ""]).encode() for name, rows in lists.items()}
    write(folder / "CUB_200_2011.tgz", archive({**texts, **members}))
    write(folder / "segmentations.tgz", archive(masks))


if __name__ == "__main__":
    aircraft(DATASETS / "fgvc_aircraft" / "dummy_data")
    cars(DATASETS / "stanford_cars196" / "dummy_data")
    flowers(DATASETS / "flowers102" / "dummy_data")
    imagenet(DATASETS / "imagenet" / "dummy_data")
    birds(BIRDS)
