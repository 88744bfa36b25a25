"""Depthwise convolutions with few channels and wide kernels: OpenVINO compiles the file, runs it in integers, and is right."""

import openvino
import pytest

import keras_compress as kc
from keras_compress._keras import keras
from keras_compress.export.openvino_wide_depthwise import write_wide_depthwise_convolutions
from tests.export.openvino_files import samples
from tests.levels import levels

layers = keras.layers
WIDE = {"name": "wide", "padding": "same"}

#: By name the layer, and the shape of a sample.
LAYERS = {
    "one axis": (lambda: layers.DepthwiseConv1D(15, **WIDE), (32, 16)),
    "one open axis": (lambda: layers.DepthwiseConv1D(15, **WIDE), (None, 16)),
    "one axis, not filled up": (lambda: layers.DepthwiseConv1D(31, name="wide"), (70, 16)),
    "one axis, dilated": (lambda: layers.DepthwiseConv1D(15, dilation_rate=2, **WIDE), (64, 16)),
    "wide": (lambda: layers.DepthwiseConv2D((1, 16), **WIDE), (4, 40, 16)),
    "square": (lambda: layers.DepthwiseConv2D(15, **WIDE), (40, 40, 16)),
    "low": (lambda: layers.DepthwiseConv2D((3, 14), **WIDE), (5, 40, 16)),
    "dilated": (lambda: layers.DepthwiseConv2D((1, 16), dilation_rate=(1, 2), **WIDE), (4, 80, 16)),
    "one axis at each step": (
        lambda: layers.TimeDistributed(layers.DepthwiseConv1D(15, padding="same"), name="wide"),
        (3, 40, 16),
    ),
    "images at each step": (
        lambda: layers.TimeDistributed(layers.DepthwiseConv2D((2, 15), padding="same"), name="wide"),
        (3, 4, 40, 16),
    ),
    "separable, one axis": (lambda: layers.SeparableConv1D(8, 15, **WIDE), (40, 16)),
    "separable": (lambda: layers.SeparableConv2D(8, (3, 15), **WIDE), (6, 40, 16)),
    "groups of one": (lambda: layers.Conv1D(16, 15, groups=16, **WIDE), (40, 16)),
    "groups of one, images": (lambda: layers.Conv2D(16, (2, 15), groups=16, **WIDE), (4, 40, 16)),
    "groups of one, volumes": (lambda: layers.Conv3D(16, (3, 2, 15), groups=16, **WIDE), (4, 5, 40, 16)),
    "few channels": (lambda: layers.DepthwiseConv1D(15, **WIDE), (40, 5)),
    "one channel": (lambda: layers.DepthwiseConv2D((2, 15), **WIDE), (3, 40, 1)),
}
#: Layers that OpenVINO compiles as they are.
OTHERS = {
    "tall": (lambda: layers.DepthwiseConv2D((16, 1), **WIDE), (40, 4, 16)),
    "narrow": (lambda: layers.DepthwiseConv1D(13, **WIDE), (40, 16)),
    "with a stride": (lambda: layers.DepthwiseConv1D(15, strides=2, **WIDE), (64, 16)),
    "a short result": (lambda: layers.DepthwiseConv1D(15, **WIDE), (28, 16)),
    "many channels": (lambda: layers.DepthwiseConv1D(15, **WIDE), (40, 17)),
}


def export(case, path, **options):
    make, shape = {**LAYERS, **OTHERS}[case]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layers.Dense(3, name="last")(layers.ReLU()(make()(inputs))))
    sizes = [40 if size is None else size for size in shape]
    return kc.export_model(kc.quantize(model, samples(sizes), **options), path, data=samples(sizes, seed=3))


@pytest.mark.parametrize("case", levels(list(LAYERS), first=["one axis", "square", "groups of one, volumes"]))
def test_openvino_compiles_the_file_and_computes_in_integers(case, tmp_path):
    report = export(case, tmp_path / "m.xml")
    assert report.comparison.sqnr > 50
    assert {(weight.stored_as, weight.runs_in_integers, weight.problem) for weight in report.weights} == {
        ("int8", True, "")
    }


@pytest.mark.parametrize("case", levels(list(LAYERS), first=["one axis", "square", "few channels"]))
def test_openvino_compiles_the_file_with_the_layer_in_floating_point(case, tmp_path):
    report = export(case, tmp_path / "m.xml", ignored_scope={"patterns": ["^wide"]})
    assert report.comparison.sqnr > 50
    assert report.comparison.problem == ""


def convolutions(path):
    """Return the kernel and the dilations of every convolution of groups in a file."""
    model = openvino.Core().read_model(path)
    return [
        (list(node.get_input_shape(1))[3:], list(node.get_attributes()["dilations"]))
        for node in model.get_ordered_ops()
        if node.get_type_name() == "GroupConvolution"
    ]


@pytest.mark.parametrize("case", OTHERS)
def test_what_openvino_compiles_is_left_as_it_is(case, tmp_path):
    report = export(case, tmp_path / "m.xml")
    assert report.comparison.sqnr > 50
    [(kernel, dilations)] = convolutions(tmp_path / "m.xml")
    assert len(kernel) == 2
    assert dilations == [1, 1]


@pytest.mark.parametrize(
    ("case", "kernel", "dilations"),
    [
        ("one axis", [1, 15], [2, 1]),
        ("square", [1, 15, 15], [2, 1, 1]),
        ("groups of one, volumes", [3, 15, 2], [1, 1, 1]),
    ],
)
def test_the_form_that_is_written(case, kernel, dilations, tmp_path):
    export(case, tmp_path / "m.xml")
    assert convolutions(tmp_path / "m.xml") == [(kernel, dilations)]


def test_written_once_more_nothing_changes(tmp_path):
    export("square", tmp_path / "m.xml")
    model = openvino.Core().read_model(tmp_path / "m.xml")
    before = [node.get_friendly_name() for node in model.get_ordered_ops()]
    write_wide_depthwise_convolutions(model)
    assert [node.get_friendly_name() for node in model.get_ordered_ops()] == before
