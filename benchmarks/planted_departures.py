"""Are wrong files found? Thirteen departures are planted in trained networks; the audit and ``kc.compare`` look for each.

    python benchmarks/planted_departures.py --models resnet20.keras vit.keras --data images.npy [--seed 0]

Each network is pruned to 30 % zeros and quantized to INT8. A departure is planted in a layer that is drawn by seed, the file
is written, the network gets its numbers back, and the file is audited against it. A departure is found if the audit or the
comparison says that the file is wrong, and named if they name the layer, or the quantizer right in front of it or behind
it. Right files must raise no alarm.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import tf_keras as keras

import keras_compress as kc
from keras_compress.export import format_of
from keras_compress.graph import ModelGraph, TensorRef, take
from keras_compress.layers import BinaryMask, CompressedLayer, FakeQuantize
from keras_compress.reports.formatting import format_table

ENDINGS = (".onnx", ".xml", ".tflite")
CONFIG = {"compression": [{"algorithm": "magnitude_sparsity", "sparsity_init": 0.3}, {"algorithm": "quantization"}]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", type=Path, required=True, help="trained Keras models")
    parser.add_argument("--data", type=Path, required=True, help="samples of all of them, .npy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=Path("runs/planted_departures.json"))
    arguments = parser.parse_args()
    data = np.load(arguments.data)
    rows, alarms = [], []
    for path in arguments.models:
        random = np.random.default_rng(arguments.seed)
        config = kc.register_default_init_args(CONFIG, data[:256])
        _, model = kc.create_compressed_model(keras.models.load_model(path), config)
        alarms += [[path.stem, *found] for found in right_files(model, data)]
        for departure in DEPARTURES:
            layers = [layer for layer in model.layers if departure in possible(layer, model)]
            if not layers:
                continue
            layer = layers[random.integers(len(layers))]
            rows += [[path.stem, departure, layer.name, *found] for found in planted(model, layer, departure, data)]
        print(format_table(["model", "departure", "layer", "format", "found", "named", "by", "dB"], rows), flush=True)
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"departures": rows, "right files": alarms}, indent=1))
    print(format_table(["model", "format", "alarms", "what"], alarms))
    for kind, column in (("found", 4), ("named", 5)):
        print(f"{kind}: {sum(row[column] == 'yes' for row in rows)} of {len(rows)}")


def right_files(model, data):
    """Yield the format, the number of alarms and what they say for files without a departure."""
    with tempfile.TemporaryDirectory() as folder:
        for ending in ENDINGS:
            path = Path(folder) / f"model{ending}"
            write(model, path, data)
            report, found = kc.audit(model, path, data=data[-64:]), kc.compare(model, path, data[-64:])
            said = [*report.faults, *([found.reason] if found.first else [])]
            yield ending, len(said), "; ".join(said)[:200]


def planted(model, layer, departure, data):
    """Yield for each format whether a departure is found, whether its layer is named, by whom, and the ratio of the results."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"model{ending}" for ending in ENDINGS]
        before = [variable.numpy() for variable in layer.variables]
        try:
            DEPARTURES[departure](layer, model, data)
            for path in paths:
                write(model, path, data)
        finally:
            for variable, value in zip(layer.variables, before, strict=True):
                variable.assign(value)
        near = neighbours(model, layer.name)
        for path in paths:
            report, found = kc.audit(model, path, data=data[-64:]), kc.compare(model, path, data[-64:])
            by_weights = [row.layer for row in report.problems]
            first = [] if found.first is None else [found.first.layer.partition("#")[0], *found.hidden]
            named = "yes" if near & {*by_weights, *first} else ", ".join([*by_weights, *first])[:60]
            by = "weights" if by_weights else "layers" if first else "results" if report.faults else ""
            yield path.suffix, "yes" if report.faults or first else "no", named, by, round(report.comparison.sqnr, 1)


def write(model, path, data):
    options = {} if path.suffix == ".xml" else {"calibration_data": data[:256]}
    format_of(path).write(model, path, **options)


