"""``compress``: trains a compressed model by a configuration, resumes by itself, and exports it."""

from __future__ import annotations

import argparse
from pathlib import Path

from keras_compress_cli.arguments import add_exports, add_saved, count, number, require_file, require_new
from keras_compress_cli.command import Command, Output, UsageError
from keras_compress_cli.entry_point import is_entry_point
from keras_compress_cli.terminal import note, quiet_import

__all__ = ["COMMAND"]

DESCRIPTION = """\
Compresses a model by a configuration, trains it and exports it. The model and its data come from a Python function:

  # training.py
  def load():
      return model, training_data, validation_data   # the last may be left out

  keras-compress compress int8.json training:load model.xml --epochs 5 --checkpoints checkpoints

The model is one of tf_keras, compiled or not; data are what model.fit takes: a tf.data.Dataset, a Sequence, or a tuple of
inputs and targets. With --checkpoints every epoch is saved, and the same command goes on after the last one.
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", type=Path, help="the configuration; see 'keras-compress config'")
    parser.add_argument("source", metavar="MODULE:FUNCTION", help="returns model, training data and validation data")
    add_exports(parser)
    add_saved(parser)
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", metavar="N", type=count, required=True, help="epochs in all, resumed ones included")
    group.add_argument("--checkpoints", metavar="DIR", type=Path, help="save every epoch there, and go on from there")
    group.add_argument(
        "--keep", metavar="N", type=count, default=3, help="newest checkpoints that are kept. Default: 3"
    )
    group.add_argument("--log-dir", metavar="DIR", type=Path, help="history.csv, and scalars for TensorBoard")
    group.add_argument("--batch-size", metavar="N", type=count, help="for data that are arrays. Default: 32")
    group.add_argument("--learning-rate", metavar="NUMBER", type=number, help="Default: that of the model's optimizer")
    group.add_argument("--loss", metavar="NAME", help="compile the model with this loss, by default with Adam")
    group.add_argument(
        "--metric", metavar="NAME", dest="metrics", action="append", default=[], help="compile it with this metric too"
    )


def _run(arguments: argparse.Namespace) -> Output:
    require_file(arguments.config, "configuration")
    if not is_entry_point(arguments.source):
        raise UsageError(f"'{arguments.source}' names no function. Expected: module:function, as training:load.")
    if arguments.metrics and arguments.loss is None:
        raise UsageError("--metric needs --loss, since a model is compiled with both.")
    require_new([*arguments.outputs, arguments.save_compressed], overwrite=arguments.overwrite)
    with quiet_import():
        from keras_compress import CompressionConfig
        from keras_compress.reports.formatting import format_table
        from keras_compress_cli import training as work
        from keras_compress_cli.exports import exported, require_formats, save_compressed
    require_formats(arguments)
    config = CompressionConfig.from_json(arguments.config)
    training = work.read_training(arguments.source)
    work.prepared(training.model, arguments.loss, arguments.metrics, arguments.learning_rate)
    before = work.evaluated(training.model, training.validation_data)
    controller, model = work.compressed(training, config, arguments.checkpoints)
    if arguments.log_dir is not None and controller.scheduler.current_epoch < 0:
        require_new([arguments.log_dir / work.HISTORY], overwrite=arguments.overwrite)
    try:
        work.fit(
            training,
            controller,
            arguments.epochs,
            batch_size=arguments.batch_size,
            checkpoints=arguments.checkpoints,
            keep=arguments.keep,
            log_dir=arguments.log_dir,
        )
    except KeyboardInterrupt:
        if arguments.checkpoints is not None:
            note(f"\nthe same command goes on from '{arguments.checkpoints}'")
        raise
    after = work.evaluated(model, training.validation_data)
    if arguments.save_compressed is not None:
        save_compressed(model, arguments.save_compressed)
        note(f"saved '{arguments.save_compressed}'")
    reports = exported(model, arguments, controller.config.init_data)
    statistics = controller.statistics()
    rows = [[name, _shown(before.get(name)), _shown(value)] for name, value in after.items()]
    table = [format_table(["on validation data", "before", "compressed"], rows)] if rows else []
    return Output(
        "\n\n".join(map(str, [statistics, *reports, *table])),
        {
            "before": before,
            "compressed": after,
            "statistics": statistics.to_dict(),
            "exports": [report.to_dict() for report in reports],
        },
    )


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


COMMAND = Command(("compress",), "train a compressed model by a configuration", DESCRIPTION, _add_arguments, _run)
