"""What is written is old or new at any moment, nothing else is touched, and what may not be replaced is refused."""

import itertools
import os
import signal
import socket
import subprocess
import sys

import pytest

from keras_compress.errors import ExportError
from keras_compress.files import door, exchange, moves, replacing, require_folder, require_replaceable, write_file
from keras_compress.files.moves import NotPutBack

PACKAGE = os.path.dirname(os.path.dirname(door.__file__))

#: Writes one file, two that belong together, or a folder, without TensorFlow, and kills itself at the n-th time that Python is about
#: to change a file.
WRITER = """
import os, signal, sys, types
package, target, kind, number, exchanged = sys.argv[1:]
for name, folder in (("keras_compress", package), ("keras_compress.files", package + "/files")):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = [folder]
from pathlib import Path
from keras_compress.files import door, exchange
if exchanged == "no":
    exchange._renameat2 = lambda: None
left = int(number)
CHANGES = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate"}
def watch(event, arguments):
    global left
    if event in CHANGES or (event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
if kind == "folder":
    with door.replacing(target, folder=True, foreign=lambda folder: []) as staged:
        staged.mkdir()
        (staged / "a").write_text("new a")
        (staged / "b").write_text("new b")
else:
    with door.replacing(target) as staged:
        staged.write_text("new main")
        if kind == "two":
            staged.with_suffix(".bin").write_text("new bin")
"""


def contents(folder):
    """Return what is in a folder, without what a killed process was about to write."""
    every = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: path.read_bytes() for name, path in every.items() if path.is_file() and not name.startswith(door.STAGING)
    }


def old_state(folder, kind):
    """Put old content to where something is written."""
    if kind == "folder":
        (folder / "target").mkdir()
        for name in ("a", "old"):
            (folder / "target" / name).write_text(f"old {name}")
    else:
        (folder / "target").write_text("old main")
        if kind == "two":
            (folder / "target.bin").write_text("old bin")


NEW = {
    "one": {"target": b"new main"},
    "two": {"target": b"new main", "target.bin": b"new bin"},
    "folder": {"target/a": b"new a", "target/b": b"new b"},
}


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize(("kind", "exchanged"), [("one", "yes"), ("two", "yes"), ("folder", "yes"), ("folder", "no")])
def test_a_process_killed_at_any_change_leaves_the_old_or_the_new(kind, exchanged, existed, tmp_path):
    states = []
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "neighbour").write_text("of another")
        if existed:
            old_state(folder, kind)
        old = contents(folder)
        new = {"neighbour": b"of another", **NEW[kind]}
        command = [sys.executable, "-c", WRITER, PACKAGE, str(folder / "target"), kind, str(number), exchanged]
        done = subprocess.run(command, check=False, capture_output=True)
        found = contents(folder)
        if done.returncode == 0:
            assert found == new
            assert not [path for path in folder.iterdir() if path.name.startswith(door.STAGING)]
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        mixed = {**old, "target": b"new main"} if kind == "two" else None
        if exchanged == "no" and "target/a" not in found:
            moves.recover(folder / "target", door.STAGING)
            found = contents(folder)
        assert found in (old, new, mixed)
        states.append(found)
    assert number > 5
    assert old in states
    assert new in states


def test_what_is_there_is_replaced_with_its_permissions_and_nothing_is_left(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o640)
    assert write_file(path, "new") == path
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert write_file(str(tmp_path / "b" / "c" / "d.txt"), b"bytes").read_bytes() == b"bytes"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.txt", "b"]


def test_a_file_with_a_second_name_is_not_changed_under_that(tmp_path):
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "second")
    write_file(tmp_path / "a", "new")
    assert (tmp_path / "second").read_text() == "old"


def write(target, *parts, **options):
    """Write a file, and one beside it if two parts are given."""
    with replacing(target, **options) as staged:
        staged.write_text(parts[0])
        for part in parts[1:]:
            staged.with_suffix(".bin").write_text(part)


