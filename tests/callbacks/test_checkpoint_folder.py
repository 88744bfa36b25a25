"""A folder of checkpoints has one writer, and what this process did not write stays, in the folder and outside of it."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import CheckpointManagerCallback, ConfigError, StateError
from keras_compress._keras import keras
from keras_compress.callbacks.checkpoint_folder import CheckpointFolder
from keras_compress.files import folder_lock

#: Takes the lock of a folder without TensorFlow, says so, and waits for the end of its input.
HOLD = """
import sys, types
for name, folder in (("keras_compress", sys.argv[1]), ("keras_compress.files", sys.argv[1] + "/files")):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [folder]
from keras_compress.files.folder_lock import FolderLock
lock = FolderLock(sys.argv[2])
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def fit(model, callback, epochs=1):
    x = np.ones((8, 2), np.float32)
    model.fit(x, x[:, :1], batch_size=4, epochs=epochs, callbacks=[callback], verbose=0)


def callback_of(model, folder, **options):
    return CheckpointManagerCallback(tf.train.Checkpoint(model=model), folder, **options)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def held(tmp_path):
    """A folder into which another process writes."""
    folder = tmp_path / "held"
    folder.mkdir()
    package = os.path.dirname(os.path.dirname(folder_lock.__file__))
    command = [sys.executable, "-c", HOLD, package, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "taken"
    yield folder, process
    process.kill()
    process.communicate()


def test_a_folder_that_another_process_writes_into_is_refused_before_the_first_step(model, held):
    folder, process = held
    before = [weights.copy() for weights in model.get_weights()]
    with pytest.raises(StateError, match=r"held.*Another process writes.*choose another folder"):
        fit(model, callback_of(model, folder))
    for weights, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, old)
    assert contents(folder) == {}
    process.kill()
    process.wait()
    fit(model, callback_of(model, folder))
    assert "ckpt-1.index" in contents(folder)


def test_after_training_others_may_write(model, tmp_path):
    fit(model, callback_of(model, tmp_path))
    package = os.path.dirname(os.path.dirname(folder_lock.__file__))
    command = [sys.executable, "-c", HOLD, package, str(tmp_path)]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "taken"


def test_two_callbacks_of_one_process_do_not_overwrite_each_other(model, tmp_path):
    other = keras.models.clone_model(model)
    other.compile("sgd", "mse")
    first, second = callback_of(model, tmp_path), callback_of(other, tmp_path)
    for callback, trained in ((first, model), (second, other)):
        callback.set_model(trained)
        callback.on_train_begin()
    for _ in range(3):
        first.on_epoch_end(0)
        second.on_epoch_end(0)
    assert sorted(path.name for path in tmp_path.glob("*.index")) == [f"ckpt-{n}.index" for n in range(1, 7)]


def refuse_to_save(monkeypatch):
    """Let TensorFlow write some files of a checkpoint and fail."""

    def save(self, *_, **__):
        number = int(self.checkpoint.save_counter.assign_add(1))
        for end in (".data-00000-of-00001", "_temp/part"):
            path = f"{self.directory}/ckpt-{number}{end}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write("half")
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)


def test_of_a_failed_save_only_its_own_files_are_deleted(model, tmp_path, monkeypatch):
    fit(model, callback_of(model, tmp_path), epochs=2)
    for name in ("ckpt-3-best", "ckpt-3-best.index", "ckpt-3.txt", "ckpt-30.index.bak", "ckpt-3.data-00001-of-00002"):
        (tmp_path / name).write_text("of the user")
    before = contents(tmp_path)
    refuse_to_save(monkeypatch)
    with pytest.raises(StateError, match=r"No space left.*complete: .*ckpt-2"):
        fit(model, callback_of(model, tmp_path))
    assert contents(tmp_path) == before
    assert not (tmp_path / "ckpt-3_temp").exists()


