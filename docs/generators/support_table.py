"""Writes docs/support.md: every model of the test matrix is built, and its coverage read.

    python docs/generators/support_table.py

Nothing is trained or measured here; what the files and runtimes do is in docs/export.md and docs/measurements.md.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import tf_keras as keras

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))  # for tests/, where the models are

import keras_compress as kc  # noqa: E402
from keras_compress.algorithms import registered_algorithms  # noqa: E402
from keras_compress.graph import InsertLayer, ModelGraph, take  # noqa: E402
from keras_compress.planning import plan, prepare  # noqa: E402
from tests.any_model.awkward_models import AWKWARD_MODELS  # noqa: E402
from tests.any_model.domain_models import DOMAIN_MODELS  # noqa: E402
from tests.any_model.one_layer_models import ONE_LAYER_MODELS  # noqa: E402

PAGE = REPOSITORY / "docs" / "support.md"
ALGORITHMS = sorted(registered_algorithms())
#: What each algorithm is asked for: as much as it can do.
SETTINGS = {"binarization": {"layer_types": ["Conv1D", "Conv2D", "DepthwiseConv2D", "Dense"]}}
#: Members of tf_keras.applications that are built within seconds; `make zoo` tries all of them.
APPLICATIONS = ("ResNet50", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0")

HEAD = """\
<!-- Written by docs/generators/support_table.py from the models of tests/any_model. Do not edit; run `make docs-pages`. -->
# What is supported

This page is written by building every small model of the test matrix and reading `kc.coverage`. The tests train, save, load and
export each of them. A layer that is not listed is kept as it is, computes in floating point and is named in the coverage;
[`kc.register_layer_spec`](custom_layers.md) compresses it.
"""
CLASSES = """\
## Weights by layer class

What each algorithm takes of the weights of each class in these models, with all layers allowed: all of them (`yes`), `some` (the
coverage says why not the others), or `no`. Quantization splits a separable convolution into its two parts, which are then quantized.
Biases, batch normalization and other weights of fewer than two dimensions stay in floating point everywhere.
"""
ONE_LAYER = """\
## Quantization of one-layer models

*Tensors quantized* are the places where activations get a quantizer, by the class of the layer that reads them. A remark says what
stays in floating point, and why; where there is none, every layer with such weights reads integers and can compute with them.
"""
LARGER = """\
## Awkward models

Nested and shared layers, several inputs and outputs, operators, odd shapes, own classes
([the models](../tests/any_model/awkward_models.py)).
"""
DOMAINS = """\
## Networks by domain

Small relatives of what people bring ([the models](../tests/any_model/domain_models.py)).
"""
ZOO = """\
## Applications

Some members of `tf_keras.applications` that are built within seconds. 70 of 71 were put through everything:
[measurements](measurements.md#every-application).
"""


def page() -> str:
    """Return the text of the page."""
    rows: dict[str, list[str]] = {}
    classes: dict[tuple[str, str], dict[str, list[bool]]] = {}
    for name, make in {**ONE_LAYER_MODELS, **AWKWARD_MODELS, **DOMAIN_MODELS}.items():
        keras.backend.clear_session()
        model = make()
        rows[name] = _quantized(model)
        _count_classes(model, classes)
    columns = ["model", "weights compressed", "tensors quantized", "remark"]
    return "\n".join(
        [
            HEAD,
            CLASSES,
            _table(["class", "weight", *ALGORITHMS], _class_rows(classes)),
            ONE_LAYER,
            _table(columns, ([name, *rows[name]] for name in ONE_LAYER_MODELS)),
            LARGER,
            _table(columns, ([f"`{name}`", *rows[name]] for name in AWKWARD_MODELS)),
            DOMAINS,
            _table(columns, ([f"`{name}`", *rows[name]] for name in DOMAIN_MODELS)),
            ZOO,
            _table(["model", "weights", "of their parameters compressed"], map(_application, APPLICATIONS)),
        ]
    )


def _quantized(model: keras.Model) -> list[str]:
    """Return what quantization does to one model: weights, tensors, remarks."""
    config = kc.CompressionConfig.from_dict({"compression": {"algorithm": "quantization"}})
    coverage = kc.coverage(model, config)
    snapshot = prepare(take(model), config)
    graph = ModelGraph(snapshot)
    inserts = [edit for edit in plan(snapshot, config)[0][0] if isinstance(edit, InsertLayer)]
    readers = Counter(
        "/".join(sorted({graph.nodes[consumer].class_name for consumer in edit.consumers})) for edit in inserts
    )
    done = Counter(f"{row.class_name} `{row.weight}`" for row in coverage if row.compressed_by)
    remarks = dict.fromkeys(f"{row.class_name}: {row.reason}" for row in coverage if row.reason)
    return [_counted(done), _counted(readers), "; ".join(remarks)]


def _count_classes(model: keras.Model, classes: dict[tuple[str, str], dict[str, list[bool]]]) -> None:
    """Note for each weight of each layer class whether each algorithm takes it."""
    own = {layer.__class__.__name__ for layer in model._flatten_layers()}
    for name in ALGORITHMS:
        for row in kc.coverage(model, {"compression": {"algorithm": name, **SETTINGS.get(name, {})}}):
            if row.class_name in own:  # not what a layer was split into
                by_algorithm = classes.setdefault((row.class_name, row.weight), {})
                by_algorithm.setdefault(name, []).append(bool(row.compressed_by))


def _class_rows(classes: dict[tuple[str, str], dict[str, list[bool]]]) -> Iterable[list[str]]:
    for (class_name, weight), by_algorithm in sorted(classes.items()):
        yield [class_name, f"`{weight}`", *(_share(by_algorithm.get(name)) for name in ALGORITHMS)]


def _share(taken: list[bool] | None) -> str:
    if taken is None:
        return "split"
    return "yes" if all(taken) else "some" if any(taken) else "no"


def _application(name: str) -> list[str]:
    keras.backend.clear_session()
    model = getattr(keras.applications, name)(weights=None)
    coverage = kc.coverage(model, {"compression": {"algorithm": "quantization"}})
    return [name, str(len(coverage)), f"{coverage.compressed_share:.0%}"]


def _counted(names: Counter) -> str:
    return ", ".join(f"{count} \N{MULTIPLICATION SIGN} {name}" if count > 1 else name for name, count in names.items())


def _table(columns: list[str], rows: Iterable[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
