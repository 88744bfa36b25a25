"""Saving and resuming: a new process builds the same model, restores the same numbers, and goes on where it was."""

import json

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import (
    StateError,
    TFCompressionState,
    TFCompressionStateLoader,
    create_compressed_model,
    create_compression_callbacks,
    register_default_init_args,
)
from keras_compress._keras import keras
from keras_compress.algorithms import Position
from keras_compress.state import CompressionState
from tests import zoo


def trained(make, **settings):
    """Return model, controller and compressed model after a little training, which moves ranges, weights and counts."""
    model = make()
    controller, compressed = zoo.compress(model, **settings)
    compressed.compile("adam", "mse")
    inputs = zoo.samples(model)
    targets = tf.nest.map_structure(lambda t: np.ones((8, *t.shape[1:]), np.float32), model.output)
    callbacks = create_compression_callbacks(controller)
    compressed.fit(inputs, targets, batch_size=4, epochs=1, callbacks=callbacks, verbose=0)
    return model, controller, compressed


def resumed(path, make, config):
    """What a script does in a new process to go on from a checkpoint."""
    loader = TFCompressionStateLoader()
    tf.train.Checkpoint(compression_state=loader).restore(path).expect_partial()
    controller, model = create_compressed_model(make(), config, loader.state)
    checkpoint = tf.train.Checkpoint(model=model, compression_state=TFCompressionState(controller))
    checkpoint.restore(path).expect_partial().assert_existing_objects_matched()
    return controller, model


@pytest.mark.parametrize("make", [zoo.convolution, zoo.dicts, zoo.transfer])
def test_a_resumed_model_gives_the_same_bits_at_the_same_position(make, tmp_path):
    model, controller, compressed = trained(make, preset="mixed", weights={"bits": 4})
    checkpoint = tf.train.Checkpoint(model=compressed, compression_state=TFCompressionState(controller))
    path = checkpoint.save(str(tmp_path / "ckpt"))
    again, restored = resumed(path, make, controller.config.with_init_data(None))
    zoo.assert_same_predictions(restored, compressed, zoo.samples(model))
    assert again.scheduler.position == controller.scheduler.position == Position(epoch=0, step=1)
    assert again.get_compression_state() == controller.get_compression_state()


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    model, controller, compressed = trained(zoo.convolution)
    checkpoint = tf.train.Checkpoint(
        model=compressed, compression_state=TFCompressionState(controller), optimizer=compressed.optimizer
    )
    path = checkpoint.save(str(tmp_path / "ckpt"))
    again, restored = resumed(path, zoo.convolution, controller.config)
    restored.compile("adam", "mse")
    tf.train.Checkpoint(optimizer=restored.optimizer).restore(path).expect_partial()
    x, y = zoo.samples(model), np.ones((8, 3), np.float32)
    for part, its_controller in ((compressed, controller), (restored, again)):
        callbacks = create_compression_callbacks(its_controller)
        part.fit(x, y, batch_size=4, initial_epoch=1, epochs=2, shuffle=False, callbacks=callbacks, verbose=0)
    zoo.assert_same_predictions(restored, compressed, x)
    assert again.scheduler.position == controller.scheduler.position == Position(epoch=1, step=3)


def test_resuming_neither_plans_nor_measures():
    _, controller, compressed = trained(zoo.convolution)
    state = controller.get_compression_state()

    def no_data():
        raise AssertionError("the data were read")

    config = register_default_init_args(controller.config, no_data)
    again, restored = create_compressed_model(zoo.convolution(), config, state)
    assert [v.shape for v in restored.variables] == [v.shape for v in compressed.variables]
    assert again.get_compression_state()["edits"] == state["edits"]


def test_another_configuration_is_refused_with_the_first_difference():
    _, controller, _ = trained(zoo.convolution)
    other = controller.config.model_copy(update={"target_device": "CPU"})
    with pytest.raises(StateError, match=r"'target_device'.*Expected: None.*Received: 'CPU'"):
        create_compressed_model(zoo.convolution(), other, controller.get_compression_state())


