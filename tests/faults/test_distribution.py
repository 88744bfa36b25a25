"""Several devices and several workers train as one: same numbers everywhere, same losses as one device."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.faults.distributed_training import CONFIGURATIONS, EPOCHS

pytestmark = pytest.mark.extended


def start(folder, *arguments):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.faults.distributed_training", str(folder), *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_CONFIG", None)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(*processes):
    for process in processes:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output[-3000:]


def results(folder, worker=0):
    return {name: dict(np.load(folder / f"{name}_{worker}.npz")) for name in CONFIGURATIONS}


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distribution") / "one"
    finish(start(folder, 1))
    return results(folder)


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distribution") / "two"
    finish(start(folder, 2))
    return results(folder)


@pytest.fixture(scope="module")
def four_devices(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distribution") / "four"
    finish(start(folder, 4))
    return results(folder)


@pytest.mark.parametrize("devices", ["two_devices", "four_devices"])
def test_mirrored_replicas_hold_the_same_numbers_and_train_as_one_device(one_device, devices, request):
    for name, result in request.getfixturevalue(devices).items():
        assert result["replicas same"], name
        np.testing.assert_allclose(result["loss"], one_device[name]["loss"], rtol=0, atol=1e-4, err_msg=name)


def test_two_workers_hold_the_same_numbers_and_only_the_chief_writes(one_device, tmp_path):
    folder = tmp_path / "workers"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    finish(*[start(folder, 1, worker, port, 2) for worker in (0, 1)])
    chief, other = results(folder, 0), results(folder, 1)
    for name, result in chief.items():
        np.testing.assert_allclose(result["loss"], one_device[name]["loss"], rtol=0, atol=1e-4, err_msg=name)
        for key, value in result.items():
            if key.startswith("variable"):
                np.testing.assert_array_equal(value, other[name][key], err_msg=f"{name} {key}")
        assert len(list((folder / name / "logs" / "compression").iterdir())) == 1
        kept = sorted(path.name for path in (folder / name / "checkpoints").glob("*.index"))
        assert kept == [f"ckpt-{number}.index" for number in (EPOCHS - 1, EPOCHS)]


def test_a_checkpoint_is_restored_on_another_number_of_replicas(one_device, two_devices):
    for trained in (one_device, two_devices):
        for name, result in trained.items():
            assert result["restored on 1"], name
            assert result["restored on 2"], name
