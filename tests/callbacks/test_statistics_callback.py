"""Numbers of compression reach the logs, the screen and a TensorBoard file that is read back here."""

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import create_compressed_model, create_compression_callbacks
from keras_compress._keras import keras
from keras_compress.callbacks import SchedulerCallback, StatisticsCallback
from tests import zoo


def fit(controller, callbacks, epochs=2):
    model = controller.model
    model.compile("sgd", "mse")
    return model.fit(
        zoo.samples(model), np.zeros((8, 3), np.float32), epochs=epochs, callbacks=callbacks, verbose=0
    ).history


def scalars(folder):
    """Return {tag: {step: value}} of all event files in a folder."""
    found = {}
    for path in sorted(folder.glob("events.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
    return found


@pytest.fixture
def controller():
    return zoo.compress(zoo.dense())[0]


def numbers(controller):
    """Return what the controller reports now, named as in the logs."""
    reported = controller.algorithm_statistics()
    named = {f"{name}/{key}": value for name, part in reported.items() for key, value in part.items()}
    return {"compression_stage": float(controller.compression_stage()), **named}


def test_logs_hold_the_numbers_of_each_epoch(controller):
    history = fit(controller, create_compression_callbacks(controller))
    assert set(numbers(controller)) == set(history) - {"loss"}
    for key, value in numbers(controller).items():
        assert history[key][-1] == pytest.approx(value)
    assert history["compression_stage"] == [2.0, 2.0]
    assert len(numbers(controller)) > 1


def test_callbacks_behind_it_see_the_numbers(controller, tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    fit(controller, [*create_compression_callbacks(controller), logger])
    header = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert set(numbers(controller)) < set(header)


def test_tensorboard_files_hold_the_numbers_of_every_epoch(controller, tmp_path):
    history = fit(controller, create_compression_callbacks(controller, tmp_path / "logs"))
    found = scalars(tmp_path / "logs" / "compression")
    assert {tag.removeprefix("2.compression/statistics/") for tag in found} == set(numbers(controller))
    for key in numbers(controller):
        assert found[f"2.compression/statistics/{key}"] == pytest.approx(dict(enumerate(history[key])))


def test_a_second_fit_writes_the_epochs_that_follow(controller, tmp_path):
    callbacks = create_compression_callbacks(controller, tmp_path)
    fit(controller, callbacks)
    fit(controller, callbacks, epochs=1)
    assert set(scalars(tmp_path / "compression")["2.compression/statistics/compression_stage"]) == {0, 1, 2}


def test_the_folder_of_the_configuration_is_the_default(tmp_path):
    model = zoo.dense()
    config = zoo.config(model).model_copy(update={"log_dir": str(tmp_path / "from_config")})
    controller, _ = create_compressed_model(model, config)
    fit(controller, create_compression_callbacks(controller), epochs=1)
    assert scalars(tmp_path / "from_config" / "compression")


def test_tensorboard_can_be_switched_off(controller, tmp_path):
    fit(controller, create_compression_callbacks(controller, tmp_path, log_tensorboard=False), epochs=1)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_printed_unless_asked_for(controller, capsys):
    fit(controller, create_compression_callbacks(controller), epochs=1)
    assert capsys.readouterr().out == ""


def test_text_shows_the_table_and_the_numbers(controller, capsys):
    fit(controller, create_compression_callbacks(controller, log_text=True), epochs=1)
    out = capsys.readouterr().out
    assert "hidden_quantizer" in out
    assert "epoch 1: compression_stage 2" in out


def test_the_callbacks_are_a_scheduler_and_statistics(controller):
    kinds = [type(callback) for callback in create_compression_callbacks(controller)]
    assert kinds == [SchedulerCallback, StatisticsCallback]
