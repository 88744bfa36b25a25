"""keep_in_float: what it adds to the ignored scopes of binarization, and what it leaves alone."""

import copy

import pytest

from keras_compress import (
    CompressionConfig,
    ConfigError,
    create_compressed_model,
    keep_in_float,
    register_default_init_args,
)
from keras_compress._keras import keras
from keras_compress.errors import UnsupportedModelError
from tests import binary, zoo

layers = keras.layers

BINARY = {"compression": {"algorithm": "binarization"}}


def kept(model, config=None, **options):
    """Return the ignored scopes of binarization after completion."""
    completed = keep_in_float(model, config or BINARY, **options)
    return {scope for part in completed.compression if part.name == "binarization" for scope in part.ignored_scopes}


def plain():
    """Functional: four convolutions and two dense layers."""
    image = keras.Input((8, 8, 3), name="image")
    x = image
    for name in ("stem", "one", "two", "last"):
        x = layers.ReLU()(layers.Conv2D(4, 3, padding="same", name=name)(x))
    x = layers.Dense(4, "relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(2, name="head")(x))


def in_a_backbone():
    """Functional: a nested residual network and a nested head."""
    inner = keras.Input((8, 8, 3), name="inner_image")
    stem = layers.Conv2D(4, 3, padding="same", name="stem")(inner)
    way = layers.Conv2D(4, 3, padding="same", name="b")(layers.Conv2D(4, 3, padding="same", name="a")(stem))
    total = layers.Add()([way, layers.Conv2D(4, 1, name="shortcut")(stem)])
    backbone = keras.Model(inner, layers.Conv2D(4, 3, name="last")(total), name="backbone")
    pool = layers.GlobalAveragePooling2D(name="pool")
    head = keras.Sequential([keras.Input((6, 6, 4)), pool, layers.Dense(3, name="dense")], name="head")
    image = keras.Input((8, 8, 3), name="image")
    return keras.Model(image, head(backbone(image)), name="whole")


def test_the_borders_of_a_plain_network():
    assert kept(plain()) == {"stem", "last", "hidden", "head"}


def test_the_convolution_before_the_classifier_is_binarized_on_demand():
    assert kept(plain(), last_convolution=False) == {"stem", "hidden", "head"}


def test_the_borders_of_a_residual_network():
    assert kept(binary.residual(), last_convolution=False) == {"stem", "shortcut", "head"}
    assert kept(binary.residual()) == {"stem", "shortcut", "head", "two_b"}


def test_the_borders_of_a_nested_network():
    expected = {"backbone/stem", "backbone/shortcut", "backbone/last", "head/dense"}
    assert kept(in_a_backbone()) == expected


def test_the_convolution_behind_nested_preprocessing_is_the_first():
    preprocessing = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(2.0)], name="preprocessing")
    image = keras.Input((8, 8, 3), name="image")
    x = preprocessing(image)
    for name in ("stem", "body", "last"):
        x = layers.Conv2D(4, 1, name=name)(x)
    model = keras.Model(image, layers.Dense(2, name="head")(layers.Flatten()(x)))
    assert kept(model) == {"stem", "last", "head"}


@pytest.fixture(scope="module")
def resnet50():
    return keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)


RESNET50_BORDERS = {"conv1_conv", "predictions", *(f"conv{stage}_block1_0_conv" for stage in (2, 3, 4, 5))}


def test_the_borders_of_resnet50(resnet50):
    assert kept(resnet50, last_convolution=False) == RESNET50_BORDERS


def test_of_resnet50_one_more_convolution_lies_before_the_classifier(resnet50):
    assert kept(resnet50) - RESNET50_BORDERS == {"conv5_block3_3_conv"}


def test_what_is_kept_is_not_binary_and_the_rest_is():
    model = binary.residual()
    config = keep_in_float(model, binary.configured(model, binary.algorithm()), last_convolution=False)
    _, compressed = create_compressed_model(model, config)
    assert set(binary.binary_weights(compressed)) == {"one_a", "one_b", "two_a", "two_b"}


def test_scopes_that_were_there_stay():
    assert kept(plain(), {"compression": binary.algorithm(ignored_scopes=["{re}^tw"])}) == {
        "{re}^tw",
        *("stem", "last", "hidden", "head"),
    }


def test_completing_twice_changes_nothing_more():
    once = keep_in_float(plain(), BINARY)
    assert keep_in_float(plain(), once) == once


def test_only_binarization_is_completed():
    config = keep_in_float(plain(), {"compression": [{"algorithm": "quantization"}, {"algorithm": "binarization"}]})
    assert [(part.name, bool(part.ignored_scopes)) for part in config.compression] == [
        ("quantization", False),
        ("binarization", True),
    ]


def test_other_settings_and_the_data_stay():
    model = plain()
    values = {
        "compression": binary.algorithm(mode="dorefa", layer_types=["Conv2D", "Dense"]),
        "target_device": "CPU",
        "log_dir": "logs",
    }
    data = zoo.samples(model)
    config = register_default_init_args(values, data)
    completed = keep_in_float(model, config)
    assert completed.init_data is config.init_data
    without = completed.to_dict()
    del without["compression"][0]["ignored_scopes"]
    assert without == config.to_dict()


@pytest.mark.parametrize("as_dict", [True, False])
def test_neither_the_model_nor_the_configuration_is_changed(as_dict):
    model, values = plain(), {"compression": [{"algorithm": "binarization", "ignored_scopes": ["one"]}]}
    config = copy.deepcopy(values) if as_dict else CompressionConfig.from_dict(values)
    before, weights = model.to_json(), model.get_weights()
    keep_in_float(model, config)
    assert config == (values if as_dict else CompressionConfig.from_dict(values))
    assert model.to_json() == before
    assert all((now == old).all() for now, old in zip(model.get_weights(), weights, strict=True))


def test_without_binarization_there_is_nothing_to_complete():
    with pytest.raises(ConfigError, match=r"'binarization' among the algorithms.*Received: \['quantization'\]"):
        keep_in_float(plain(), {"compression": {"algorithm": "quantization"}})


def test_a_model_without_a_graph_is_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(UnsupportedModelError):
        keep_in_float(Own(), BINARY)
