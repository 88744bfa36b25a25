"""What the samples share: optimizers, float models, runs that are complete already."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

import examples
import keras_compress as kc
from examples.command_line import command_line
from examples.compressed_training import export, optimizer_for, train

INT8 = Path(examples.__file__).parent / "classification" / "configs" / "int8.json"


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])


def compile_model(model):
    model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")


@pytest.fixture
def batches():
    inputs = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((inputs, np.arange(16) % 3)).batch(8)


def parsed(*arguments):
    parser = command_line("A test.", model="dense", size=(4, 4), batch_size=8, learning_rate=0.01)
    return parser.parse_args([str(argument) for argument in arguments])


def test_the_learning_rate_falls_to_zero_over_all_epochs():
    schedule = optimizer_for(parsed("--epochs", 4), steps_per_epoch=5)._learning_rate
    assert [float(schedule(step)) for step in (0, 10, 20)] == pytest.approx([0.01, 0.005, 0.0], abs=1e-8)


@pytest.mark.parametrize("resumed", [False, True])
def test_weight_decay_spares_gates(resumed, model, batches, tmp_path):
    (tmp_path / "rb.json").write_text(
        '{"compression": {"algorithm": "rb_sparsity", "params": {"sparsity_target_epoch": 1}}}'
    )
    flags = parsed("--weight-decay", 0.1, "--config", tmp_path / "rb.json", "--epochs", 2, "--checkpoints", tmp_path)

    def compile_with_decay(model):
        model.compile(optimizer_for(flags, 2), "sparse_categorical_crossentropy")

    for _ in range(1 + resumed):
        _, compressed = train(model, compile_with_decay, batches, flags)
    compressed.optimizer.build(compressed.trainable_variables)
    spared = [v.name for v in compressed.trainable_variables if not compressed.optimizer._use_weight_decay(v)]
    assert len(spared) == 1
    assert "gates" in spared[0]


class _Interruption(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_as_one_that_was_left_alone(model, batches, tmp_path, monkeypatch):
    def flags(name):
        return parsed("--config", INT8, "--epochs", 4, "--checkpoints", tmp_path / name)

    _, left_alone = train(model, compile_model, batches, flags("alone"))
    create = kc.create_compression_callbacks
    with monkeypatch.context() as patch:
        patch.setattr(kc, "create_compression_callbacks", lambda *a, **k: [*create(*a, **k), _Interruption()])
        with pytest.raises(KeyboardInterrupt):
            train(model, compile_model, batches, flags("interrupted"))
    controller, resumed = train(model, compile_model, batches, flags("interrupted"))
    assert controller.scheduler.current_epoch == 3
    assert int(resumed.optimizer.iterations) == int(left_alone.optimizer.iterations) == 4 * len(batches)
    for one, other in zip(left_alone.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_float_model_is_trained_and_written_to_a_keras_file(model, batches, tmp_path):
    before = [weight.copy() for weight in model.get_weights()]
    flags = parsed(
        "--epochs", 1, "--checkpoints", tmp_path / "checkpoints", "--export", tmp_path / "new" / "float.keras"
    )
    controller, trained = train(model, compile_model, batches, flags)
    assert controller is None
    assert trained is model
    assert not np.array_equal(before[0], model.get_weights()[0])
    assert export(controller, trained, flags, None) is None
    written = keras.models.load_model(flags.export)
    np.testing.assert_array_equal(written.get_weights()[0], model.get_weights()[0])


def test_a_float_model_goes_to_no_other_file(model, tmp_path):
    with pytest.raises(SystemExit, match=r"\.keras file"):
        export(None, model, parsed("--export", tmp_path / "model.xml"), None)


def test_a_run_that_is_complete_is_not_trained_again(model, batches, tmp_path):
    flags = parsed("--config", INT8, "--epochs", 1, "--checkpoints", tmp_path)
    _, trained = train(model, compile_model, batches, flags)
    _, again = train(model, compile_model, batches, flags)
    for one, other in zip(trained.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(list(tmp_path.glob("*.index"))) == 1


@pytest.mark.first
def test_no_epochs_only_compress(model, batches):
    controller, compressed = train(model, compile_model, batches, parsed("--config", INT8, "--epochs", 0))
    assert controller.scheduler.current_epoch == -1
    inputs = np.concatenate([inputs for inputs, _ in batches])
    np.testing.assert_allclose(compressed(inputs), model(inputs), atol=0.02)