def neighbours(model, name):
    """Return a layer, and the layers right in front of it and behind it if it or they are quantizers, or fused with it."""
    graph = ModelGraph(take(model))
    refs = [ref for ref in graph.nodes if ref.layer == name]
    behind = {reader.layer for ref in refs for reader in graph.successors(TensorRef(ref.layer, ref.node, 0))}
    before = {source.layer for ref in refs for source in graph.nodes[ref].inputs}
    fused = (FakeQuantize, keras.layers.BatchNormalization, keras.layers.ReLU, keras.layers.Activation)
    own = isinstance(model.get_layer(name), fused)
    return {name} | {other for other in before | behind if own or isinstance(model.get_layer(other), fused)}


def weight_op(layer, kind):
    return next((op for _, op in layer.operations if isinstance(op, kind)), None)


def possible(layer, model):
    """Return the departures that a layer can have."""
    inner = layer.layer if isinstance(layer, CompressedLayer) else layer
    found = set()
    if isinstance(layer, FakeQuantize):
        found |= {"range halved", "fixed range", "range doubled"}
    if isinstance(layer, CompressedLayer) and hasattr(inner, "kernel"):
        found |= {
            "grid four times too wide",
            "scales permuted",
            "channels rolled",
            "sign flipped",
            "input channel lost",
        }
        found |= {"mask dropped"} if weight_op(layer, BinaryMask) is not None else set()
        found |= (
            {"axes swapped"}
            if min(inner.kernel.shape[:2]) > 1 and inner.kernel.shape[0] == inner.kernel.shape[1]
            else set()
        )
    if offset(inner) is not None:
        found |= {"bias dropped", "one step off"}
    if hasattr(inner, "gamma"):
        found |= {"gain of a normalization"}
    return found


def offset(layer):
    return getattr(layer, "bias", None) if getattr(layer, "bias", None) is not None else getattr(layer, "beta", None)


def _range(factor):
    def plant(layer, model, data):
        low, high = (end.numpy() for end in layer.range())
        layer.set_range(factor * low, factor * high)

    return plant


def _kernel(change):
    def plant(layer, model, data):
        layer.layer.kernel.assign(change(layer.layer.kernel.numpy()))

    return plant


def _one_step(layer, model, data):
    inner = layer.layer if isinstance(layer, CompressedLayer) else layer
    outputs = keras.Model(model.inputs, layer.output)(data[:64], training=False).numpy()
    offset(inner).assign_add(np.full(offset(inner).shape, np.ptp(outputs) / 255, np.float32))


def _drop_bias(layer, model, data):
    variable = offset(layer.layer if isinstance(layer, CompressedLayer) else layer)
    variable.assign(np.zeros(variable.shape))


def _drop_mask(layer, model, data):
    mask = weight_op(layer, BinaryMask).mask
    mask.assign(np.ones(mask.shape, bool))


def _permute_scales(layer, model, data):
    scale = weight_op(layer, FakeQuantize).scale
    scale.assign(np.roll(scale.numpy(), 1, axis=-1))


def _widen_grid(layer, model, data):
    scale = weight_op(layer, FakeQuantize).scale
    scale.assign(scale * 4)


def _lose_input(kernel):
    kernel = kernel.copy()
    kernel[..., 0, :] = 0
    return kernel


#: What is planted, by name.
DEPARTURES = {
    "mask dropped": _drop_mask,
    "range halved": _range(0.5),
    "range doubled": _range(2.0),
    "fixed range": lambda layer, model, data: layer.set_range(
        np.zeros_like(layer.range()[0]), np.ones_like(layer.range()[1])
    ),
    "axes swapped": _kernel(lambda kernel: np.swapaxes(kernel, 0, 1)),
    "bias dropped": _drop_bias,
    "one step off": _one_step,
    "grid four times too wide": _widen_grid,
    "scales permuted": _permute_scales,
    "channels rolled": _kernel(lambda kernel: np.roll(kernel, 1, axis=-1)),
    "sign flipped": _kernel(np.negative),
    "input channel lost": _kernel(_lose_input),
    "gain of a normalization": lambda layer, model, data: layer.gamma.assign(layer.gamma * 1.5),
}

if __name__ == "__main__":
    main()
