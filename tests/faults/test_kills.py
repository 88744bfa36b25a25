"""Training killed at random moments ends with the same bits as training that was left alone.

``KILLS`` in the environment says how often each of six trainings is killed; ``make faults`` takes more than ``make test-all``.
"""

import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from tests.faults.killed_training import CASES, train

pytestmark = pytest.mark.extended

KILLS = int(os.environ.get("KILLS", "1"))


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.killed_training"])
    return context


def run(processes, case, folder, result, kill_after=None):
    """Run a training; with ``kill_after`` kill it so many seconds after its first step. Return the seconds it trained."""
    started = folder / "started"
    started.unlink(missing_ok=True)
    process = processes.Process(target=train, args=(case, str(folder / "checkpoints"), str(result), str(started)))
    process.start()
    while process.is_alive() and not started.exists():
        time.sleep(0.005)
    begin = time.perf_counter()
    process.join(kill_after)
    killed = process.is_alive()
    if killed:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert killed or process.exitcode == 0
    return time.perf_counter() - begin


@pytest.mark.whole
@pytest.mark.parametrize("case", CASES)
def test_a_killed_training_ends_with_the_bits_of_an_uninterrupted_one(processes, case, tmp_path):
    for kind in ("whole", "killed"):
        (tmp_path / kind).mkdir()
    expected, received = tmp_path / "whole.npz", tmp_path / "killed.npz"
    seconds = run(processes, case, tmp_path / "whole", expected)
    moments = random.Random(case)
    for _ in range(KILLS):
        moment = moments.uniform(0, 1.6 * seconds / (KILLS + 1))
        run(processes, case, tmp_path / "killed", received, kill_after=moment)
        newest = kc.latest_checkpoint(tmp_path / "killed" / "checkpoints")
        assert newest is None or tf.train.list_variables(newest)
        received.unlink(missing_ok=True)
    run(processes, case, tmp_path / "killed", received)
    with np.load(expected) as whole, np.load(received) as killed:
        assert whole.files == killed.files
        different = [key for key in whole.files if not np.array_equal(whole[key], killed[key])]
    assert different == []
