"""What the samples do with keras_compress: compress a Keras model by a JSON file, train it so that it can be
interrupted at any time, and export it.

Everything that belongs to a task (data, network, loss, metric) is in the folder of the sample.
"""

import sys

import tensorflow as tf
import tf_keras as keras

import keras_compress as kc


def optimizer_for(flags, steps_per_epoch):
    """Return Adam whose learning rate falls to zero over all epochs; AdamW if there is weight decay."""
    steps = max(flags.epochs * steps_per_epoch, 1)
    schedule = keras.optimizers.schedules.CosineDecay(flags.learning_rate, steps)
    if not flags.weight_decay:
        return keras.optimizers.Adam(schedule)
    optimizer = keras.optimizers.AdamW(schedule, flags.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["gates"])  # of RB sparsity, which it would close
    return optimizer


def train(model, compile_model, batches, flags):
    """Train a model, compressed if ``flags`` name a configuration.

    Args:
        model: a Keras model; it is trained itself only if nothing is compressed.
        compile_model: a function that compiles the model it gets.
        batches: a ``tf.data.Dataset`` of batches, for training and for the first ranges of the quantizers.
        flags: of the command line.

    Returns:
        ``(controller, model)``: the trained model and what compressed it, None without a configuration.
    """
    controller, done = None, 0
    if flags.config is None:
        callbacks = [keras.callbacks.BackupAndRestore(flags.checkpoints)] if flags.checkpoints else []
    else:
        controller, model = _compressed(model, batches, flags)
        done = controller.scheduler.current_epoch + 1
        callbacks = kc.create_compression_callbacks(controller, log_dir=flags.log_dir, resume=True)
        if flags.checkpoints:
            checkpoint = tf.train.Checkpoint(model=model, compression_state=kc.TFCompressionState(controller))
            callbacks.append(kc.CheckpointManagerCallback(checkpoint, flags.checkpoints, max_to_keep=3))
    compile_model(model)
    if flags.log_dir:
        flags.log_dir.mkdir(parents=True, exist_ok=True)
        callbacks.append(keras.callbacks.CSVLogger(flags.log_dir / "epochs.csv", append=True))
    if done < flags.epochs:
        model.fit(batches, epochs=flags.epochs, callbacks=callbacks, verbose=_progress())
    return controller, model


def _compressed(model, batches, flags):
    """Return the controller and the compressed model, as the newest checkpoint has them if there is one."""
    config = kc.register_default_init_args(kc.CompressionConfig.from_json(flags.config), batches)
    newest = None if flags.checkpoints is None else kc.latest_checkpoint(flags.checkpoints)
    if newest is None:
        return kc.create_compressed_model(model, config)
    controller, compressed = kc.restore(model, newest, config)
    print(f"Resumed from '{newest}': {controller.scheduler.current_epoch + 1} epochs are done.", flush=True)
    return controller, compressed


def export(controller, model, flags, samples):
    """Write the trained model to ``flags.export``, if it is given, and print what the file really holds.

    Args:
        controller, model: from :func:`train`.
        flags: of the command line.
        samples: images as the model reads them; the file runs on them, and its outputs are compared with the model's.

    Returns:
        The report of the export, None for a float model.
    """
    if flags.export is None:
        return None
    flags.export.parent.mkdir(parents=True, exist_ok=True)
    if controller is None:
        if flags.export.suffix != ".keras":
            raise SystemExit(f"A float model is exported to a .keras file. Received: --export {flags.export}.")
        model.save(flags.export)
        return None
    print(controller.statistics())
    report = controller.export_model(flags.export, data=samples)
    print(report, flush=True)
    return report


def _progress():
    """A progress bar on a terminal, a line per epoch in a file."""
    return 1 if sys.stdout.isatty() else 2
