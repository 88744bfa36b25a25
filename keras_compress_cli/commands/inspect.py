"""``inspect``: what a Keras model or an exported file really holds."""

from __future__ import annotations

import argparse
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keras_compress_cli.arguments import add_data, add_model, add_overwrite, require_data, require_file, require_new
from keras_compress_cli.command import Command, Output, UsageError
from keras_compress_cli.entry_point import is_entry_point
from keras_compress_cli.terminal import note, quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Of a compressed Keras model: its quantizers, levels, bytes, and what stays in floating point. Of a plain one: what a
configuration (default: INT8 quantization) would compress, and why not the rest. Of an exported file: every constant,
its type and bytes, and whether the runtime computes with it in integers.

  keras-compress inspect compressed.keras
  keras-compress inspect model.keras --config int8_sparse.json
  keras-compress inspect model.onnx

With the compressed model it was made from, a file is audited: exit code 1 if a weight is not as it should be.

  keras-compress inspect model.onnx --of compressed.keras --data samples.npy
"""

#: Endings of files that are Keras models, unless --of says that they are exports.
KERAS_FILES = (".keras", ".h5", ".hdf5")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, "path", metavar="PATH", help="a Keras model, module:function, or an exported file or folder")
    parser.add_argument("--of", metavar="MODEL", help="the compressed Keras model that the file was exported from")
    parser.add_argument("--config", metavar="FILE", type=Path, help="what a plain model would be compressed by")
    parser.add_argument(
        "--integers",
        metavar="FILE.npz",
        type=Path,
        help="write the integers, scales and zero points of a compressed model, as 'layer/weight/values', '…/scale', …",
    )
    add_overwrite(parser)
    add_data(parser, required=False, use="with --of, to compare the outputs of the file with the model's")


def _run(arguments: argparse.Namespace) -> Output:
    require_data(arguments, "path", "of", "data")
    require_file(arguments.config, "file")
    require_new([arguments.integers], overwrite=arguments.overwrite)
    if arguments.of is None and arguments.data is not None:
        raise UsageError("--data are for comparing a file with a model. Pass --of MODEL too.")
    if arguments.of is not None:
        return _audit(arguments)
    return _model(arguments) if _is_model(arguments.path) else _file(Path(arguments.path), arguments.trust)


def _is_model(path: str) -> bool:
    return is_entry_point(path) or path.lower().endswith(KERAS_FILES) or (Path(path) / "keras_metadata.pb").exists()


def _audit(arguments: argparse.Namespace) -> Output:
    with quiet_import():
        from keras_compress import audit
        from keras_compress_cli.data_source import read_data
        from keras_compress_cli.model_file import inputs_of, read_model
    model = read_model(arguments.of, arguments)
    data = None if arguments.data is None else read_data(arguments.data, inputs_of(model), arguments)
    report = audit(model, arguments.path, data=data, trust=arguments.trust)
    return Output(str(report), report.to_dict(), succeeded=not report.faults)


def _file(path: Path, trust: bool) -> Output:
    with quiet_import():
        from keras_compress.export import format_of
        from keras_compress.export.file_audit import stored_weights
        from keras_compress.reports.formatting import format_table
        from keras_compress.safe_mode import trusting
    form = format_of(path)
    with trusting(trust):
        weights = stored_weights(path, form)
    rows: list[dict[str, Any]] = [
        {
            "name": weight.name,
            "shape": list(weight.values.shape),
            "stored_as": weight.stored_as,
            "bytes": weight.size,
            "on_grid": weight.on_grid,
            "input_quantized": weight.input_quantized,
            "runs_in_integers": weight.runs_in_integers,
        }
        for weight in weights
    ]
    size = form.size(path)
    header = ["constant", "shape", "stored as", "bytes", "on a grid", "reads integers", "computes in"]
    table = format_table(
        header,
        [
            [
                *(row["name"], "x".join(map(str, row["shape"])), row["stored_as"], row["bytes"]),
                "yes" if row["on_grid"] else "no",
                {True: "yes", False: "no", None: ""}[row["input_quantized"]],
                {True: "integers", False: "float", None: ""}[row["runs_in_integers"]],
            ]
            for row in rows
        ],
    )
    values = {"path": str(path), "save_format": form.name, "size": size, "constants": rows}
    return Output(f"{path} ({form.name}): {size:,} bytes\n\n{table}", values)


def _model(arguments: argparse.Namespace) -> Output:
    with quiet_import():
        import keras_compress as kc
        from keras_compress.graph.model_check import first_compressed_layer
        from keras_compress.reports import collect_statistics, measure_size
        from keras_compress_cli.model_file import inputs_of, read_model
        from keras_compress_cli.weight_coverage import weight_coverage
    model = read_model(arguments.path, arguments)
    head = "\n".join(
        [f"{model.name}: {model.count_params():,} parameters"]
        + [f"input '{spec.name}': {spec.dtype}, {_shape(spec.shape)}" for spec in inputs_of(model)]
    )
    if first_compressed_layer(model) is not None:
        statistics = collect_statistics(model, weight_coverage(model), {}, "not known without a checkpoint")
        if arguments.integers is not None:
            _save_integers(kc.quantization_parameters(model), arguments.integers)
        return Output(f"{head}\n\n{statistics}", {"compressed": True, **statistics.to_dict()})
    if arguments.integers is not None:
        raise UsageError(f"'{arguments.path}' is not compressed. Expected: a compressed model for --integers.")
    default: Any = {"compression": {"algorithm": "quantization"}}
    config = default if arguments.config is None else kc.CompressionConfig.from_json(arguments.config)
    coverage, size = kc.coverage(model, config), measure_size(model)
    asked = arguments.config or "INT8 quantization"
    text = f"{head}\n{size}\nnot compressed; what {asked} would do:\n\n{coverage}"
    return Output(text, {"compressed": False, "size": asdict(size), **coverage.to_dict()})


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("any" if size is None else str(size) for size in shape) or "a number"


def _save_integers(parameters: Any, path: Path) -> None:
    import numpy as np

    from keras_compress.files import write_file

    arrays = {
        f"{name}/{part}": np.asarray(getattr(found, part))
        for name, found in parameters.items()
        for part in ("values", "scale", "zero_point")
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_file(path, content.getvalue())
    note(f"saved {len(parameters)} weights in '{path}'")


COMMAND = Command(("inspect",), "show what a model or an exported file really holds", DESCRIPTION, _add_arguments, _run)
