"""The .xml file is read back and run by OpenVINO: outputs of the Keras model, integers where they should be."""

import math
import os
import sys
import warnings

import numpy as np
import openvino
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress import ExportError, create_compressed_model, register_default_init_args
from keras_compress._keras import keras
from keras_compress.export.openvino_audit import executed_layers
from tests import binary, zoo

layers = keras.layers

KERNELS = {"1": 1, "2": 2, "3": 3, "1x3": (1, 3)}
WIDTHS = (16, 32, 48, 64)
SPARSE = {"algorithm": "magnitude_sparsity", "sparsity_init": 0.6, "params": {"sparsity_target": 0.6}}
INT8 = {"algorithm": "quantization"}


def compiled(path):
    return openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run(path, model, inputs):
    """Run a file on the inputs of a model; return its outputs by the names Keras gives them."""
    feeds = {f"{name}:0": array for name, array in zip(model.input_names, tf.nest.flatten(inputs), strict=True)}
    network = compiled(path)
    found = network(feeds)
    return {name: found[network.output(f"{name}:0")] for name in model.output_names}


def executed(path):
    """Return ``(kind, precision)`` of every convolution and product as OpenVINO runs it."""
    return sorted((layer.kind, layer.precision) for layer in executed_layers(compiled(path)))


def constants(path, kind):
    """Return the constants of an element type in a file, as shapes and numbers; bits are unpacked."""
    found = []
    for node in openvino.Core().read_model(path).get_ops():
        if node.get_type_name() == "Constant" and node.get_element_type() == getattr(openvino.Type, kind):
            shape, numbers = tuple(node.shape), np.asarray(node.get_data())
            if kind == "u1":
                numbers = np.unpackbits(numbers.view(np.uint8))[: math.prod(shape)]
            found.append(numbers.reshape(shape))
    return found


def assert_same_outputs(path, model, batch=1, tolerance=1e-4):
    """Check that a file gives the outputs of a model within a share of the largest of each."""
    inputs = zoo.samples(model, batch)
    received = run(path, model, inputs)
    for name, expected in zip(model.output_names, zoo.predict(model, inputs), strict=True):
        assert len(np.unique(expected)) > 3
        np.testing.assert_allclose(
            received[name], expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=name
        )


def binarized(model, *others, **settings):
    """Return the controller of a binary model whose scales and thresholds went their own ways."""
    controller, compressed = binary.compress(model, *others, **settings)
    binary.scatter_levels(compressed)
    return controller


def in_and_out(make, shape):
    """Functional: what ``make`` does to an image."""
    image = keras.Input(shape, name="image")
    return keras.Model(image, make(image))


# One-bit convolutions. All of them are outputs of one model, so that it is compressed, written and compiled once.


def many_convolutions():
    """Functional: an output for every kernel size, stride and padding, and for every pair of widths."""
    images = {width: keras.Input((9, 9, width), name=f"image_{width}") for width in WIDTHS}
    outputs = []
    for tag, kernel in KERNELS.items():
        for strides in (1, 2):
            for padding in ("same", "valid"):
                name = f"kernel_{tag}_strides_{strides}_{padding}"
                conv = layers.Conv2D(32, kernel, strides, padding, bias_initializer="normal", name=name)
                outputs.append(conv(layers.ReLU()(images[16])))
    for width, image in images.items():
        for filters in WIDTHS:
            conv = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"width_{width}_filters_{filters}")
            outputs.append(conv(layers.ReLU()(image)))
    return keras.Model(list(images.values()), outputs)


