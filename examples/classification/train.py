"""Train an image classifier, compressed by a JSON file, and measure how often its first answer is right (top-1).

    python -m examples.classification.train --export runs/classifier.keras
    python -m examples.classification.train --weights runs/classifier.keras --config examples/classification/configs/int8.json

Run from the root of a clone. ``--data`` is a folder with ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``; without it, the
handwritten digits of scikit-learn are classified.
"""

import tempfile

import numpy as np
import tf_keras as keras

from examples.classification.images_by_class import evaluation_batches, read_images, training_batches, write_digits
from examples.classification.models import build_or_load
from examples.command_line import command_line
from examples.compressed_training import export, optimizer_for, train


def main(arguments=None):
    """Run the sample; return ``{"top-1": …}`` in percent."""
    parser = command_line(__doc__, model="resnet8", size=(32, 32), batch_size=32, learning_rate=1e-3)
    flags = parser.parse_args(arguments)
    keras.utils.set_random_seed(flags.seed)
    with tempfile.TemporaryDirectory() as folder:
        return run(flags, flags.data or write_digits(folder))


def run(flags, folder):
    classes, training, test = read_images(folder, flags.size, flags.seed)
    model, preprocess = build_or_load(flags.model, (*flags.size, 3), len(classes), flags.weights)
    photographs = flags.data is not None  # a digit, seen in a mirror, is none
    batches = training_batches(training, flags.size, preprocess, flags.batch_size, flags.seed, flip=photographs)

    def compile_model(model):
        model.compile(optimizer_for(flags, len(batches)), "sparse_categorical_crossentropy", metrics=["accuracy"])

    controller, model = train(model, compile_model, batches, flags)

    tested = evaluation_batches(test, preprocess, 100)
    result = {"top-1": 100 * model.evaluate(tested, verbose=0, return_dict=True)["accuracy"]}
    print(f"top-1 {result['top-1']:.2f} % on {int(test.cardinality())} test images", flush=True)
    export(controller, model, flags, np.concatenate([images for images, _ in tested.take(2)]))
    return result


if __name__ == "__main__":
    main()