def stand(path, kind):
    """Put something to a path that is no file and no folder; return what has to be closed."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        return listening
    elif kind == "link":
        path.with_name("precious").write_text("kept")
        path.symlink_to("precious")
    elif kind == "link to nothing":
        path.symlink_to("nothing")
    elif kind == "link to a folder":
        path.with_name("folder").mkdir()
        path.symlink_to("folder")
    return None


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "socket", "link", "link to nothing", "link to a folder"])
def test_what_is_neither_file_nor_folder_is_refused_and_left_alone(kind, folder, tmp_path):
    path = tmp_path / "target"
    opened = stand(path, kind)
    mode, names = os.lstat(path).st_mode, sorted(os.listdir(tmp_path))
    message = rf"target' is a {kind.split()[0]}\. Expected: the path of a f.* Received: "
    with pytest.raises(ExportError, match=message), replacing(path, folder=folder):
        pytest.fail("it asked for something to be written")
    assert os.lstat(path).st_mode == mode
    assert sorted(os.listdir(tmp_path)) == names
    if opened:
        opened.close()


def test_a_device_is_refused():
    for path in ("/dev/null", "/dev/full"):
        with pytest.raises(ExportError, match="is a device"):
            write_file(path, "text")
    assert os.stat("/dev/null").st_rdev == os.makedev(1, 3)


def test_what_comes_into_the_way_meanwhile_is_refused(tmp_path):
    written = replacing(tmp_path / "a")
    written.__enter__().write_text("new")
    (tmp_path / "a").symlink_to("elsewhere")
    with pytest.raises(ExportError, match="is a link"):
        written.__exit__(None, None, None)
    assert os.readlink(tmp_path / "a") == "elsewhere"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_within_the_path_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link" / "a", "text")
    assert (tmp_path / "real" / "a").read_text() == "text"
    assert require_folder(tmp_path / "link") == tmp_path / "link"


def test_a_file_and_a_folder_do_not_replace_each_other(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ExportError, match=r"is a folder.*Add a file name"):
        write_file(tmp_path / "folder", "text")
    with pytest.raises(ExportError, match="is a file"):
        require_replaceable(tmp_path / "file", folder=True)
    with pytest.raises(ExportError, match="cannot be made"):
        require_folder(tmp_path / "file")
    with pytest.raises(ExportError, match=r"cannot be written.*unchanged"):
        write_file(tmp_path / "file" / "below", "text")
    assert contents(tmp_path) == {"file": b"kept"}


def test_a_folder_with_other_files_is_refused_with_their_names(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("kept")
    with pytest.raises(ExportError, match=r"holds other files: 'notes\.txt'"):
        require_replaceable(tmp_path / "folder", folder=True)
    require_replaceable(tmp_path / "folder", folder=True, foreign=lambda folder: [])


def test_a_file_beside_that_belongs_to_nothing_is_refused_unless_that_is_asked_for(tmp_path):
    (tmp_path / "a.bin").write_text("of another")
    for overwrite in (False, True):
        written = replacing(tmp_path / "a.xml", beside=[tmp_path / "a.bin"], overwrite=overwrite)
        if not overwrite:
            with pytest.raises(ExportError, match=r"a\.bin' exists, and there is no '.*a\.xml'.*--overwrite"), written:
                pytest.fail("it asked for something to be written")
            assert contents(tmp_path) == {"a.bin": b"of another"}
            continue
        write(tmp_path / "a.xml", "new main", "new bin", overwrite=True)
    assert contents(tmp_path) == {"a.bin": b"new bin", "a.xml": b"new main"}


@pytest.mark.parametrize("existed", [True, False])
def test_an_error_in_between_leaves_everything_as_it_was(existed, tmp_path):
    if existed:
        old_state(tmp_path, "two")
    before = contents(tmp_path)
    with pytest.raises(IndexError):
        write(tmp_path / "new" / "target")
    with pytest.raises(ExportError, match=r"nothing was written"), replacing(tmp_path / "target"):
        pass
    assert contents(tmp_path) == before
    assert set(os.listdir(tmp_path)) == set(before)


@pytest.mark.parametrize("existed", [True, False])
def test_if_the_second_of_two_cannot_be_moved_the_first_is_put_back(existed, tmp_path, monkeypatch):
    if existed:
        old_state(tmp_path, "two")
    before, replace = contents(tmp_path), os.replace

    def refuse(source, target):
        if str(target).endswith(".bin"):
            raise OSError("no space left")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ExportError, match=r"no space left.*unchanged"):
        write(tmp_path / "target", "new main", "new bin")
    assert contents(tmp_path) == before
    assert set(os.listdir(tmp_path)) == set(before)


def test_what_cannot_be_put_back_is_kept_and_its_place_is_named(tmp_path, monkeypatch):
    old_state(tmp_path, "two")
    replace, calls = os.replace, itertools.count()

    def refuse(source, target):
        if next(calls) > 0:
            raise OSError("no space left")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(NotPutBack, match=r"The old one is '.*old/target'"):
        write(tmp_path / "target", "new main", "new bin")
    kept = [path for path in tmp_path.rglob("target") if path.read_text() == "old main"]
    assert len(kept) == 1


@pytest.mark.parametrize("exchanged", [True, False])
def test_a_folder_that_cannot_be_moved_leaves_the_old_one(exchanged, tmp_path, monkeypatch):
    old_state(tmp_path, "folder")
    before, rename = contents(tmp_path), os.rename

    def refuse(source, target):
        if str(target) == str(tmp_path / "target"):
            raise OSError("no space left")
        rename(source, target)

    def refuse_exchange(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "rename", refuse)
    monkeypatch.setattr(moves, "exchange", refuse_exchange if exchanged else lambda *_: False)
    written = replacing(tmp_path / "target", folder=True, foreign=lambda folder: [])
    written.__enter__().mkdir()
    with pytest.raises(ExportError, match="no space left"):
        written.__exit__(None, None, None)
    assert contents(tmp_path) == before
    assert os.listdir(tmp_path) == ["target"]


def test_two_paths_are_exchanged_where_the_system_can(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    done = exchange.exchange(tmp_path / "a", tmp_path / "b")
    assert os.listdir(tmp_path / "a") == (["b"] if done else ["a"])
    if sys.platform == "linux":
        assert done
        with pytest.raises(OSError, match="nothing"):
            exchange.exchange(tmp_path / "a", tmp_path / "nothing")
    monkeypatch.setattr(exchange, "_renameat2", lambda: None)
    assert not exchange.exchange(tmp_path / "a", tmp_path / "b")