CONVOLUTIONS = [
    *(f"kernel_{tag}_strides_{strides}_{pad}" for tag in KERNELS for strides in (1, 2) for pad in ("same", "valid")),
    *(f"width_{width}_filters_{filters}" for width in WIDTHS for filters in WIDTHS),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The file of many binary convolutions, their model, what Keras computes, and what OpenVINO does, by name."""
    keras.utils.set_random_seed(7)
    controller = binarized(many_convolutions())
    model = controller.model
    path = controller.export_model(tmp_path_factory.mktemp("many") / "model.xml", batch_size=1).path
    inputs = zoo.samples(model, 1)
    expected = dict(zip(model.output_names, zoo.predict(model, inputs), strict=True))
    return path, model, expected, run(path, model, inputs)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_one_bit_convolution_computes_what_keras_computes(written, name):
    _, _, expected, received = written
    assert len(np.unique(expected[name])) > 20
    np.testing.assert_allclose(received[name], expected[name], rtol=0, atol=1e-4 * np.abs(expected[name]).max())


def test_every_binary_convolution_runs_in_one_bit(written):
    assert executed(written[0]) == [("BinaryConvolution", "u1")] * len(CONVOLUTIONS)


def test_every_binary_weight_is_stored_in_one_bit(written):
    path, model, *_ = written
    sizes = [math.prod(model.get_layer(name).kernel.shape) for name in CONVOLUTIONS]
    assert sorted(array.size for array in constants(path, "u1")) == sorted(sizes)


def test_the_bits_are_the_signs_of_the_weights(tmp_path):
    controller = binarized(binary.one_convolution(channels=16))
    kernel = controller.model.get_layer("conv").kernel.numpy()
    (bits,) = constants(controller.export_model(tmp_path / "model.xml", batch_size=1).path, "u1")
    np.testing.assert_array_equal(bits, np.transpose(kernel > 0, (3, 2, 0, 1)))


def test_the_file_is_small(tmp_path):
    model = binary.one_convolution(channels=64, filters=64)
    path = binarized(model).export_model(tmp_path / "model.xml", batch_size=1).path
    numbers = 64 + 2 * 64 + 64  # bias, both ends of the weights, thresholds
    assert path.with_suffix(".bin").stat().st_size < 64 * 64 * 9 / 8 + 4 * numbers + 200


@pytest.mark.parametrize("channels", [1, 3, 12, 33])
def test_channels_that_do_not_fill_bytes_are_right_too(channels, tmp_path):
    controller = binarized(binary.one_convolution(channels=channels, filters=16, padding="same"))
    assert_same_outputs(controller.export_model(tmp_path / "model.xml", batch_size=1).path, controller.model)


@pytest.mark.parametrize("filters", [1, 12])
def test_any_number_of_filters_runs_in_one_bit(filters, tmp_path):
    controller = binarized(binary.one_convolution(channels=16, filters=filters))
    path = controller.export_model(tmp_path / "model.xml", batch_size=1).path
    assert_same_outputs(path, controller.model)
    assert executed(path) == [("BinaryConvolution", "u1")]


def test_dorefa_runs_in_one_bit(tmp_path):
    controller = binarized(binary.one_convolution(channels=16), mode="dorefa")
    path = controller.export_model(tmp_path / "model.xml", batch_size=1).path
    assert_same_outputs(path, controller.model)
    assert executed(path) == [("BinaryConvolution", "u1")]


def padded(image):
    return layers.Conv2D(16, 3, 2, name="conv")(layers.ZeroPadding2D(((1, 0), (2, 1)))(image))


def two_readers(image):
    x = layers.ReLU()(image)
    return layers.Concatenate()([layers.Conv2D(16, 3, padding="same")(x), layers.Conv2D(16, 1)(x), x])


def called_twice(image):
    shared = layers.Conv2D(16, 3, padding="same", name="shared")
    return shared(layers.ReLU()(layers.BatchNormalization()(shared(image))))


def nested(image):
    inner = keras.Input((9, 9, 16), name="inner")
    unit = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, name="conv")(inner)))
    return layers.Conv2D(16, 3, name="after")(keras.Model(inner, unit, name="backbone")(image))


def behind_many_kinds(image):
    rows = layers.Reshape((3, 27, 16))(image)
    joined = layers.Concatenate()([image, layers.AveragePooling2D(3, 1, padding="same")(image)])
    larger = layers.UpSampling2D()(layers.LayerNormalization()(image))
    smaller = layers.MaxPooling2D()(layers.Conv2D(16, 1, activation="tanh", name="tanh")(image))
    return [layers.Conv2D(16, 3, name=f"conv_{i}")(x) for i, x in enumerate((rows, joined, larger, smaller))]


SHAPES = {
    "padding layer": (padded, 1),
    "behind many kinds of layers": (behind_many_kinds, 5),
    "two readers of one tensor": (two_readers, 2),
    "a shared layer": (called_twice, 2),
    "a nested model": (nested, 2),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_binary_convolutions_anywhere_in_a_model_run_in_one_bit(kind, tmp_path):
    make, convolutions = SHAPES[kind]
    controller = binarized(in_and_out(make, (9, 9, 16)))
    path = controller.export_model(tmp_path / "model.xml", batch_size=3).path
    assert_same_outputs(path, controller.model, batch=3)
    assert executed(path) == [("BinaryConvolution", "u1")] * convolutions


ODD = {
    "groups": (layers.Conv2D(16, 3, groups=2, name="layer"), "Conv2D", (9, 9, 16)),
    "dilation": (layers.Conv2D(16, 3, dilation_rate=2, padding="same", name="layer"), "Conv2D", (9, 9, 16)),
    "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2, name="layer"), "DepthwiseConv2D", (9, 9, 16)),
    "one dimension": (layers.Conv1D(16, 3, padding="same", name="layer"), "Conv1D", (9, 16)),
    "dense": (layers.Dense(24, name="layer"), "Dense", (16,)),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_openvino_has_no_one_bit_kernel_for_is_right_in_floating_point(kind, tmp_path):
    layer, layer_type, shape = ODD[kind]
    config = layer.get_config()
    controller = binarized(in_and_out(type(layer).from_config(config), shape), layer_types=layer_type)
    assert_same_outputs(controller.export_model(tmp_path / "model.xml", batch_size=1).path, controller.model)


@pytest.mark.parametrize("started", ["activations", "weights"])
def test_a_model_that_is_binary_in_part_is_right(started, tmp_path):
    later = {f"{other}_quant_start_epoch": 1 for other in ("activations", "weights") if other != started}
    controller = binarized(binary.one_convolution(channels=16), params=later)
    path = controller.export_model(tmp_path / "model.xml", batch_size=1).path
    assert_same_outputs(path, controller.model)
    assert executed(path) == [("Convolution", "f32")]


def test_a_filter_of_zeros_is_right(tmp_path):
    model = binary.one_convolution(channels=16)
    kernel, bias = model.get_layer("conv").get_weights()
    kernel[..., 2] = 0.0
    model.get_layer("conv").set_weights([kernel, bias])
    controller = binarized(model)
    assert_same_outputs(controller.export_model(tmp_path / "model.xml", batch_size=1).path, controller.model)


def test_images_of_any_size_are_right(tmp_path):
    model = in_and_out(layers.Conv2D(16, 3, padding="same", name="conv"), (None, None, 16))
    image = zoo.samples(binary.one_convolution(channels=16), 1)
    config = register_default_init_args({"compression": binary.algorithm()}, image)
    controller, compressed = create_compressed_model(model, config)
    path = controller.export_model(tmp_path / "model.xml", batch_size=1).path
    expected = zoo.predict(compressed, image)[0]
    np.testing.assert_allclose(
        run(path, compressed, image)["conv"], expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )


# Whole networks


@pytest.mark.extended
def test_a_residual_network_runs_its_body_in_one_bit(tmp_path):
    controller = binarized(binary.residual(), ignored_scopes=binary.BORDERS)
    path = controller.export_model(tmp_path / "model.xml", batch_size=2).path
    assert_same_outputs(path, controller.model, batch=2)
    assert executed(path) == [
        *[("BinaryConvolution", "u1")] * 4,
        *[("Convolution", "f32")] * 2,
        ("FullyConnected", "f32"),
    ]


@pytest.mark.extended
def test_a_binary_body_between_stem_and_head_in_integers(tmp_path):
    controller = binarized(binary.residual(), INT8, ignored_scopes=binary.BORDERS)
    path = controller.export_model(tmp_path / "model.xml", batch_size=1).path
    assert_same_outputs(path, controller.model)
    found = executed(path)
    assert [kind for kind, _ in found] == ["BinaryConvolution"] * 4 + ["Convolution"] * 2 + ["FullyConnected"]
    assert {precision for kind, precision in found if kind != "BinaryConvolution"} <= {"u8", "i8"}
    shapes = sorted(array.shape for array in constants(path, "i8"))
    assert shapes == [(16, 3, 3, 3), (32, 5), (32, 16, 1, 1)]
    assert len(constants(path, "u1")) == 4


@pytest.mark.parametrize("make", [zoo.convolution, zoo.residual, zoo.dense])
def test_a_quantized_model_stores_and_runs_integers(make, tmp_path):
    controller, model = zoo.compress(make())
    path = controller.export_model(tmp_path / "model.xml").path
    assert_same_outputs(path, model, batch=2, tolerance=1e-3)
    weights = [layer.get_weights()[0] for layer in model.layers if hasattr(layer, "weight_ops")]
    stored = constants(path, "i8")
    assert sorted(array.size for array in stored) == sorted(array.size for array in weights)
    assert {precision for _, precision in executed(path)} <= {"u8", "i8"}
    assert constants(path, "u1") == []


def test_stored_integers_are_those_of_the_quantizer(tmp_path):
    controller, model = zoo.compress(zoo.convolution())
    stored = {array.shape: array for array in constants(controller.export_model(tmp_path / "model.xml").path, "i8")}
    kernel = model.get_layer("conv").integer_weight("kernel").values
    np.testing.assert_array_equal(stored[4, 3, 3, 3], np.transpose(kernel, (3, 2, 0, 1)))


@pytest.mark.extended
def test_zeros_of_sparse_and_quantized_weights_are_stored_as_zeros(tmp_path):
    model = binary.residual()
    controller, compressed = create_compressed_model(model, binary.configured(model, SPARSE, INT8))
    path = controller.export_model(tmp_path / "model.xml").path
    stored = constants(path, "i8")
    share = sum(np.sum(array == 0) for array in stored) / sum(array.size for array in stored)
    assert sum(array.size for array in stored) == sum(
        array.size for array, *_ in zoo.masked_weights(compressed).values()
    )
    assert share == pytest.approx(controller.statistics(quickly_collected_only=True).sparsity_level)
    assert share == pytest.approx(0.6, abs=0.005)
    assert_same_outputs(path, compressed, tolerance=1e-3)


# Batches


def test_a_binary_model_gets_batches_of_one_with_a_warning(tmp_path):
    controller = binarized(binary.one_convolution(channels=16))
    with pytest.warns(UserWarning, match=r"fixed shape only.*batches of one.*batch_size="):
        path = controller.export_model(tmp_path / "model.xml").path
    assert list(compiled(path).inputs[0].shape) == [1, 7, 7, 16]
    assert executed(path) == [("BinaryConvolution", "u1")]


@pytest.mark.extended
@pytest.mark.parametrize(("batch_size", "expected"), [(None, -1), (1, 1), (3, 3)])
def test_other_models_have_the_batch_asked_for(batch_size, expected, tmp_path):
    controllers = [zoo.compress(zoo.dense())[0], binary.compress(binary.one_convolution(), at_once=False)[0]]
    for number, controller in enumerate(controllers):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            path = controller.export_model(tmp_path / f"model{number}.xml", batch_size=batch_size).path
        shape = openvino.Core().read_model(path).inputs[0].partial_shape
        assert (shape[0].get_length() if shape[0].is_static else -1) == expected


def test_a_batch_that_the_model_itself_fixes_stays(tmp_path):
    image = keras.Input(batch_shape=(4, 7, 7, 16), name="image")
    model = keras.Model(image, layers.Conv2D(16, 3, name="conv")(image))
    config = {"compression": binary.algorithm(initializer={"batchnorm_adaptation": {"num_bn_adaptation_samples": 0}})}
    with pytest.warns(UserWarning, match="no measured scale"):
        controller, _ = create_compressed_model(model, config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = controller.export_model(tmp_path / "model.xml").path
    assert list(compiled(path).inputs[0].shape) == [4, 7, 7, 16]


# The files


@pytest.fixture
def controller():
    return zoo.compress(zoo.dense())[0]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def old_files(folder):
    for name in ("model.xml", "model.bin"):
        (folder / name).write_bytes(b"old " + name.encode())
    return contents(folder)


def test_names_are_those_asked_for(controller, tmp_path):
    path = controller.export_model(tmp_path / "model.xml", input_names=["data"], output_names="answer").path
    network = compiled(path)
    assert "data:0" in network.inputs[0].names
    assert "answer:0" in network.outputs[0].names
    with pytest.raises(ExportError, match="'input_names' takes 1 different names"):
        controller.export_model(path, input_names=["a", "b"])


def test_the_format_may_be_named(controller, tmp_path):
    path = controller.export_model(str(tmp_path / "a" / "b" / "model.xml"), "openvino").path
    assert path == tmp_path / "a" / "b" / "model.xml"
    assert set(contents(path.parent)) == {"model.xml", "model.bin"}


def test_old_files_are_replaced_and_nothing_else_is_left(controller, tmp_path):
    before = old_files(tmp_path)
    path = controller.export_model(tmp_path / "model.xml").path
    assert set(contents(tmp_path)) == {"model.xml", "model.bin"} == {item.name for item in tmp_path.iterdir()}
    assert not before.items() & contents(tmp_path).items()
    assert_same_outputs(path, controller.model, batch=2, tolerance=1e-3)


def test_exporting_leaves_the_model_alone(tmp_path):
    controller = binarized(binary.one_convolution(channels=16))
    model = controller.model
    before, weights = zoo.predict(model, zoo.samples(model))[0], model.get_weights()
    controller.export_model(tmp_path / "model.xml", batch_size=1)
    np.testing.assert_array_equal(zoo.predict(model, zoo.samples(model))[0], before)
    for array, old in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("module", ["openvino", "openvino._offline_transformations"])
def test_without_openvino_the_error_says_how_to_get_it(controller, tmp_path, monkeypatch, module):
    before = old_files(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExportError, match="pip install openvino"):
        controller.export_model(tmp_path / "model.xml")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("occupied", ["model.xml", "model.bin"])
def test_a_folder_in_the_place_of_a_file_is_refused_and_the_other_file_stays(controller, tmp_path, occupied):
    old_files(tmp_path)
    (tmp_path / occupied).unlink()
    (tmp_path / occupied).mkdir()
    before = contents(tmp_path)
    with pytest.raises(ExportError, match=r"cannot be written|is a folder"):
        controller.export_model(tmp_path / "model.xml")
    assert contents(tmp_path) == before
    assert {item.name for item in tmp_path.iterdir()} == {"model.xml", "model.bin"}


def test_a_path_below_a_file_is_refused(controller, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="cannot be written"):
        controller.export_model(tmp_path / "file" / "model.xml")
    assert contents(tmp_path) == {"file": b"in the way"}


@pytest.mark.parametrize("refused", [".bin", ".xml"])
def test_a_failed_export_leaves_both_old_files(controller, tmp_path, monkeypatch, refused):
    before, replace = old_files(tmp_path), os.replace

    def refuse(source, target):
        if str(target).endswith("model" + refused):
            raise OSError("no space left")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ExportError, match="no space left"):
        controller.export_model(tmp_path / "model.xml")
    assert contents(tmp_path) == before
    assert {item.name for item in tmp_path.iterdir()} == {"model.xml", "model.bin"}


def test_an_error_of_openvino_leaves_both_old_files(controller, tmp_path, monkeypatch):
    before = old_files(tmp_path)

    def refuse(*_, **__):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(openvino, "save_model", refuse)
    with pytest.raises(ExportError, match="disk on fire"):
        controller.export_model(tmp_path / "model.xml")
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["model.pb", "model", "model.bin"])
def test_a_path_that_is_not_an_xml_file_is_refused(controller, tmp_path, name):
    with pytest.raises(ExportError, match=r"xml"):
        controller.export_model(tmp_path / name, save_format="openvino")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_refused(controller, tmp_path):
    with pytest.raises(ExportError, match=r"'openvino' has no option 'batchsize'.*batch_size"):
        controller.export_model(tmp_path / "model.xml", batchsize=3)


def test_the_file_says_what_made_it_from_what(tmp_path):
    controller, model = zoo.compress(zoo.dense())
    read = openvino.Core().read_model(controller.export_model(tmp_path / "model.xml").path)
    assert read.get_rt_info(["framework"]).astype(str) == "keras_compress"
    assert read.get_rt_info(["model_info", "model_name"]).astype(str) == model.name


class Odd(layers.Layer):
    def call(self, inputs):
        return tf.math.lgamma(tf.abs(inputs) + 1.0)


def test_the_layer_of_an_operation_that_openvino_lacks_is_named(tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4), Odd(name="odd_layer")])
    compressed = kc.quantize(model, np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32))
    with pytest.raises(
        kc.ExportError, match=r"Layer 'odd_layer' computes with \['Lgamma'\].*(?s:.*)choose another format"
    ):
        kc.export_model(compressed, tmp_path / "model.xml")
