"""A model that cannot be compressed is refused, and the message says what to do."""

import keras as keras_3
import pytest

from keras_compress import create_compressed_model
from keras_compress._keras import keras
from keras_compress.errors import UnsupportedModelError
from keras_compress.graph import build, take
from keras_compress.graph.model_check import require_compressible
from tests import zoo

CONFIG = {
    "compression": {
        "algorithm": "quantization",
        "initializer": {"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}},
    }
}


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed_net")
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def keras_3_model():
    return keras_3.Sequential([keras_3.Input((4,)), keras_3.layers.Dense(2)])


def built_subclass():
    model = Subclassed()
    model.build((None, 4))
    return model


def unbuilt():
    return keras.Sequential([keras.layers.Dense(2)], name="unbuilt_net")


@pytest.mark.filterwarnings("ignore:1 activation quantizers have no measured range")
def compressed():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")], name="small_net")
    return create_compressed_model(model, CONFIG)[1]


def stripped_in_part():
    inner = compressed()
    x = keras.Input((4,))
    return keras.Model(x, inner(x), name="around")


REFUSED = {
    "Keras 3": (keras_3_model, r"Keras 3.*import tf_keras as keras"),
    "subclassed": (
        built_subclass,
        r"'subclassed_net' of class Subclassed.*keras\.Model\(inputs, model\.call\(inputs\)\).*no layer holds are lost",
    ),
    "unbuilt": (unbuilt, r"'unbuilt_net' is not built.*model\.build\(input_shape\)"),
    "compressed": (compressed, r"'small_net' is already compressed.*controller\.strip\(\)"),
    "compressed inside": (stripped_in_part, r"'around' is already compressed.*small_net/.*controller\.strip\(\)"),
    "a function": (lambda: print, r"Expected: a tf_keras model\. Received: builtins\.builtin_function_or_method"),
    "nothing": (lambda: None, r"Expected: a tf_keras model\. Received: builtins\.NoneType"),
    "a layer": (lambda: keras.layers.Dense(2), r"Expected: a tf_keras model.*Dense"),
}


@pytest.mark.filterwarnings("ignore:1 activation quantizers have no measured range")
@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_with_a_remedy(kind):
    make, message = REFUSED[kind]
    model = make()
    with pytest.raises(UnsupportedModelError, match=f"(?s){message}"):
        create_compressed_model(model, CONFIG)


@zoo.every_kind
def test_a_graph_of_layers_is_accepted(kind):
    require_compressible(zoo.MODELS[kind]())


def test_the_remedy_for_a_subclassed_model_works():
    model = built_subclass()
    inputs = keras.Input((4,))
    require_compressible(keras.Model(inputs, model.call(inputs)))


class WithToken(Subclassed):
    def build(self, input_shape):
        self.token = self.add_weight("token", (1, 4))
        super().build(input_shape)

    def call(self, inputs):
        return self.dense(inputs * self.token)


def test_a_variable_that_the_remedy_would_lose_is_named():
    model = WithToken()
    model(zoo.samples(zoo.dense()))
    with pytest.raises(
        UnsupportedModelError, match=r"(?s)loses the variables \['.*token'\].*layer of its own.*Compare len"
    ):
        require_compressible(model)


def test_a_variable_that_the_remedy_has_lost_is_found_again():
    model, inputs = WithToken(), keras.Input((4,))
    model(inputs)
    functional = keras.Model(inputs, model.call(inputs))
    again = build(take(functional))
    assert (len(functional.trainable_variables), len(again.trainable_variables)) == (2, 3)
    zoo.assert_same_predictions(functional, again, zoo.samples(functional))


def test_a_stripped_model_is_accepted():
    with pytest.warns(UserWarning, match="no measured range"):
        controller, _ = create_compressed_model(zoo.dense(), CONFIG)
    require_compressible(controller.strip())
