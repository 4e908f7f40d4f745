"""The files that builders read: fetched, or put in place by a person; checked either way.

Archives are read member by member (`dl_manager.iter_archive`), never unpacked at the paths they name.
"""

import hashlib

import scipy.io
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager

from cgc_tf.common.errors import UserError


def manual_folder(dl_manager):
    """The folder for files that a person puts there, a path; it may not exist yet."""
    try:
        return dl_manager.manual_dir
    except AssertionError:  # TFDS says so of a folder that is missing or empty
        return dl_manager.download_dir / "manual"


def manual(dl_manager, names, origin):
    """Paths of files (or folders) that a person puts into the manual folder under these names: a list.

    Raises:
        UserError: names every file that is missing, the folder, and the origin, which is where to get them.
    """
    folder = manual_folder(dl_manager)
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise UserError(f"missing {', '.join(missing)}: get them from {origin} and put them into {folder}")
    return [folder / name for name in names]


def fetch(dl_manager, urls, md5s):
    """Downloads {key: URL}, or takes files from the manual folder where they lie there under their own names.

    Returns {key: path}. `md5s` are {key: MD5 in hexadecimal}, for those without a SHA-256 in `checksums.tsv`.

    Raises:
        UserError: a file that cannot be fetched, or is not the one that was expected.
    """
    folder = manual_folder(dl_manager)
    paths = {key: folder / url.rsplit("/", 1)[-1] for key, url in urls.items()}
    present = {key: path for key, path in paths.items() if key in md5s and path.exists()}
    wanted = {key: url for key, url in urls.items() if key not in present}
    try:
        fetched = dl_manager.download(wanted) if wanted else {}
    except (OSError, tfds.download.DownloadError, download_manager.NonMatchingChecksumError) as error:
        names = ", ".join(paths[key].name for key in wanted)
        reason = " ".join(str(error).split())
        raise UserError(f"{names} cannot be fetched; put a copy into {folder}, under this name ({reason})") from error
    found = {**present, **fetched}
    for key, expected in md5s.items():
        check_md5(found[key], expected, urls[key])
    return found


def check_md5(path, expected, origin):
    """Raises `UserError` unless the file's MD5 is `expected`."""
    with path.open("rb") as file:
        received = hashlib.file_digest(file, "md5").hexdigest()
    if received != expected:
        raise UserError(
            f"{path} is incomplete or another version: MD5 {received}, expected {expected}; remove it, and get it "
            f"again from {origin}"
        )


def read_mat(path):
    """The variables of a MATLAB file, a dict of arrays without dimensions of size 1."""
    with path.open("rb") as file:
        return scipy.io.loadmat(file, squeeze_me=True)