def test_a_failed_save_of_a_worker_leaves_the_folder_of_the_chief_alone(model, tmp_path, monkeypatch):
    fit(model, callback_of(model, tmp_path), epochs=2)
    before = contents(tmp_path)
    monkeypatch.setattr("keras_compress.callbacks.checkpoint_manager_callback.is_chief", lambda strategy: False)
    worker = callback_of(model, tmp_path)
    refuse_to_save(monkeypatch)
    with pytest.raises(StateError, match="No space left"):
        fit(model, worker)
    (tmp_path / "ckpt-3.index").write_text("of the chief")
    assert contents(tmp_path) == {**before, "ckpt-3.index": b"of the chief"}


def test_workers_do_not_need_the_lock_of_the_chief(model, held, monkeypatch):
    monkeypatch.setattr("keras_compress.callbacks.checkpoint_manager_callback.is_chief", lambda strategy: False)
    fit(model, callback_of(model, held[0]))
    assert contents(held[0]) == {}


@pytest.mark.parametrize(
    "named",
    ["../precious/a", "/PRECIOUS/a", "below/ckpt-1", "link/a", "*", "ckpt-1/../../precious/a", "best", "ckpt-?"],
)
@pytest.mark.parametrize("place", ["list", "newest"])
def test_a_list_that_names_files_of_others_makes_nothing_be_deleted(named, place, model, tmp_path):
    folder, precious = tmp_path / "folder", tmp_path / "precious"
    fit(model, callback_of(model, folder), epochs=2)
    precious.mkdir()
    for name in ("a.index", "a.data-00000-of-00001"):
        (precious / name).write_text("precious")
    (folder / "link").symlink_to(precious)
    (folder / "best.index").write_text("of the user")
    named = named.replace("/PRECIOUS", str(precious))
    listed = [named, "ckpt-1", "ckpt-2"] if place == "list" else ["ckpt-1", "ckpt-2"]
    newest = named if place == "newest" else "ckpt-2"
    lines = [f'model_checkpoint_path: "{newest}"']
    lines += [f'all_model_checkpoint_paths: "{name}"' for name in listed]
    lines += [f"all_model_checkpoint_timestamps: {1e9 + n}" for n in range(len(listed))]
    (folder / "checkpoint").write_text("\n".join([*lines, "last_preserved_timestamp: 1.0\n"]))
    before = contents(tmp_path)
    with pytest.raises(StateError, match=r"names one that this callback did not write.*Received: '"):
        fit(model, callback_of(model, folder, max_to_keep=1))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["ckpt-3_temp", "ckpt-3.data-00000-of-00001", "checkpoint"])
def test_a_link_in_the_place_of_a_file_is_refused(name, model, tmp_path):
    folder = tmp_path / "folder"
    fit(model, callback_of(model, folder), epochs=2)
    target = tmp_path / "precious"
    if name == "checkpoint":
        (folder / name).rename(target)
    elif "data" in name:
        target.write_text("precious")
    else:
        target.mkdir()
    (folder / name).symlink_to(target)
    before = contents(tmp_path)
    with pytest.raises(StateError, match="is a link"):
        fit(model, callback_of(model, folder))
    assert contents(tmp_path) == before


def test_what_is_no_folder_is_refused(model, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "pipe/below"):
        with pytest.raises(
            (StateError, ConfigError), match=r"is a pipe|No checkpoint can be written|cannot be written or read"
        ):
            fit(model, callback_of(model, tmp_path / name))


def test_the_highest_number_is_that_of_a_checkpoint(tmp_path):
    folder = CheckpointFolder(tmp_path / "new")
    assert folder.highest_number() == 0
    for name in (
        "ckpt-2.index",
        "ckpt-10.index",
        "ckpt-11.data-00000-of-00001",
        "ckpt-99-best.index",
        "other-50.index",
    ):
        (tmp_path / "new" / name).touch()
    assert folder.highest_number() == 10
    folder.release()
