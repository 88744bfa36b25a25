"""The newest checkpoint is the newest one whose files are there, and a warning says which is not."""

import os

import pytest
import tensorflow as tf

from keras_compress import StateError, latest_checkpoint
from keras_compress.checkpoint_files import checkpoint_number, listed_checkpoint, whole_checkpoints


@pytest.fixture
def folder(tmp_path):
    """A folder with the checkpoints 8 to 11, so that the order of names is not that of numbers."""
    checkpoint = tf.train.Checkpoint(number=tf.Variable(1.0))
    checkpoint.save_counter.assign(7)
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=None)
    for _ in range(4):
        manager.save()
    return tmp_path


def remove(folder, pattern):
    for file in folder.glob(pattern):
        file.unlink()


def test_the_newest_is_the_one_that_tensorflow_names(folder):
    assert latest_checkpoint(folder) == str(folder / "ckpt-11") == tf.train.latest_checkpoint(str(folder))
    assert [checkpoint_number(path) for path in whole_checkpoints(folder)] == [8, 9, 10, 11]


@pytest.mark.parametrize("pattern", ["ckpt-11.*", "ckpt-11.index", "ckpt-11.data*"])
def test_where_the_newest_is_missing_the_one_before_it_is_taken(folder, pattern):
    remove(folder, pattern)
    with pytest.warns(UserWarning, match=r"cannot be read: 'ckpt-11' is missing or without its data.*from 'ckpt-10'"):
        assert latest_checkpoint(folder) == str(folder / "ckpt-10")


def test_where_the_list_is_missing_the_newest_file_is_taken(folder):
    remove(folder, "checkpoint")
    with pytest.warns(UserWarning, match=r"the list of them is missing.*from 'ckpt-11'"):
        assert latest_checkpoint(folder) == str(folder / "ckpt-11")


@pytest.mark.parametrize("content", [b"\x00\xff", b'model_checkpoint_path: ""', None])
def test_where_the_list_is_damaged_the_newest_file_is_taken(content, folder):
    remove(folder, "checkpoint")
    os.mkfifo(folder / "checkpoint") if content is None else (folder / "checkpoint").write_bytes(content)
    with pytest.warns(UserWarning, match=r"the list of them is damaged.*from 'ckpt-11'"):
        assert latest_checkpoint(folder) == str(folder / "ckpt-11")
    with pytest.raises(StateError, match=r"cannot be read.*Expected.*Remove it"):
        listed_checkpoint(folder)


def test_files_that_the_list_names_elsewhere_are_not_looked_for(folder, tmp_path):
    remove(folder, "ckpt-*")
    assert latest_checkpoint(folder) is None


def test_a_checkpoint_in_several_parts_needs_them_all(folder):
    (folder / "ckpt-11.data-00000-of-00001").rename(folder / "ckpt-11.data-00000-of-00002")
    with pytest.warns(UserWarning, match="ckpt-10"):
        assert latest_checkpoint(folder) == str(folder / "ckpt-10")
    (folder / "ckpt-11.data-00001-of-00002").write_bytes(b"")
    assert latest_checkpoint(folder) == str(folder / "ckpt-11")


@pytest.mark.parametrize(
    ("name", "number"), [("ckpt-12", 12), ("a/b-1/ckpt-3.index", 3), ("ckpt-7.data-00000-of-00001", 7), ("ckpt", 0)]
)
def test_numbers_are_read_from_names(name, number):
    assert checkpoint_number(name) == number
