"""Whatever reads a file refuses a pipe, which it could wait for without end, and names it."""

import os
import signal
from argparse import Namespace

import pytest

import keras_compress as kc
from keras_compress.export import registered_formats
from keras_compress_cli.arguments import require_data
from keras_compress_cli.command import UsageError
from tests import zoo


def model():
    return zoo.compressed_once("dense")[1]


READERS = {
    "load_model": (".keras", kc.load_model),
    "load_model of HDF5": (".h5", kc.load_model),
    "configuration": (".json", kc.CompressionConfig.from_json),
    "restore": ("", lambda path: kc.restore(zoo.dense(), path)),
    "latest_checkpoint": ("", kc.latest_checkpoint),
    **{
        f"{name} of {form.name}": (form.suffix, read)
        for form in registered_formats().values()
        for name, read in {
            "audit": lambda path: kc.audit(model(), path),
            "compare": lambda path: kc.compare(model(), path, zoo.samples(zoo.dense())),
            "benchmark": lambda path: kc.benchmark([path], zoo.samples(zoo.dense()), rounds=1),
            "export": lambda path: kc.export_model(model(), path),
        }.items()
    },
    "samples of a command": (".npy", lambda path: require_data(Namespace(data=str(path)), "data")),
}


@pytest.mark.first
@pytest.mark.parametrize("name", READERS)
def test_a_pipe_is_refused_at_once(name, tmp_path):
    suffix, read = READERS[name]
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)

    def give_up(*_):
        raise TimeoutError("it waits for the pipe")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    try:
        with pytest.raises((kc.CompressionError, UsageError), match=r"pipe.* is a pipe.*Expected"):
            read(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