def test_a_loader_without_a_checkpoint_says_so():
    with pytest.raises(StateError, match="No checkpoint with a compression state was restored"):
        _ = TFCompressionStateLoader().state


def test_the_state_is_json_and_holds_no_numbers_of_the_model():
    _, controller, _ = trained(zoo.convolution)
    text = json.dumps(controller.get_compression_state())
    assert json.loads(text) == controller.get_compression_state()
    assert len(text) < 20_000
    assert json.loads(text)["scheduler"] == {
        "current_epoch": 0,
        "current_step": 1,
        "first_step": 0,
        "steps_per_epoch": 2,
    }


def test_changing_a_state_does_not_change_the_controller():
    controller, _ = zoo.compress(zoo.dense())
    state = controller.get_compression_state()
    state["edits"][0].clear()
    state["config"].clear()
    assert controller.get_compression_state() != state


def test_skipped_weights_and_their_reasons_are_kept():
    model = zoo.residual()
    controller, _ = zoo.compress(model, ignored_scopes=["out"])
    again, _ = create_compressed_model(zoo.residual(), controller.config, controller.get_compression_state())
    assert again.statistics().coverage == controller.statistics().coverage
    assert again.get_compression_state()["skipped"] == controller.get_compression_state()["skipped"] != []


@pytest.mark.parametrize("other", [zoo.residual, zoo.shared_layer, zoo.nested, zoo.operators])
def test_the_state_of_another_model_is_refused(other):
    controller, _ = zoo.compress(zoo.convolution())
    with pytest.raises(StateError, match=r"another model.*Build the model that was compressed"):
        create_compressed_model(other(), controller.config, controller.get_compression_state())


def test_the_state_of_a_model_without_that_weight_is_refused():
    controller, _ = zoo.compress(zoo.dense())
    hidden, out = keras.layers.Activation("relu", name="hidden"), keras.layers.Dense(3, name="out")
    model = keras.Sequential([keras.Input((4,), name="x"), hidden, out])
    with pytest.raises(StateError, match="another model: no weight 'kernel' in 'hidden'"):
        create_compressed_model(model, controller.config, controller.get_compression_state())


@pytest.mark.parametrize("state", [{}, {"version": 2}, {"version": 1}, {"version": 1, "edits": 3}, [], "state", 7])
def test_what_is_not_a_state_is_refused(state):
    with pytest.raises(StateError, match=r"compression.state"):
        create_compressed_model(zoo.dense(), {"compression": {"algorithm": "quantization"}}, state)


def test_a_state_with_an_unknown_edit_is_refused():
    controller, _ = zoo.compress(zoo.dense())
    state = controller.get_compression_state()
    state["edits"][0][0]["edit"] = "Remove"
    with pytest.raises(StateError, match="damaged"):
        CompressionState.from_dict(state)


def test_a_state_with_another_number_of_algorithms_is_refused():
    controller, _ = zoo.compress(zoo.dense())
    state = controller.get_compression_state()
    state["edits"].append([])
    with pytest.raises(StateError):
        create_compressed_model(zoo.dense(), controller.config, state)


def test_a_checkpoint_of_other_decisions_is_refused_on_restore(tmp_path):
    controller, _ = zoo.compress(zoo.dense(), weights={"bits": 4})
    path = tf.train.Checkpoint(compression_state=TFCompressionState(controller)).save(str(tmp_path / "ckpt"))
    other, _ = zoo.compress(zoo.dense(), weights={"bits": 8})
    with pytest.raises(StateError, match=r"another decision number 0"):
        tf.train.Checkpoint(compression_state=TFCompressionState(other)).restore(path)


@pytest.mark.parametrize("text", ["{", "", "not json"])
def test_a_damaged_text_in_a_checkpoint_is_refused(text):
    with pytest.raises(StateError, match="damaged"):
        TFCompressionStateLoader().deserialize(text)
