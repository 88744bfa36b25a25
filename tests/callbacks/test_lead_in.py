"""A training resumed anywhere ends with the bits of one that was left alone, whatever its data are."""

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress._keras import keras
from tests.resuming import BATCH, EPOCHS, SAMPLES, STEPS, SaveEverywhere, X, Y, assert_resumes, build, compressed

pytestmark = pytest.mark.filterwarnings("ignore:.*will not end with the bits:UserWarning")


class Batches(keras.utils.Sequence):
    """A ``Sequence`` as users write them."""

    def __len__(self):
        return STEPS

    def __getitem__(self, index):
        return X[index * BATCH : (index + 1) * BATCH], Y[index * BATCH : (index + 1) * BATCH]


def generated():
    while True:
        for index in range(STEPS):
            yield X[index * BATCH : (index + 1) * BATCH], Y[index * BATCH : (index + 1) * BATCH]


def rows():
    return tf.data.Dataset.from_tensor_slices((X, Y))


def noisy():
    return rows().shuffle(SAMPLES).map(lambda x, y: (x + tf.random.normal([6]), y))


def augmented():
    return noisy().batch(BATCH)


#: The arguments of fit for each kind of data, made anew in every process.
DATA = {
    "arrays": lambda: ((X, Y), {"batch_size": BATCH}),
    "arrays in parts of an epoch": lambda: ((X, Y), {"batch_size": BATCH, "steps_per_epoch": 3}),
    "arrays with a part for validation": lambda: ((X, Y), {"batch_size": 6, "validation_split": 0.2}),
    "weighted classes": lambda: ((X, CLASSES), {"batch_size": BATCH, "class_weight": {0: 2.0, 1: 1.0}}),
    "a shuffled dataset": lambda: ((rows().shuffle(SAMPLES).batch(BATCH),), {}),
    "a dataset without end": lambda: ((rows().shuffle(SAMPLES).repeat().batch(BATCH),), {"steps_per_epoch": STEPS}),
    "augmented data": lambda: ((augmented(),), {}),
    "shuffled data that are cached": lambda: ((rows().shuffle(SAMPLES).batch(BATCH).cache().prefetch(1),), {}),
    "augmented data that are cached": lambda: ((noisy().cache().shuffle(SAMPLES).batch(BATCH),), {}),
    "a dataset of unknown size": lambda: ((rows().filter(lambda x, y: x[0] >= 0.0).batch(BATCH),), {}),
    "a sequence": lambda: ((Batches(),), {"shuffle": False}),
    "a generator": lambda: ((generated(),), {"steps_per_epoch": STEPS}),
}
CLASSES = np.arange(SAMPLES).reshape(-1, 1) % 2
GATES = {"algorithm": "rb_sparsity", "params": {"sparsity_target_epoch": 1, "sparsity_freeze_epoch": 2}}
STAGES = {"algorithm": "binarization", "params": {"activations_quant_start_epoch": 0, "weights_quant_start_epoch": 1}}
FIRST = ("arrays", "a shuffled dataset")


def fit_on(data):
    def fit(model, callbacks):
        arguments, options = DATA[data]()
        return model.fit(*arguments, epochs=EPOCHS, callbacks=callbacks, verbose=0, **options)

    return fit


@pytest.mark.first
@pytest.mark.parametrize("data", [pytest.param(k, marks=() if k in FIRST else pytest.mark.extended) for k in DATA])
def test_every_kind_of_data_goes_on_where_it_stopped(data, tmp_path):
    assert_resumes(tmp_path, fit_on(data), places=(2, 3, 6), levels=data != "a dataset of unknown size")


@pytest.mark.extended
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("moment", "places"),
    [
        ("on_epoch_begin", (0, 1)),
        ("on_train_batch_begin", (0, 5)),
        ("on_train_batch_end", (3, 5)),
        ("on_epoch_end", (0, 1)),
    ],
)
def test_it_may_be_saved_at_any_moment_and_by_a_callback_at_any_place(moment, places, first, tmp_path):
    assert_resumes(tmp_path, fit_on("arrays"), moment, first=first, places=places)


@pytest.mark.extended
@pytest.mark.parametrize("part", [GATES, STAGES], ids=["gates", "stages"])
@pytest.mark.parametrize("data", ["arrays", "a dataset of unknown size"])
def test_gates_and_stages_go_on(part, data, tmp_path):
    assert_resumes(tmp_path, fit_on(data), places=(2, 3, 5), parts=[part], levels=data != "a dataset of unknown size")


@pytest.mark.extended
def test_several_steps_in_one_call(tmp_path):
    def make():
        return build(steps_per_execution=3)

    assert_resumes(tmp_path, fit_on("arrays"), first=True, places=(0, 1, 2), make=make)


@pytest.mark.first
def test_a_learning_rate_that_an_epoch_has_lowered_is_not_lowered_once_more(tmp_path):
    def fit(model, callbacks):
        lower = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        return model.fit(X, Y, batch_size=BATCH, epochs=EPOCHS, callbacks=[lower, *callbacks, lower], verbose=0)

    assert_resumes(tmp_path, fit, places=(1, 3, 5))


@pytest.mark.extended
def test_a_training_that_runs_eagerly(tmp_path):
    def make():
        return build(run_eagerly=True)

    assert_resumes(tmp_path, fit_on("arrays"), places=(1, 3, 5), make=make)


@pytest.mark.extended
def test_asynchronous_saving_holds_the_place_of_its_numbers(tmp_path):
    assert_resumes(tmp_path, fit_on("arrays"), places=(1, 5), asynchronous=True)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_checkpoint_holds_as_many_batches_as_its_optimizer_has_steps(asynchronous, tmp_path):
    controller, model = compressed()
    save = SaveEverywhere(controller, tmp_path, "on_train_batch_end", asynchronous=asynchronous)
    fit_on("arrays")(model, [*kc.create_compression_callbacks(controller), save])
    save.checkpoint.sync()
    loader = kc.TFCompressionStateLoader()
    for number, path in enumerate(save.paths):
        tf.train.Checkpoint(compression_state=loader).restore(path).expect_partial()
        fit, scheduler = loader.state["fit"], loader.state["scheduler"]
        steps = tf.train.load_variable(path, "model/optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE")
        assert fit["epoch"] * STEPS + fit["batch"] == steps == number + 1 == scheduler["current_step"] + 1


@pytest.mark.extended
def test_a_training_that_is_interrupted_again_and_again(tmp_path):
    controller, model = compressed()
    whole = fit_on("arrays")(model, kc.create_compression_callbacks(controller))
    expected = [variable.numpy() for variable in model.variables]
    controller, model = compressed()
    for stop in (2, 3, 6, 9, 12):
        save = SaveEverywhere(controller, tmp_path, "on_train_batch_end")
        callbacks = [*kc.create_compression_callbacks(controller, resume=True), save, StopAfter(stop)]
        try:
            history = fit_on("arrays")(model, callbacks)
        except StopError:
            keras.backend.clear_session()
            controller, model = kc.restore(build, save.paths[-1])
    for variable, value in zip(model.variables, expected, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert history.history["loss"][-1] == whole.history["loss"][-1]


class StopError(Exception):
    """A training that ends here."""


class StopAfter(keras.callbacks.Callback):
    """Stops when the optimizer has taken so many steps."""

    def __init__(self, steps):
        super().__init__()
        self._steps = steps

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self._steps < EPOCHS * STEPS:
            raise StopError
