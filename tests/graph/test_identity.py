"""What a class is, is known by its module and its registered name together."""

import pytest

from keras_compress._keras import keras, serialize
from keras_compress.graph import ModelGraph, take
from keras_compress.graph.identity import is_builtin, is_operation, operation_class
from keras_compress.layers import BinaryActivation, FakeQuantize, SymmetricFakeQuantize
from tests import zoo
from tests.contract.impostors import impostor_of


@keras.saving.register_keras_serializable("test_identity")
class OwnQuantizer(SymmetricFakeQuantize):
    pass


@pytest.mark.parametrize("kind", zoo.MODELS)
def test_every_layer_of_the_zoo_is_one_of_keras(kind):
    graph = ModelGraph(zoo.snapshot(kind))
    nested = set(graph.nested_inputs)
    assert all(node.builtin for path, node in graph.layers() if path not in nested)


@pytest.mark.parametrize("module", ["keras_extras", "keras_cv.layers", "tf_keras_models", "__main__", "", None])
def test_a_class_of_another_module_is_not(module):
    assert not is_builtin({"module": module, "class_name": "Conv2D", "registered_name": "Conv2D"})


@pytest.mark.parametrize("registered", ["mine>Conv2D", "keras_extras.Conv2D", "Custom>Conv2D"])
def test_a_class_registered_by_somebody_else_is_not(registered):
    assert not is_builtin({"module": "keras.layers", "class_name": "Conv2D", "registered_name": registered})


def test_an_impostor_in_a_model_is_not():
    layer = impostor_of(keras.layers.Dense)(3, name="dense")
    inputs = keras.Input((4,))
    graph = ModelGraph(take(keras.Model(inputs, layer(inputs))))
    [node] = [node for path, node in graph.layers() if path == "dense"]
    assert node.class_name == "Dense"
    assert not node.builtin
    assert not node.is_a("Dense")


def test_a_layer_that_is_copied_is_of_its_class():
    stack = [keras.Input((4,)), keras.layers.Dense(3, activation=lambda x: x * 2.0, name="dense")]
    graph = ModelGraph(take(keras.Sequential(stack)))
    [node] = [node for path, node in graph.layers() if path == "dense"]
    assert node.is_a("Dense")


def test_a_layer_that_two_models_share_is_of_its_class():
    shared, inputs = keras.layers.Dense(4, name="shared"), keras.Input((4,))
    inner = keras.Model(inputs, shared(inputs), name="inner")
    outer = keras.Input((4,))
    graph = ModelGraph(take(keras.Model(outer, shared(inner(outer)))))
    found = {path: node.is_a("Dense") for path, node in graph.layers() if path.endswith("shared")}
    assert found == {"shared": True, "inner/shared": True}


def test_operations_are_known_by_what_is_registered():
    assert operation_class(serialize(SymmetricFakeQuantize(8))) is SymmetricFakeQuantize
    assert operation_class(serialize(OwnQuantizer(8))) is OwnQuantizer
    assert is_operation(serialize(OwnQuantizer(8)), FakeQuantize)
    assert not is_operation(serialize(OwnQuantizer(8)), BinaryActivation)


@pytest.mark.parametrize("name", [None, "SymmetricFakeQuantize", "mine>SymmetricFakeQuantize", "os>system", 3])
def test_what_only_has_the_name_of_an_operation_is_none(name):
    entry = {"module": "mine", "class_name": "SymmetricFakeQuantize", "config": {}, "registered_name": name}
    assert operation_class(entry) is None
    assert not is_operation(entry)
