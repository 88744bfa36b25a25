"""Which functions operator layers of a file may call."""

import pytest
import tensorflow as tf

from keras_compress._keras import TFOpLambda, keras
from keras_compress.safe_mode.tensorflow_functions import is_harmless_function

#: What models are written with, as functions of a tensor of shape (batch, 4, 4).
WRITTEN = {
    "plus": lambda x: x + 1,
    "minus": lambda x: -x,
    "product": lambda x: x @ x,
    "part": lambda x: x[:, 1:],
    "power": lambda x: x**2,
    "whole": lambda x: x // 2,
    "rest": lambda x: x % 2,
    "larger": lambda x: x > 0,
    "mean": lambda x: keras.backend.mean(x, axis=1),
    "gelu": lambda x: keras.activations.gelu(x),
    "softmax": lambda x: keras.backend.softmax(x),
    "cast": lambda x: tf.cast(x, tf.float16),
    "einsum": lambda x: tf.einsum("btc->bct", x),
    "shape": lambda x: tf.shape(x),
    "resize": lambda x: tf.image.resize(x[..., None], (8, 8)),
    "depth": lambda x: tf.nn.space_to_depth(x[..., None], 2),
    "raw": lambda x: tf.raw_ops.Relu(features=x),
    "stft": lambda x: tf.signal.stft(tf.reshape(x, (-1, 16)), 8, 4),
    "where": lambda x: tf.where(x > 0, x, 0.0),
    "one-hot": lambda x: tf.one_hot(tf.cast(x, tf.int32), 3),
    "top": lambda x: tf.math.top_k(x, 2),
    "norm": lambda x: tf.linalg.norm(x, axis=-1),
    "patches": lambda x: tf.image.extract_patches(x[..., None], [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
    "numpy": lambda x: tf.experimental.numpy.add(x, 1.0),
    "old": lambda x: tf.compat.v1.nn.relu6(x),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_models_are_written_with_is_known(name):
    x = keras.Input((4, 4))
    outputs = tf.nest.flatten(WRITTEN[name](x))
    model = keras.Model(x, outputs)
    functions = [layer.symbol for layer in model.layers if isinstance(layer, TFOpLambda)]
    assert functions
    assert all(map(is_harmless_function, functions))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "io.write_file",
            "io.read_file",
            "io.matching_files",
            "compat.v1.write_file",
            "compat.v1.read_file",
            "py_function",
        ),
        *(
            "numpy_function",
            "compat.v1.py_func",
            "print",
            "load_library",
            "load_op_library",
            "saved_model.load",
            "function",
        ),
        *(
            "io.gfile.remove",
            "io.gfile.rmtree",
            "raw_ops.WriteFile",
            "raw_ops.PyFunc",
            "raw_ops.SaveV2",
            "random.set_seed",
        ),
        *(
            "summary.text",
            "import_graph_def",
            "keras.utils.get_file",
            "keras.models.load_model",
            "data.Dataset",
            "Module",
        ),
        *(
            "keras.backend.clear_session",
            "keras.backend.set_floatx",
            "config.set_soft_device_placement",
            "random.Generator",
        ),
        *("xla_call_module", "xla_custom_call", "experimental.dlpack.from_dlpack", "debugging.enable_dump_debug_info"),
        *(
            "math.nothing",
            "",
            ".",
            "os.system",
            "math",
            "math.",
            "keras.activations.deserialize",
            "linalg.LinearOperator",
        ),
    ],
)
def test_what_does_more_than_compute_is_not(name):
    assert not is_harmless_function(name)
