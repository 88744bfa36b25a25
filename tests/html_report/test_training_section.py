"""The training: what ``fit`` returned becomes curves over the epochs."""

import math

import pytest

import keras_compress as kc
from keras_compress.algorithms.magnitude_sparsity import MagnitudeSparsity
from keras_compress.html_report.training_section import training_section
from tests import zoo

LEVELED = (MagnitudeSparsity(sparsity_init=0.1, params={"sparsity_target": 0.6, "sparsity_target_epoch": 4}),)


def titles(section):
    return [figure.title for figure in section.figures]


def test_without_history_and_schedule_there_is_nothing():
    assert training_section(None, ()) is None
    assert training_section({}, ()) is None


def test_a_schedule_alone_is_drawn():
    section = training_section(None, LEVELED)
    assert titles(section) == ["Level of magnitude_sparsity"]
    assert "planned" in section.figures[0].chart
    assert "at the end" not in section.figures[0].chart


def test_numbers_of_compression_and_of_the_optimizer_are_no_metrics():
    history = {
        "loss": [1.0, 0.5],
        "val_loss": [1.1, 0.6],
        "head/accuracy": [0.1, 0.2],
        "lr": [0.1, 0.1],
        "compression_stage": [1.0, 2.0],
        "magnitude_sparsity/sparsity_level": [0.1, 0.3],
        "quantization/mean_activation_range": [1.0, 1.0],
        "empty": [math.nan, math.nan],
    }
    assert titles(training_section(history, ())) == ["loss", "head/accuracy"]
    assert titles(training_section(history, LEVELED)) == ["Level of magnitude_sparsity", "loss", "head/accuracy"]


def test_a_real_training_that_was_resumed_keeps_its_epochs():
    model = zoo.dense()
    model.compile("adam", "mse")
    config = {"compression": LEVELED[0].to_dict()}
    controller, compressed = kc.create_compressed_model(model, config)
    inputs = zoo.samples(model, 8)
    callbacks = kc.create_compression_callbacks(controller)
    history = compressed.fit(inputs, model(inputs), epochs=7, initial_epoch=5, callbacks=callbacks, verbose=0)
    level, loss = training_section(history, [algorithm for algorithm, _ in controller.parts]).figures
    assert (level.title, loss.title) == ("Level of magnitude_sparsity", "loss")
    assert "at the end of each epoch" in level.chart
    assert ">6<" in loss.chart
    assert ">7<" in loss.chart
    assert ">5<" not in loss.chart


@pytest.mark.parametrize("wrong", [[1.0], "csv", {"loss": 3}, {"loss": ["a"]}, {"loss": [1], "accuracy": []}])
def test_what_is_no_history_is_refused(wrong):
    with pytest.raises(kc.ConfigError, match=r"The history cannot be read\. Expected: .*Pass history=model\.fit"):
        training_section(wrong, ())
