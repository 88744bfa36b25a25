"""SaveBestCompressed: never a model before compression is complete, the best of those after it, wherever it stands."""

import warnings

import numpy as np
import pytest

from keras_compress import SaveBestCompressed, create_compressed_model, create_compression_callbacks
from keras_compress._keras import keras
from keras_compress.layers import CompressedLayer
from tests import zoo

pytestmark = pytest.mark.filterwarnings("ignore:Compression is complete:UserWarning")


class Scores(keras.callbacks.Callback):
    """Puts a number of its own into the logs of every epoch."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = self.scores[epoch]


def compress(algorithm="magnitude_sparsity", target_epoch=2):
    params = {"sparsity_target": 0.5, "sparsity_target_epoch": target_epoch, "power": 1.0}
    config = {"compression": {"algorithm": algorithm, "params": params}}
    controller, model = create_compressed_model(zoo.dense(), config)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return controller, model


def fit(model, callbacks, epochs=5):
    x, y = zoo.samples(model), np.ones((8, 3), np.float32)
    model.fit(x, y, batch_size=4, epochs=epochs, validation_data=(x, y), callbacks=callbacks, verbose=0)


def saved(folder):
    return sorted(int(path.stem) for path in folder.glob("*.keras"))


@pytest.mark.parametrize(
    ("scores", "epochs"),
    [
        ([0.0, 0.1, 5.0, 4.0, 6.0], [3, 4]),
        ([0.0, 0.1, 5.0, 6.0, 7.0], [3]),
        ([9.0, 9.0, 3.0, 2.0, 1.0], [3, 4, 5]),
    ],
)
def test_better_epochs_before_compression_is_complete_are_not_saved(scores, epochs, tmp_path):
    controller, model = compress()
    best = SaveBestCompressed(controller, tmp_path / "{epoch}.keras", "score", mode="min")
    fit(model, [*create_compression_callbacks(controller), Scores(scores), best])
    assert saved(tmp_path) == epochs


def test_the_best_can_be_the_largest(tmp_path):
    controller, model = compress()
    best = SaveBestCompressed(controller, tmp_path / "{epoch}.keras", "score", mode="max")
    fit(model, [*create_compression_callbacks(controller), Scores([9.0, 8.0, 1.0, 3.0, 2.0]), best])
    assert saved(tmp_path) == [3, 4]


@pytest.mark.extended
@pytest.mark.parametrize("place", [0, 1, 2])
def test_it_works_at_any_place_in_the_list(place, tmp_path):
    controller, model = compress()
    callbacks = create_compression_callbacks(controller)
    callbacks.insert(place, SaveBestCompressed(controller, tmp_path / "{epoch}.keras"))
    fit(model, callbacks)
    assert saved(tmp_path)[0] == 3
    loaded = keras.models.load_model(tmp_path / "3.keras")
    kernels = [
        layer.compressed_weight("kernel").numpy() for layer in loaded.layers if isinstance(layer, CompressedLayer)
    ]
    assert sum(int(np.sum(kernel == 0)) for kernel in kernels) == 28


def test_the_file_holds_the_best_epoch(tmp_path):
    controller, model = compress()
    outputs = []
    x = zoo.samples(model)
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: outputs.append(model(x).numpy()))
    best = SaveBestCompressed(controller, tmp_path / "best.keras", "score", mode="min")
    fit(model, [*create_compression_callbacks(controller), Scores([0.0, 0.0, 5.0, 4.0, 6.0]), best, note])
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "best.keras")(x), outputs[3])


def test_it_warns_if_nothing_was_saved(tmp_path):
    controller, model = compress(target_epoch=9)
    callbacks = [*create_compression_callbacks(controller), SaveBestCompressed(controller, tmp_path / "{epoch}.keras")]
    with pytest.warns(UserWarning, match=r"No epoch was fully compressed.*Train beyond the target epoch"):
        fit(model, callbacks, epochs=2)
    assert saved(tmp_path) == []


def test_gates_that_have_not_reached_their_level_are_not_saved(tmp_path):
    controller, model = compress("rb_sparsity", target_epoch=0)
    callbacks = [*create_compression_callbacks(controller), SaveBestCompressed(controller, tmp_path / "{epoch}.keras")]
    with pytest.warns(UserWarning, match="No epoch was fully compressed"):
        fit(model, callbacks, epochs=1)
    assert saved(tmp_path) == []


def test_a_later_fit_that_completes_compression_saves_and_does_not_warn(tmp_path):
    controller, model = compress(target_epoch=2)
    callbacks = [*create_compression_callbacks(controller), SaveBestCompressed(controller, tmp_path / "{epoch}.keras")]
    with pytest.warns(UserWarning, match="No epoch was fully compressed"):
        fit(model, callbacks, epochs=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="No epoch")
        fit(model, callbacks, epochs=1)
    assert saved(tmp_path) == [1]


def test_batches_before_compression_is_complete_are_not_saved(tmp_path):
    controller, model = compress()
    best = SaveBestCompressed(controller, tmp_path / "{epoch}.keras", "loss", save_freq=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(model, [*create_compression_callbacks(controller), best], epochs=2)
        assert saved(tmp_path) == []
    fit(model, [*create_compression_callbacks(controller), best], epochs=1)
    assert saved(tmp_path) == [1]


def test_weights_alone_can_be_saved(tmp_path):
    controller, model = compress()
    best = SaveBestCompressed(controller, tmp_path / "best.weights.h5", save_weights_only=True)
    fit(model, [*create_compression_callbacks(controller), best], epochs=3)
    assert (tmp_path / "best.weights.h5").is_file()


def test_a_monitor_that_is_not_among_the_logs_is_named_at_the_end(tmp_path):
    controller, model = compress()
    best = SaveBestCompressed(controller, tmp_path / "{epoch}.keras", "val_accuracy")
    with pytest.warns(UserWarning, match=r"No best model was saved: 'val_accuracy'.*'val_loss'"):
        fit(model, [*create_compression_callbacks(controller), best])
    assert saved(tmp_path) == []


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize(("epochs", "frequency"), [(5, 2), (5, 4), (4, 2), (5, 1)])
def test_epochs_without_validation_do_not_hide_the_others(epochs, frequency, monitor, tmp_path):
    controller, model = compress(target_epoch=0)
    best = SaveBestCompressed(controller, tmp_path / "{epoch}.keras", monitor)
    x, y = zoo.samples(model), np.ones((8, 3), np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(
            x, y, epochs=epochs, validation_data=(x, y), validation_freq=frequency, verbose=0,
            callbacks=[*create_compression_callbacks(controller), best],
        )  # fmt: skip
    messages = [str(one.message) for one in caught if "best model" in str(one.message)]
    assert bool(saved(tmp_path)) is (monitor == "val_loss")
    assert len(messages) == (monitor != "val_loss")
    assert all("'loss'" in message and "'val_loss'" in message for message in messages)


def test_no_validation_at_all_is_told(tmp_path):
    controller, model = compress(target_epoch=0)
    best = SaveBestCompressed(controller, tmp_path / "{epoch}.keras")
    x, y = zoo.samples(model), np.ones((8, 3), np.float32)
    with pytest.warns(UserWarning, match=r"'val_loss' is not among the logs.*validation_data"):
        model.fit(x, y, epochs=2, verbose=0, callbacks=[*create_compression_callbacks(controller), best])
    assert saved(tmp_path) == []
