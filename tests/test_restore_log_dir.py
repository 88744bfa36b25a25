"""What a checkpoint says about places to write to is not taken from it."""

import warnings

import pytest
import tensorflow as tf

import keras_compress as kc
from tests import zoo

pytestmark = pytest.mark.filterwarnings("ignore:Compression is complete:UserWarning")


@pytest.fixture
def checkpoints(tmp_path):
    """A folder with a checkpoint whose configuration names a folder for logs."""
    config = {"compression": {"algorithm": "magnitude_sparsity"}, "log_dir": str(tmp_path / "elsewhere")}
    controller, model = kc.create_compressed_model(zoo.dense(), config)
    checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
    tf.train.CheckpointManager(checkpoint, str(tmp_path / "checkpoints"), max_to_keep=1).save()
    return tmp_path / "checkpoints"


def train(controller, model):
    model.compile("sgd", "mse")
    x = zoo.samples(model)
    callbacks = kc.create_compression_callbacks(controller)
    model.fit(x, model.predict(x, verbose=0), epochs=1, callbacks=callbacks, verbose=0)


def test_nothing_is_written_to_where_a_checkpoint_says(checkpoints, tmp_path):
    with pytest.warns(UserWarning, match=r"names a folder for logs, '.*elsewhere'.*pass log_dir="):
        controller, model = kc.restore(zoo.dense(), checkpoints)
    assert controller.config.log_dir is None
    train(controller, model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints"]


def test_a_configuration_that_is_passed_says_where_to_write(checkpoints, tmp_path):
    config = {"compression": {"algorithm": "magnitude_sparsity"}, "log_dir": str(tmp_path / "logs")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        controller, model = kc.restore(zoo.dense(), checkpoints, kc.CompressionConfig.from_dict(config))
    train(controller, model)
    assert list((tmp_path / "logs" / "compression").iterdir())
