"""Every writer: old or new, whole, and nothing but what it was asked for; whatever stands in its place and whenever it is ended."""

import os
import resource
import shutil
import sys
import warnings

import pytest

from keras_compress.errors import CompressionError, ExportError
from keras_compress.export.runtimes.openvino_pair import require_pair
from keras_compress.files import door, moves
from tests.contract.writers import WRITERS, controller, write_sources
from tests.levels import levels

EVERY = levels(WRITERS, first=["frozen_graph", "openvino", "saved_model", "sensitivity table", "best", "integers"])

pytestmark = pytest.mark.filterwarnings("ignore")


def contents(folder):
    every = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: path.read_bytes()
        for name, path in every.items()
        if path.is_file() and not path.is_symlink() and not name.startswith(door.STAGING)
    }


@pytest.fixture
def folder(tmp_path):
    """A folder with the file of another, beside which something is written."""
    write_sources(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "neighbour").write_text("of another")
    return tmp_path / "work"


#: What happens at every change of a file, by :func:`watch`; an audit hook cannot be taken away again.
_SEEN = []
_CHANGES = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "shutil.move"}


def watch(event, arguments):
    if _SEEN and (
        event in _CHANGES or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"))
    ):
        seen = _SEEN.pop()
        try:
            seen()
        finally:
            _SEEN.append(seen)


sys.addaudithook(watch)


@pytest.mark.parametrize("exchanged", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_what_is_there_at_any_change_is_old_or_new_or_known_to_be_mixed(name, exchanged, folder, tmp_path, monkeypatch):
    """What a process leaves that is killed at a moment is what is on the disk at that moment."""
    writer = WRITERS[name]
    if not exchanged:
        if not writer.folder:
            return  # only folders are exchanged
        monkeypatch.setattr(moves, "exchange", lambda *_: False)
    path = folder / writer.name
    writer.write(path, 0)
    old = contents(folder)
    assert old["neighbour"] == b"of another"
    assert len(old) > 1
    states, kept = [], tmp_path / "kept"

    def keep():
        state = contents(folder)
        if not states or state != states[-1]:
            states.append(state)
            shutil.copytree(folder, kept / str(len(states)), symlinks=True)

    _SEEN.append(keep)
    try:
        writer.write(path, 1)
    finally:
        _SEEN.clear()
    new = contents(folder)
    assert new != old
    assert set(os.listdir(folder)) == {"neighbour", *(item.split("/")[0] for item in new)}
    for number, state in enumerate(states, 1):
        if state in (old, new):
            continue
        left = kept / str(number)
        if writer.folder and not exchanged:
            assert not (left / writer.name).exists()
            moves.recover(left / writer.name, door.STAGING)
            assert contents(left) == old
            continue
        assert writer.beside, f"{sorted(state)} is neither old nor new"
        assert all(state[item] in (old[item], new[item]) for item in state)
        if name == "openvino":
            with pytest.raises(ExportError, match="do not belong together"):
                require_pair(left / writer.name)


@pytest.mark.parametrize("name", EVERY)
def test_a_full_disk_leaves_the_old(name, folder):
    writer = WRITERS[name]
    path = folder / writer.name
    writer.write(path, 0)
    controller(1)
    size = max(len(content) for name, content in contents(folder).items() if name != "neighbour")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    failed = []
    for limit in (0, 1, size // 2, size - 1):
        writer.write(path, 0)
        old = contents(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            writer.write(path, 1)
        except CompressionError as error:
            failed.append(error)
            assert contents(folder) == old
            assert set(os.listdir(folder)) == {item.split("/")[0] for item in old}
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(failed) >= 2
    assert len(str(failed[0])) > 20


def refused(writer, path, version=0):
    with pytest.raises(CompressionError) as error:
        writer.write(path, version)
    return str(error.value)


@pytest.mark.parametrize("kind", ["pipe", "link", "link to nothing"])
@pytest.mark.parametrize("name", EVERY)
def test_a_pipe_and_a_link_are_refused_and_left_alone(name, kind, folder):
    writer = WRITERS[name]
    targets = [item for item in writer.targets if item != "checkpoint"]  # which TensorFlow lists its weights in
    for target in targets:
        place = folder / target
        if kind == "pipe":
            os.mkfifo(place)
        else:
            place.symlink_to("neighbour" if kind == "link" else "nothing")
        mode = os.lstat(place).st_mode
        assert kind.split()[0] in refused(writer, folder / writer.name)
        assert os.lstat(place).st_mode == mode
        assert sorted(os.listdir(folder)) == sorted(["neighbour", target])
        assert (folder / "neighbour").read_text() == "of another"
        place.unlink()


@pytest.mark.parametrize("name", EVERY)
def test_a_device_is_refused_and_stays_one(name, folder):
    writer = WRITERS[name]
    device = folder / writer.targets[0]
    try:
        os.mknod(device, 0o20666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root can make a device")
    assert "a device" in refused(writer, folder / writer.name)
    assert os.stat(device).st_rdev == os.makedev(1, 3)


@pytest.mark.parametrize("name", EVERY)
def test_a_folder_with_files_of_another_is_refused_and_left_alone(name, folder):
    writer = WRITERS[name]
    place = folder / writer.targets[0]
    (place / "below").mkdir(parents=True)
    (place / "below" / "precious").write_text("kept")
    refused(writer, folder / writer.name)
    if writer.folder:
        shutil.rmtree(place)
        writer.write(place, 0)
        (place / "variables" / "notes.txt").write_text("kept")
        assert "notes.txt" in refused(writer, place)
        assert (place / "variables" / "notes.txt").read_text() == "kept"
    else:
        assert contents(folder) == {"neighbour": b"of another", f"{writer.targets[0]}/below/precious": b"kept"}


def test_a_file_beside_that_is_of_another_is_refused_until_that_is_asked_for(folder):
    model = controller(0).model
    import keras_compress as kc

    (folder / "model.bin").write_text("of another")
    message = refused(WRITERS["openvino"], folder / "model.xml")
    assert "--overwrite" in message
    assert contents(folder) == {"neighbour": b"of another", "model.bin": b"of another"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kc.export_model(model, folder / "model.xml", strict=False, overwrite=True)
    assert (folder / "model.bin").read_bytes() != b"of another"
    WRITERS["openvino"].write(folder / "model.xml", 1)


def test_weights_of_tensorflow_leave_the_list_of_other_checkpoints(folder):
    listed = b'model_checkpoint_path: "ckpt-3"\nall_model_checkpoint_paths: "ckpt-3"\n'
    (folder / "checkpoint").write_bytes(listed)
    WRITERS["best TensorFlow weights"].write(folder / "best", 0)
    assert (folder / "checkpoint").read_bytes() == listed
    assert (folder / "best.index").is_file()
