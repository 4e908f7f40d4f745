"""A dataset by its name: a TFDS builder or a folder of pictures, as a `Source`."""

import pathlib
from collections.abc import Mapping

from cgc_tf.common.errors import UserError
from cgc_tf.data import folder, tfds_datasets
from cgc_tf.data.folder_listing import LAYOUT, WHOLE
from cgc_tf.data.source import Source
from cgc_tf.data.splits import Splits

KNOWN = (*tfds_datasets.DATASETS, "folder")


def load_dataset(
    dataset: str,
    data_dir: str | None = None,
    on_bad_image: str = "fail",
    splits: Splits = WHOLE,
    record: pathlib.Path | None = None,
    objects: str = "",
) -> Source:
    """Opens a dataset by name, preparing it where it must be.

    Args:
        dataset: one of `KNOWN`.
        data_dir: the folder of pictures (`folder`), or where TFDS keeps its data (None: TFDS's own default).
        on_bad_image: "fail" or "skip", for pictures of a folder that cannot be decoded.
        splits: how a folder's pictures are divided where its folders do not say it.
        record: a run's `splits.csv`, which then says it instead; None where there is none yet.
        objects: where the objects of a folder's pictures are; "" for what the folder itself has.

    Raises:
        UserError: for an unknown dataset, or data that cannot be used.
    """
    check(dataset, data_dir)
    if dataset == "folder":
        assert data_dir, "`check` has refused the lack of it"
        return folder.source_of(folder.read(pathlib.Path(data_dir), on_bad_image, splits, record, objects))
    return tfds_datasets.open_dataset(dataset, data_dir)


def check(dataset: str, data_dir: str | None = None, kind: str = "", of_folders: Mapping | None = None) -> None:
    """Raises `UserError` unless `dataset` is known and has what it needs by name; reads nothing.

    `kind` is "unlabeled_" where it is `--unlabeled_dataset` that is checked; `of_folders` are settings, {name: value},
    that only a folder of pictures reads.
    """
    if dataset not in KNOWN:
        raise UserError(f"unknown --{kind}dataset={dataset}; known: {', '.join(KNOWN)}")
    if dataset == "folder" and not data_dir:
        raise UserError(f"--{kind}dataset=folder needs --{kind}data_dir=DIR with {LAYOUT}, or DIR/<class>/*.jpg")
    if dataset != "folder":
        for name, value in (of_folders or {}).items():
            if value:
                raise UserError(f"--{name} is not used by --dataset={dataset}: it is for folders of pictures")
