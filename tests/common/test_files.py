"""Files are written whole or not at all; what prevents it is one line."""

import contextlib
import errno
import resource

import pytest

from cgc_tf.common import files
from cgc_tf.common.errors import UserError


@contextlib.contextmanager
def files_limited_to(count):
    """Within it no file of this process can grow beyond so many bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("contents", ["Straße\r\n2\n", b"\xff\x00"])
def test_writes_and_replaces(tmp_path, contents, durable):
    path = tmp_path / "file"
    path.write_bytes(b"something longer than what follows")
    files.write(path, contents, durable)
    assert path.read_bytes() == (contents.encode() if isinstance(contents, str) else contents)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    message = rf"--output={path} cannot be written: File too large$"
    with pytest.raises(UserError, match=message), files.reported(f"--output={path}"), files_limited_to(1000):
        files.write(path, bytes(2000))
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError), files.whole(path) as file:
        file.writelines(["new", 1])
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_one_line(tmp_path):
    path = tmp_path / "absent" / "file"
    message = r"absent/file cannot be written: No such file or directory$"
    with pytest.raises(UserError, match=message), files.reported(path):
        files.write(path, "text")


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    (tmp_path / f"metrics.csv.4711{files.PARTIAL}").write_text("epo")
    (tmp_path / "metrics.csv").write_text("epoch")
    files.remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_reader_that_has_left_is_no_matter_of_the_file():
    with pytest.raises(BrokenPipeError), files.reported("report.html"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
