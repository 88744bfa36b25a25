"""A folder has one process that writes into it; the right ends with the process, and is shared within it."""

import os
import signal
import subprocess
import sys

import pytest

from keras_compress.files import FolderLock, folder_lock
from keras_compress.files.folder_lock import FolderLocked

#: Takes the lock of a folder without TensorFlow, says so, and waits for the end of its input.
HOLD = """
import sys, types
sys.modules[sys.argv[3]] = None
for name, folder in (("keras_compress", sys.argv[1]), ("keras_compress.files", sys.argv[1] + "/files")):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [folder]
from keras_compress.files.folder_lock import FolderLock
try:
    lock = FolderLock(sys.argv[2])
except Exception as error:
    print(f"{type(error).__name__}: {error}", flush=True)
else:
    print("taken", flush=True)
sys.stdin.read()
"""
PACKAGE = os.path.dirname(os.path.dirname(folder_lock.__file__))


@pytest.fixture
def other():
    """Start a process that takes the lock of a folder; return what it says, and the process."""
    started = []

    def start(folder, without=""):
        command = [sys.executable, "-c", HOLD, PACKAGE, str(folder), without]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process.stdout.readline().strip(), process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_and_told_what_to_do(tmp_path, other):
    lock = FolderLock(tmp_path)
    said, _ = other(tmp_path)
    assert said.startswith("FolderLocked: Another process writes into the folder")
    assert "choose another folder" in said
    lock.release()
    assert other(tmp_path)[0] == "taken"
    with pytest.raises(FolderLocked, match=str(tmp_path)):
        FolderLock(tmp_path)


def test_the_lock_ends_with_its_process_however_that_ends(tmp_path, other):
    said, process = other(tmp_path)
    assert said == "taken"
    process.send_signal(signal.SIGKILL)
    process.wait()
    FolderLock(tmp_path).release()


def test_it_is_shared_within_a_process_until_the_last_one_is_released_or_deleted(tmp_path, other):
    first, second = FolderLock(tmp_path), FolderLock(str(tmp_path))
    first.release()
    first.release()
    assert other(tmp_path)[0] != "taken"
    del second
    assert other(tmp_path)[0] == "taken"


def test_another_folder_is_free_and_nothing_is_left_in_it(tmp_path, other):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    lock = FolderLock(tmp_path / "a")
    assert other(tmp_path / "b")[0] == "taken"
    assert list((tmp_path / "a").iterdir()) == []
    lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_process_does_not_keep_the_lock(tmp_path, other):
    lock = FolderLock(tmp_path)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)  # until the test ends
        os._exit(0)
    os.close(reading)
    lock.release()
    said = other(tmp_path)[0]
    os.close(writing)
    os.waitpid(child, 0)
    assert said == "taken"


def test_where_there_are_no_locks_nothing_is_locked(tmp_path, other):
    assert [other(tmp_path, "fcntl")[0] for _ in range(2)] == ["taken", "taken"]


def test_a_file_system_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(folder_lock.fcntl, "flock", refuse)
    FolderLock(tmp_path).release()
