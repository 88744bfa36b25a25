"""Train a U-Net, compressed by a JSON file, and measure the mean intersection over union (mIoU) of its classes.

    python -m examples.semantic_segmentation.train --export runs/u_net.keras
    python -m examples.semantic_segmentation.train --weights runs/u_net.keras --config examples/semantic_segmentation/configs/int8.json

Run from the root of a clone. ``--data`` is a folder with ``{train,val}/images/*.jpg`` and ``{train,val}/masks/*.png``; without it,
drawn shapes are found.
"""

import tempfile
from pathlib import Path

import numpy as np
import tf_keras as keras

from benchmarks.u_net import build_u_net
from examples.command_line import command_line
from examples.compressed_training import export, optimizer_for, train
from examples.semantic_segmentation.image_mask_pairs import count_classes, draw_pairs, read_pairs, training_batches


def main(arguments=None):
    """Run the sample; return ``{"mIoU": …}`` in percent."""
    parser = command_line(__doc__, model="u_net", size=(64, 64), batch_size=8, learning_rate=1e-3)
    parser.add_argument("--void", type=int, default=255, help="number in the masks that belongs to no class")
    flags = parser.parse_args(arguments)
    keras.utils.set_random_seed(flags.seed)
    with tempfile.TemporaryDirectory() as folder:
        return run(flags, flags.data or draw_pairs(folder, flags.size))


def run(flags, folder):
    images, masks = read_pairs(Path(folder) / "train", flags.size)
    test_images, test_masks = read_pairs(Path(folder) / "val", flags.size)
    test_images = test_images.astype(np.float32) / 255
    classes = count_classes(masks, flags.void)
    batches = training_batches(images, masks, flags.batch_size, flags.seed)
    model = load_or_build(flags, classes)

    def compile_model(model):
        metric = keras.metrics.MeanIoU(classes, ignore_class=flags.void, sparse_y_pred=False, name="mIoU")
        loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=flags.void)
        model.compile(optimizer_for(flags, len(batches)), loss, metrics=[metric])

    controller, model = train(model, compile_model, batches, flags)

    scores = model.evaluate(test_images, test_masks, batch_size=16, verbose=0, return_dict=True)
    result = {"mIoU": 100 * scores["mIoU"]}
    print(f"mIoU {result['mIoU']:.2f} % on {len(test_images)} test images", flush=True)
    export(controller, model, flags, test_images[:20])
    return result


def load_or_build(flags, classes):
    if flags.model.endswith(".keras"):
        return keras.models.load_model(flags.model, compile=False)
    model = build_u_net((*flags.size, 3), classes, widths=(16, 32, 64, 128))
    if flags.weights:
        model.load_weights(flags.weights)
    return model


if __name__ == "__main__":
    main()
