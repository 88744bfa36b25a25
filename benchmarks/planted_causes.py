"""Does ``kc.diagnose`` name what hurts? Twelve causes are planted in trained networks, two of each kind.

    python benchmarks/planted_causes.py --models resnet20.keras mobilenet_v2.keras --data images.npy [--seed 0]

Each cause is planted in every network, in a layer that is drawn by seed. It is named rightly if the first finding has its cause and
its layer, or one right beside it. The setting that is proposed recovers the share of the loss that it takes away.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import tf_keras as keras

import keras_compress as kc
from keras_compress.reports.formatting import format_table

layers = keras.layers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", type=Path, required=True, help="trained Keras models of images")
    parser.add_argument("--data", type=Path, required=True, help="samples of all of them, .npy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="kinds of causes")
    parser.add_argument("--json", type=Path, default=Path("runs/planted_causes.json"))
    arguments = parser.parse_args()
    images = np.load(arguments.data).astype(np.float32)
    rows = []
    for path in arguments.models:
        for kind, plant in PLANTS.items():
            if arguments.only and kind not in arguments.only:
                continue
            random = np.random.default_rng(arguments.seed)
            model = keras.models.load_model(path)
            planted, config, data, where, calibration = plant(model, images, random)
            network = planted if plant in BY_CONFIG else keras.models.load_model(path)
            sound = kc.diagnose(network, images, config=kc.Quantization(), measure=False).sqnr
            config = kc.register_default_init_args(config, calibration)
            found = kc.diagnose(planted, data, config=config, most=1)
            first = found.findings[0] if found.findings else None
            before, after = power(found.sqnr), power(found.mended)
            named = first is not None and first.cause == kind and (first.layer in where or "" in where)
            rows.append(
                [
                    path.stem,
                    kind,
                    where[0],
                    "yes" if named else "no",
                    "" if first is None else f"{first.layer}: {first.cause}",
                    round(found.sqnr, 1),
                    round(found.mended, 1),
                    round(sound, 1),
                    round((before - after) / max(before - power(sound), 1e-30), 3),
                    "" if first is None else json.dumps(dict(first.change))[:100],
                ]
            )
            print(rows[-1], flush=True)
    header = ["model", "cause", "layer", "named", "found", "dB", "mended", "without", "recovered", "change"]
    print(format_table(header, rows))
    print(f"named: {sum(row[3] == 'yes' for row in rows)} of {len(rows)}")
    print(f"recovered 90 %: {sum(row[8] >= 0.9 for row in rows)} of {len(rows)}")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=1))


def power(decibels):
    return 10 ** (-decibels / 10)


def quantized_outputs(model):
    """Return the layers in front of quantizers of activations, which have one source."""
    _, compressed = kc.create_compressed_model(model, kc.Quantization())
    names = [layer.name for layer in compressed.layers if layer.name.endswith("_quantizer")]
    sources = [name.removesuffix("_quantizer") for name in names]
    return [name for name in sources if name in {layer.name for layer in model.layers} and "input" not in name]


def dead_range(model, images, random):
    layer = str(random.choice(quantized_outputs(model)[2:]))
    end = float(keras.Model(model.inputs, model.get_layer(layer).output)(images[:32]).numpy().max())
    config = {
        "compression": {
            "algorithm": "quantization",
            "scope_overrides": {"activations": {layer: {"min": 0.0, "max": 0.1 * end}}},
        }
    }
    if random.random() < 0.5:
        config["compression"]["scope_overrides"]["activations"][layer]["max"] = 50 * end
    return model, config, images, [layer], images[:300]


def narrow_calibration(model, images, random):
    layer = str(random.choice(quantized_outputs(model)[2:]))
    percentiles = {"type": "percentile", "params": {"min_percentile": 15.0, "max_percentile": 85.0}}
    config = {
        "compression": {
            "algorithm": "quantization",
            "scope_overrides": {"activations": {layer: {"initializer": {"range": percentiles}}}},
        }
    }
    if random.random() < 0.5:
        dark = {"compression": {"algorithm": "quantization"}}
        return model, dark, images, [""], images[:300] * 0.1 + 100
    return model, config, images, [layer], images[:300]


def input_columns_apart(model, images, random):
    channel = int(random.integers(3))
    factors = np.ones(3, np.float32)
    factors[channel] = 1 / 300
    inputs = keras.Input(model.input_shape[1:], name="pixels")
    scale = layers.Conv2D(3, 1, use_bias=False, name="scale")
    planted = keras.Model(inputs, model(scale(inputs)))
    scale.set_weights([np.diag(1 / factors).reshape(1, 1, 3, 3).astype(np.float32)])
    return planted, {"compression": {"algorithm": "quantization"}}, images * factors, ["pixels"], images[:300] * factors


def unbalanced_concatenation(model, images, random):
    features = model.layers[-2].output
    branch = layers.Rescaling(float(random.uniform(100, 300)), name="large")(features)
    joined = layers.Concatenate(name="joined")([features, branch])
    kernel, bias = model.layers[-1].get_weights()
    dense = layers.Dense(kernel.shape[1], name="scores")
    planted = keras.Model(model.inputs, dense(joined))
    dense.set_weights([np.concatenate([kernel, 1e-5 * kernel]), bias])
    near = [model.layers[-2].name, model.layers[-3].name, "large", "joined"]
    return planted, {"compression": {"algorithm": "quantization"}}, images, near, images[:300]


def outlier_channel(model, images, random):
    """One channel of a kernel is 60 times as large, which the normalization behind it takes back."""
    pairs = []
    for layer in model.layers:
        readers = [node.layer for node in layer.outbound_nodes]
        if type(layer) is layers.Conv2D and len(readers) == 1 and type(readers[0]) is layers.BatchNormalization:
            pairs.append((layer, readers[0]))
    layer, norm = pairs[random.integers(len(pairs))]
    channel = int(random.integers(layer.filters))
    for variable, factor in ((layer.kernel, 60), (norm.moving_mean, 60), (norm.moving_variance, 3600)):
        array = variable.numpy()
        array[..., channel] *= factor
        variable.assign(array)
    config = {
        "compression": {
            "algorithm": "quantization",
            "scope_overrides": {"weights": {layer.name: {"per_channel": False}}},
        }
    }
    return model, config, images, [layer.name], images[:300]


def amplification(model, images, random):
    features = model.layers[-2].output
    offset = float(random.uniform(100, 300)) * float(np.std(keras.Model(model.inputs, features)(images[:32])))
    shifted = layers.Rescaling(1.0, offset=offset, name="shifted")(features)
    kernel, bias = model.layers[-1].get_weights()
    dense = layers.Dense(kernel.shape[1], name="scores")
    planted = keras.Model(model.inputs, dense(shifted))
    dense.set_weights([kernel, bias - offset * kernel.sum(axis=0)])
    near = ["shifted", "scores", model.layers[-2].name, model.layers[-3].name]
    return planted, {"compression": {"algorithm": "quantization"}}, images, near, images[:300]


PLANTS = {
    "dead range": dead_range,
    "narrow calibration": narrow_calibration,
    "input columns apart": input_columns_apart,
    "unbalanced concatenation": unbalanced_concatenation,
    "outlier channel": outlier_channel,
    "amplification downstream": amplification,
}
#: Those whose network without the cause is the same with the default configuration.
BY_CONFIG = (dead_range, narrow_calibration)

if __name__ == "__main__":
    main()
