"""What one tool does in its own environment; started by peers.py, prints lines of JSON.

    python benchmarks/peer_worker.py TOOL steps NETWORK [--jit]
    python benchmarks/peer_worker.py TOOL memory NETWORK VARIANT
    python benchmarks/peer_worker.py TOOL creation MODEL
    python benchmarks/peer_worker.py TOOL accuracy FLOAT.h5 DATA.npz VARIANT [--epochs 3]

Nothing of keras_compress is imported for another tool, and networks are built with the Keras of the environment.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

if tf.__version__.startswith("2.15"):
    sys.modules["tf_keras"] = tf.keras  # there, the same code under another name
import tf_keras as keras
from cifar10 import training_pipeline
from resnet8 import build_resnet8

BATCH = 32
NETWORKS = {
    "resnet8": build_resnet8,
    "mobilenet_v2": lambda: keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10),
    "mobilenet_v2_full": lambda: keras.applications.MobileNetV2((224, 224, 3), weights=None, classes=10),
}


def with_keras_compress(algorithm, **settings):
    def compress(model, images):
        import keras_compress as kc

        config = {"compression": {"algorithm": algorithm, **settings}}
        return kc.create_compressed_model(model, kc.register_default_init_args(config, images))[1]

    return compress


def with_nncf(*algorithms):
    def compress(model, images):
        from nncf import NNCFConfig
        from nncf.tensorflow import create_compressed_model, register_default_init_args

        shape = [1, *model.input_shape[1:]]
        settings = {"input_info": {"sample_size": shape}, "target_device": "TRIAL", "compression": list(algorithms)}
        config = NNCFConfig.from_dict(settings)
        data = tf.data.Dataset.from_tensor_slices((images, np.zeros(len(images), np.int64))).batch(BATCH)
        config = register_default_init_args(config, data, BATCH)
        return create_compressed_model(model, config)[1]

    return compress


def with_tfmot(model, images):
    import tensorflow_model_optimization as tfmot

    return tfmot.quantization.keras.quantize_model(model)


def with_tfmot_pruning(model, images):
    import tensorflow_model_optimization as tfmot

    schedule = tfmot.sparsity.keras.ConstantSparsity(0.5, begin_step=0, frequency=10**6)
    pruned = tfmot.sparsity.keras.prune_low_magnitude(model, schedule)
    for layer in pruned.layers:
        if hasattr(layer, "pruning_step"):
            layer.pruning_step.assign(1)  # its callback would, but steps are taken without callbacks
    return pruned


def with_larq(model, images):
    import larq

    def binary(layer):
        if not isinstance(layer, keras.layers.Conv2D) or layer.name.startswith(("stem", "Conv1")):
            return layer.__class__.from_config(layer.get_config())
        settings = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
        return larq.layers.QuantConv2D.from_config({**layer.get_config(), **settings})

    return keras.models.clone_model(model, clone_function=binary)


NO_ADAPTATION = {"num_bn_adaptation_samples": 0}
QUANTIZATION = {"algorithm": "quantization", "initializer": {"batchnorm_adaptation": NO_ADAPTATION}}
UNMEASURED = {
    "algorithm": "quantization",
    "initializer": {"range": {"num_init_samples": 0}, "batchnorm_adaptation": NO_ADAPTATION},
}
VARIANTS = {
    "keras_compress": {
        "INT8": with_keras_compress(**QUANTIZATION),
        "W4A4": with_keras_compress(**QUANTIZATION, weights={"bits": 4}, activations={"bits": 4}),
        "magnitude": with_keras_compress("magnitude_sparsity", sparsity_init=0.5),
        "RB": with_keras_compress("rb_sparsity", sparsity_init=0.5),
        "INT8 without data": with_keras_compress(**UNMEASURED),
        "binary": with_keras_compress("binarization", ignored_scopes=["stem_conv", "{re}.*shortcut"]),
    },
    "tfmot": {"INT8": with_tfmot, "magnitude": with_tfmot_pruning},
    "nncf": {
        "INT8": with_nncf(QUANTIZATION),
        "W4A4": with_nncf({**QUANTIZATION, "weights": {"bits": 4}, "activations": {"bits": 4}}),
        "magnitude": with_nncf({"algorithm": "magnitude_sparsity", "sparsity_init": 0.5}),
        "RB": with_nncf({"algorithm": "rb_sparsity", "sparsity_init": 0.5}),
        "INT8 without data": with_nncf(UNMEASURED),
    },
    "larq": {"binary": with_larq},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool", choices=VARIANTS)
    parser.add_argument("work", choices=["steps", "memory", "creation", "accuracy"])
    parser.add_argument("arguments", nargs="+")
    parser.add_argument("--jit", action="store_true")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    keras.utils.set_random_seed(0)
    options = {"steps": {"jit": arguments.jit}, "accuracy": {"epochs": arguments.epochs}}.get(arguments.work, {})
    globals()[arguments.work](VARIANTS[arguments.tool], *arguments.arguments, **options)


def answer(result):
    print("RESULT " + json.dumps(result), flush=True)


def random_batch(model):
    generator = np.random.default_rng(0)
    images = generator.normal(size=(BATCH, *model.input_shape[1:])).astype(np.float32)
    return images, generator.integers(0, 10, BATCH)


def steps(variants, network, jit):
    """Say which models there are; then, for every line with a number, take so many steps with each in turn."""
    model = NETWORKS[network]()
    images, labels = random_batch(model)
    models = {
        "float": model,
        **{name: compress(model, images) for name, compress in variants.items() if fits(name, network)},
    }
    for each in models.values():
        each.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", jit_compile=jit)
    for _ in range(3):  # the first steps trace and warm up
        for each in models.values():
            each.train_on_batch(images, labels)
    answer(list(models))
    for line in sys.stdin:
        answer({name: [seconds(each, images, labels) for _ in range(int(line))] for name, each in models.items()})


def fits(variant, network):
    """Binary networks and low bits are for ResNet-8; the other network has depthwise convolutions."""
    return variant != "INT8 without data" and (network == "resnet8" or variant not in ("binary", "W4A4"))


def seconds(model, images, labels):
    start = time.perf_counter()
    model.train_on_batch(images, labels)
    return time.perf_counter() - start


def memory(variants, network, variant):
    """Answer with the peak memory of a process that trains one model, in megabytes, above what it had in use before."""
    tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    tiny.compile("adam", "mse")
    tiny.train_on_batch(np.zeros((4, 4)), np.zeros((4, 2)))  # whatever TensorFlow sets up once
    Path("/proc/self/clear_refs").write_text("5")  # lets the peak start anew from what is in use
    before = resident_megabytes("VmHWM")
    model = NETWORKS[network]()
    images, labels = random_batch(model)
    if variant != "float":
        model = variants[variant](model, images)
    model.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy")
    for _ in range(4):
        model.train_on_batch(images, labels)
    answer(resident_megabytes("VmHWM") - before)


def resident_megabytes(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(entry))) / 1024


def creation(variants, name):
    """Answer with medians of the seconds to clone a model, and to compress it to INT8 without data."""
    model = getattr(keras.applications, name)(weights=None)
    batch = np.zeros((1, *model.input_shape[1:]), np.float32)
    found = {"clone": [], "create": []}
    for _ in range(3):
        start = time.perf_counter()
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        found["clone"].append(time.perf_counter() - start)
        start = time.perf_counter()
        variants.get("INT8 without data", variants["INT8"])(model, batch)
        found["create"].append(time.perf_counter() - start)
    answer({what: statistics.median(values) for what, values in found.items()})


def accuracy(variants, float_weights, data, variant, epochs):
    """Answer with the top-1 accuracy in percent after so many epochs from the float weights."""
    arrays = np.load(data)
    model = build_resnet8()
    model.load_weights(float_weights)
    batches = training_pipeline(arrays["train_images"], arrays["train_labels"], 128)
    if variant != "float":
        images = np.concatenate([batch for batch, _ in batches.take(4)])
        model = variants[variant](model, images)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, epochs * len(batches))
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(batches, epochs=epochs, verbose=0)
    images = arrays["test_images"].astype(np.float32) / 255
    answer(100 * model.evaluate(images, arrays["test_labels"], batch_size=500, verbose=0)[1])


if __name__ == "__main__":
    main()
