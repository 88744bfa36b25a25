"""Files read in a new process give the predictions of the process that wrote them, bit for bit."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from tests import zoo

READ = """
import sys
import numpy as np
import keras_compress
import tf_keras as keras

path, data, predictions = sys.argv[1:]
model = keras.models.load_model(path)
np.save(predictions, model.predict(np.load(data), verbose=0))
"""

RESTORE = """
import sys
import numpy as np
import tensorflow as tf
import keras_compress as kc
from tests import zoo

path, data, predictions = sys.argv[1:]
loader = kc.TFCompressionStateLoader()
tf.train.Checkpoint(compression_state=loader).restore(path).expect_partial()
controller, model = kc.create_compressed_model(zoo.residual(), {"compression": {"algorithm": "quantization"}}, loader.state)
checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
checkpoint.restore(path).assert_existing_objects_matched()
assert controller.scheduler.current_epoch == 4
np.save(predictions, model.predict(np.load(data), verbose=0))
"""


@pytest.fixture
def compressed_and_data(tmp_path):
    model = zoo.residual()
    data = np.random.RandomState(0).normal(size=(12, *model.input_shape[1:])).astype(np.float32)
    config = kc.register_default_init_args({"compression": {"algorithm": "quantization"}}, data)
    controller, compressed = kc.create_compressed_model(model, config)
    np.save(tmp_path / "data.npy", data)
    return controller, compressed, data


def in_a_new_process(script, path, folder):
    arguments = [sys.executable, "-c", script, str(path), str(folder / "data.npy"), str(folder / "predictions.npy")]
    subprocess.run(arguments, check=True, cwd=zoo.__file__.rpartition("/tests/")[0])
    return np.load(folder / "predictions.npy")


@pytest.mark.extended
@pytest.mark.parametrize("file", ["model.keras", "saved_model"])
def test_a_saved_model_predicts_the_same(compressed_and_data, tmp_path, file):
    _, compressed, data = compressed_and_data
    compressed.save(tmp_path / file)
    predictions = in_a_new_process(READ, tmp_path / file, tmp_path)
    np.testing.assert_array_equal(predictions, compressed.predict(data, verbose=0))


@pytest.mark.extended
def test_a_restored_checkpoint_predicts_the_same(compressed_and_data, tmp_path):
    controller, compressed, data = compressed_and_data
    controller.scheduler.epoch_step(4)
    checkpoint = tf.train.Checkpoint(model=compressed, compression_state=kc.TFCompressionState(controller))
    path = checkpoint.save(str(tmp_path / "checkpoint"))
    predictions = in_a_new_process(RESTORE, path, tmp_path)
    np.testing.assert_array_equal(predictions, compressed.predict(data, verbose=0))
