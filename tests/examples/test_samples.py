"""Each sample from start to end on little data: interrupted after the first epoch, resumed, measured, exported, run in OpenVINO."""

import contextlib
import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import tf_keras as keras

import examples.classification.train
import examples.object_detection.train
import examples.semantic_segmentation.train
import keras_compress as kc
from benchmarks.resnet8 import build_resnet8
from benchmarks.u_net import build_u_net
from examples.classification.images_by_class import evaluation_batches, read_images, write_digits
from examples.object_detection import annotations
from examples.object_detection.anchors import place_anchors
from examples.object_detection.batches import images
from examples.object_detection.detector import build_detector, detect
from examples.object_detection.drawn_objects import draw_voc
from examples.object_detection.mean_average_precision import mean_average_precision
from examples.semantic_segmentation.image_mask_pairs import draw_pairs, read_pairs
from tests.levels import levels

SIZE = (32, 64)


@dataclass(frozen=True)
class Sample:
    """A sample: its ``main``, data for it, the float model it trains, how good outputs for images are on its test set.

    ``measure(run, folder)`` calls ``run`` with batches of one image in [0, 1]; it returns the outputs with ``outputs`` as names.
    """

    main: Callable
    write_data: Callable
    build_model: Callable
    measure: Callable
    outputs: tuple[str, ...]


def top_1(run, folder):
    _, _, test = read_images(folder, SIZE, seed=0)
    pairs = list(evaluation_batches(test, lambda pixels: pixels / 255.0, 1).as_numpy_iterator())
    return 100 * np.mean([run(image)[0].argmax() == label[0] for image, label in pairs])


def average_precision(run, folder):
    classes, _, test = annotations.load(folder)
    outputs = [run(image[np.newaxis]) for image in images(test, SIZE).as_numpy_iterator()]
    outputs = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    return mean_average_precision(test, detect(outputs, place_anchors(*SIZE)), classes)["mAP@0.5"]


def mean_iou(run, folder):
    pictures, masks = read_pairs(folder / "val", SIZE)
    metric = keras.metrics.MeanIoU(4, sparse_y_pred=False)
    for picture, mask in zip(pictures, masks, strict=True):
        metric.update_state(mask[np.newaxis], run(picture[np.newaxis].astype(np.float32) / 255)[0])
    return 100 * metric.result().numpy()


SAMPLES = {
    "classification": Sample(
        examples.classification.train.main,
        lambda folder: write_digits(folder, 96, 60),
        lambda: build_resnet8((*SIZE, 3), 10),
        top_1,
        ("classifier",),
    ),
    "object_detection": Sample(
        examples.object_detection.train.main,
        lambda folder: draw_voc(folder, SIZE, 16, 8),
        lambda: build_detector((*SIZE, 3), 3, widths=(8, 8, 16, 16, 16)),
        average_precision,
        ("offsets", "classes"),
    ),
    "semantic_segmentation": Sample(
        examples.semantic_segmentation.train.main,
        lambda folder: draw_pairs(folder, SIZE, 16, 6),
        lambda: build_u_net((*SIZE, 3), 4, widths=(8, 16)),
        mean_iou,
        ("classes",),
    ),
}


@dataclass(frozen=True)
class Finished:
    """What a resumed run left behind."""

    sample: Sample
    folder: Path
    result: dict
    printed: str


@pytest.fixture(scope="module", params=levels(SAMPLES, first=[]))
def finished(request, tmp_path_factory):
    """A sample in INT8 that was interrupted after its first epoch and then run again with the same command."""
    sample, folder = SAMPLES[request.param], tmp_path_factory.mktemp(request.param)
    config = Path(examples.__file__).parent / request.param / "configs" / "int8.json"
    command = ["--data", sample.write_data(folder / "data"), "--size", *SIZE, "--config", config, "--batch-size", 8]
    command += ["--epochs", 2, "--checkpoints", folder / "checkpoints", "--log-dir", folder / "logs"]
    sample.build_model().save(folder / "own.keras")
    command += ["--model", folder / "own.keras", "--export", folder / "model.xml"]
    command = [str(part) for part in command]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kc.CheckpointManagerCallback, "on_epoch_begin", _interrupt_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            sample.main(command)
    assert not (folder / "model.xml").exists()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = sample.main(command)
    return Finished(sample, folder, result, printed.getvalue())


def _interrupt_the_second_epoch(callback, epoch, logs=None):
    if epoch == 1:
        raise KeyboardInterrupt


def test_it_goes_on_where_it_was_interrupted(finished):
    assert "1 epochs are done" in finished.printed
    with open(finished.folder / "logs" / "epochs.csv", newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1"]
    assert sorted(file.name for file in (finished.folder / "checkpoints").glob("*.index")) == [
        "ckpt-1.index",
        "ckpt-2.index",
    ]


def test_it_writes_tensorboard_files(finished):
    assert list((finished.folder / "logs" / "compression").glob("events.*"))


def test_it_prints_what_it_measured_and_the_audit(finished):
    name, value = next(iter(finished.result.items()))
    assert f"{name} {value:.2f} %" in finished.printed
    assert "stored as" in finished.printed
    assert "int8" in finished.printed


def test_the_exported_file_runs_and_is_as_good_as_the_model(finished):
    compiled = ov.Core().compile_model(finished.folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    float_model = keras.models.load_model(finished.folder / "own.keras", compile=False)
    _, model = kc.restore(float_model, finished.folder / "checkpoints")
    signal, noise = np.zeros(len(finished.sample.outputs)), np.zeros(len(finished.sample.outputs))

    def run(image):
        results = compiled(image)
        outputs = [results[f"{name}:0"] for name in finished.sample.outputs]
        expected = model(image)
        expected = expected if isinstance(expected, list) else [expected]
        for index, (one, other) in enumerate(zip(expected, outputs, strict=True)):
            signal[index] += np.sum(np.square(one))
            noise[index] += np.sum(np.square(one - other))
        return outputs

    measured = finished.sample.measure(run, finished.folder / "data")
    assert measured == pytest.approx(next(iter(finished.result.values())), abs=2.0)
    assert signal.min() > 0
    assert (10 * np.log10(signal / np.maximum(noise, 1e-12))).min() > 25  # dB
