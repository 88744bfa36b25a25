"""Train a single-shot detector, compressed by a JSON file, and measure its mean average precision.

    python -m examples.object_detection.train --export runs/detector.keras
    python -m examples.object_detection.train --weights runs/detector.keras --config examples/object_detection/configs/int8.json

Run from the root of a clone. ``--data`` is a folder in the form of Pascal VOC or of COCO; without it, drawn shapes are detected.
"""

import tempfile

import numpy as np
import tf_keras as keras

from examples.command_line import command_line
from examples.compressed_training import export, optimizer_for, train
from examples.object_detection import annotations
from examples.object_detection.anchors import place_anchors
from examples.object_detection.batches import images, training_batches
from examples.object_detection.detector import build_detector, detect
from examples.object_detection.drawn_objects import draw_voc
from examples.object_detection.losses import classes_loss, offsets_loss
from examples.object_detection.mean_average_precision import mean_average_precision


def main(arguments=None):
    """Run the sample; return ``{"mAP@0.5": …, "mAP": …}`` in percent."""
    parser = command_line(__doc__, model="detector", size=(96, 128), batch_size=8, learning_rate=3e-3)
    flags = parser.parse_args(arguments)
    keras.utils.set_random_seed(flags.seed)
    with tempfile.TemporaryDirectory() as folder:
        return run(flags, flags.data or draw_voc(folder, flags.size))


def run(flags, folder):
    classes, training, test = annotations.load(folder)
    anchors = place_anchors(*flags.size)
    batches = training_batches(training, flags.size, anchors, flags.batch_size, flags.seed)
    model = load_or_build(flags, len(classes))

    def compile_model(model):
        model.compile(optimizer_for(flags, len(batches)), {"offsets": offsets_loss, "classes": classes_loss})

    controller, model = train(model, compile_model, batches, flags)

    test_images = np.stack(list(images(test, flags.size).as_numpy_iterator()))
    detections = detect(model.predict(test_images, verbose=0), anchors)
    result = mean_average_precision(test, detections, classes)
    print(
        ", ".join(f"{name} {value:.2f} %" for name, value in result.items()), f"on {len(test)} test images", flush=True
    )
    export(controller, model, flags, test_images[:50])
    return result


def load_or_build(flags, classes):
    if flags.model.endswith(".keras"):
        return keras.models.load_model(flags.model, compile=False)
    model = build_detector((*flags.size, 3), classes)
    if flags.weights:
        model.load_weights(flags.weights)
    return model


if __name__ == "__main__":
    main()
