"""The `imagenet` dataset: ILSVRC 2012, with the boxes of its validation split, from archives put in place by hand."""

import xml.etree.ElementTree as ET
from typing import ClassVar

import tensorflow_datasets as tfds

from cgc_tf.data.datasets import boxes, files

HOME = "https://image-net.org/"
LICENSE = "For non-commercial research and education, under the terms of https://image-net.org/download."
ORIGIN = "https://image-net.org/download-images (after registering)"
MD5S = {  # as the publisher states them
    "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
    "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
    "ILSVRC2012_bbox_val_v3.tgz": "f4cd18b5ea29fe6bbea62ec9c20d80f0",
}


class Builder(tfds.core.GeneratorBasedBuilder):
    """Builds `imagenet`; importing this module registers it with TFDS."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"{', '.join(MD5S)}: from {ORIGIN}."

    @classmethod
    def wnids(cls) -> list[str]:
        """The WordNet ids of the classes, sorted: a label is an index into them."""
        return sorted(_metadata("labels.txt"))

    def _info(self) -> tfds.core.DatasetInfo:
        return boxes.photographs(self, HOME, LICENSE, self.wnids())

    def _split_generators(self, dl_manager):
        archives = files.manual(dl_manager, MD5S, ORIGIN)
        for archive, expected in zip(archives, MD5S.values(), strict=True):
            files.check_md5(archive, expected, ORIGIN)
        train, validation, annotations = archives
        return {
            "train": self._generate_train(dl_manager.iter_archive(train)),
            "validation": self._generate_examples(
                dl_manager.iter_archive(validation), dl_manager.iter_archive(annotations)
            ),
        }

    def _generate_train(self, archives):
        """Yields the photographs of an archive of archives, one for each class."""
        wnids = set(self.wnids())
        for path, archive in archives:
            wnid = _stem(path)
            if wnid in wnids:
                for name, file in tfds.download.iter_archive(archive, tfds.download.ExtractMethod.TAR_STREAM):
                    yield _stem(name), {"image": file.read(), "label": wnid, "boxes": [], "id": _stem(name)}

    def _generate_examples(self, photographs, annotations):
        """Yields the validation photographs, with all boxes of the labeled class."""
        wnids, labels = set(self.wnids()), _metadata("validation_labels.txt")
        texts = {_stem(path): file.read() for path, file in annotations if path.endswith(".xml")}
        for path, file in photographs:
            name = _stem(path)
            wnid = labels[int(name.rsplit("_", 1)[-1]) - 1]  # ILSVRC2012_val_00000001 is the first
            if wnid in wnids:
                found = read_boxes(texts[name], wnid) if name in texts else []
                yield name, {"image": file.read(), "label": wnid, "boxes": found, "id": name}


def read_boxes(text, wnid):
    """The boxes of a class in a VOC annotation.

    Args:
        text: the XML. Its `bndbox` are pixels from 0, or the image's size, at the far edges.
        wnid: the `name` of the objects that count.

    Returns:
        A list of `tfds.features.BBox`, as shares of the annotation's `size`; empty where there is no such object.
    """
    root = ET.fromstring(text)
    width, height = (int(root.findtext(f"size/{key}", "")) for key in ("width", "height"))
    found = []
    for item in root.iter("object"):
        if item.findtext("name") == wnid:
            edges = (int(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax"))
            found += boxes.from_edges(*edges, width=width, height=height)
    return found


def _stem(path):
    return path.rsplit("/", 1)[-1].split(".", 1)[0]


def _metadata(name):
    """The lines of one of the files of ImageNet facts that TFDS comes with."""
    return tfds.core.tfds_path(f"datasets/imagenet2012/{name}").read_text().split()
