"""The parts of the detection sample, against formulas of their own: anchors, losses, annotations, mean average precision."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from examples.object_detection import annotations
from examples.object_detection.anchors import IGNORED, assign, decode, encode, intersection_over_union, place_anchors
from examples.object_detection.batches import training_batches
from examples.object_detection.detector import Detections, build_detector, detect
from examples.object_detection.drawn_objects import draw_voc
from examples.object_detection.losses import classes_loss, offsets_loss
from examples.object_detection.mean_average_precision import mean_average_precision

SIZE = (64, 96)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Classes, training and test pictures of drawn shapes, and their folder."""
    folder = draw_voc(tmp_path_factory.mktemp("drawn"), SIZE, 6, 12)
    return *annotations.load(folder), folder


def perfect(pictures):
    return [Detections(picture.boxes, picture.labels, np.ones(len(picture.labels))) for picture in pictures]


class TestMeanAveragePrecision:
    def test_perfect_detections_have_100_percent(self, drawn):
        classes, _, test, _ = drawn
        result = mean_average_precision(test, perfect(test), classes)
        assert result == pytest.approx({"mAP@0.5": 100.0, "mAP": 100.0})

    def test_perfect_outputs_of_the_network_have_100_percent_after_decoding_and_suppression(self, drawn):
        classes, _, test, _ = drawn
        anchors = place_anchors(*SIZE)
        targets = [assign(tf.constant(p.boxes, tf.float32), p.labels, anchors) for p in test]
        offsets = np.stack([target["offsets"][:, :4] for target in targets])
        labels = np.stack([np.maximum(target["classes"], 0) for target in targets])
        logits = 20.0 * np.eye(1 + len(classes), dtype=np.float32)[labels]
        result = mean_average_precision(test, detect((offsets, logits), anchors), classes)
        assert result == pytest.approx({"mAP@0.5": 100.0, "mAP": 100.0})

    def test_detections_of_wrong_classes_have_0_percent(self, drawn):
        classes, _, test, _ = drawn
        wrong = [replace(one, labels=one.labels % len(classes) + 1) for one in perfect(test)]
        labels = {(number, label) for number, one in enumerate(test) for label in one.labels}
        kept = [
            replace(one, boxes=one.boxes[keep], labels=one.labels[keep], scores=one.scores[keep])
            for number, one in enumerate(wrong)
            for keep in [np.array([(number, label) not in labels for label in one.labels], bool)]
        ]
        assert sum(len(one.labels) for one in kept) > 0
        assert mean_average_precision(test, kept, classes)["mAP@0.5"] == 0.0

    def test_one_object_of_two_found_is_an_average_precision_of_a_half(self):
        boxes = np.array([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]])
        picture = annotations.Picture("", 100, 100, boxes, np.array([1, 1]), np.array([False, False]))
        found = Detections(boxes[:1], np.array([1]), np.array([0.9]))
        # precision is 1 up to a recall of 0.5: 51 of the 101 recalls at which it is read
        assert mean_average_precision([picture], [found], ["one"])["mAP@0.5"] == pytest.approx(100 * 51 / 101)

    def test_a_difficult_object_need_not_be_found(self):
        boxes = np.array([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]])
        picture = annotations.Picture("", 100, 100, boxes, np.array([1, 1]), np.array([False, True]))
        found = Detections(boxes[:1], np.array([1]), np.array([0.9]))
        assert mean_average_precision([picture], [found], ["one"])["mAP@0.5"] == pytest.approx(100.0)

    def test_nothing_found_has_0_percent(self, drawn):
        classes, _, test, _ = drawn
        nothing = Detections(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
        assert mean_average_precision(test, [nothing] * len(test), classes) == {"mAP@0.5": 0.0, "mAP": 0.0}


class TestAnchors:
    def test_there_is_one_for_every_row_of_the_heads(self):
        model = build_detector((*SIZE, 3), 3)
        offsets, classes = model(np.zeros((1, *SIZE, 3), np.float32))
        assert offsets.shape == (1, *place_anchors(*SIZE).shape)
        assert classes.shape == (1, len(place_anchors(*SIZE)), 4)

    def test_they_are_at_the_cells_of_the_heads_from_left_to_right(self):
        anchors = place_anchors(*SIZE)
        centres = (anchors[:, :2] + anchors[:, 2:]) / 2
        np.testing.assert_allclose(centres[0], [4 / 64, 4 / 96], atol=1e-6)
        np.testing.assert_allclose(centres[4], [4 / 64, 12 / 96], atol=1e-6)
        np.testing.assert_allclose(centres[-1], [48 / 64, 80 / 96], atol=1e-6)

    def test_decoding_undoes_encoding(self):
        anchors = place_anchors(*SIZE)
        corner = np.random.default_rng(0).uniform(0, 0.5, (len(anchors), 2))
        boxes = np.concatenate([corner, corner + 0.3], axis=-1).astype(np.float32)
        np.testing.assert_allclose(decode(encode(boxes, anchors), anchors), boxes, atol=1e-5)

    def test_overlaps_are_those_of_counted_pixels(self):
        boxes = np.array([[2, 3, 10, 20], [0, 0, 5, 5], [30, 30, 40, 40]])
        masks = np.zeros((3, 50, 50), bool)
        for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
            mask[top:bottom, left:right] = True
        counted = [[(a & b).sum() / (a | b).sum() for b in masks] for a in masks]
        boxes = tf.constant(boxes / 50, tf.float32)
        np.testing.assert_allclose(intersection_over_union(boxes, boxes), counted, atol=1e-6)

    def test_every_object_has_an_anchor(self, drawn):
        for picture in drawn[2]:
            target = assign(tf.constant(picture.boxes, tf.float32), picture.labels, place_anchors(*SIZE))
            assert set(picture.labels) == set(target["classes"].numpy()) - {0, IGNORED}
            np.testing.assert_array_equal(target["offsets"][:, 4] > 0, target["classes"] > 0)

    def test_an_image_without_objects_is_all_background(self):
        target = assign(tf.zeros([0, 4]), tf.zeros([0], tf.int32), place_anchors(*SIZE))
        assert not target["classes"].numpy().any()
        assert not target["offsets"].numpy().any()


class TestLosses:
    def test_offsets_count_on_objects_only(self):
        target = np.zeros((1, 3, 5), np.float32)
        target[0, 1] = [0.5, 0.0, 0.0, 3.0, 1.0]
        offsets = np.zeros((1, 3, 4), np.float32)
        offsets[0, 0] = 9.0
        assert float(offsets_loss(target, offsets)[0]) == pytest.approx(0.5 * 0.5**2 + (3.0 - 0.5))

    def test_classes_count_on_objects_and_on_three_times_as_many_of_the_hardest_others(self):
        random = np.random.default_rng(0)
        target = np.array([[2, 0, 0, IGNORED, 0, 0, 0]])
        logits = random.normal(0, 2, (1, 7, 3)).astype(np.float32)
        logits[0, 3] = [-50, 50, 0]  # would be the hardest, and is ignored
        each = np.log(np.exp(logits[0]).sum(-1)) - logits[0, np.arange(7), np.maximum(target[0], 0)]
        hardest = np.sort(each[target[0] == 0])[-3:]
        assert float(classes_loss(target, logits)[0]) == pytest.approx(each[0] + hardest.sum(), rel=1e-5)


class TestAnnotations:
    def test_voc_and_coco_give_the_same(self, drawn, tmp_path):
        classes, training, test, _ = drawn
        (tmp_path / "annotations").mkdir()
        for name, pictures in (("train", training), ("val", test)):
            (tmp_path / "annotations" / f"instances_{name}2017.json").write_text(json.dumps(coco(pictures, classes)))
        loaded = annotations.load(tmp_path)
        assert loaded[0] == classes
        for mine, other in zip([*training, *test], [*loaded[1], *loaded[2]], strict=True):
            np.testing.assert_allclose(mine.boxes, other.boxes, atol=1e-6)
            np.testing.assert_array_equal(mine.labels, other.labels)
            np.testing.assert_array_equal(mine.difficult, other.difficult)
            assert (mine.height, mine.width) == (other.height, other.width)
            assert mine.path.name == other.path.name
        assert loaded[1][0].path == tmp_path / "train2017" / "train0000.jpg"

    def test_a_folder_of_neither_kind_is_refused(self, tmp_path):
        with pytest.raises(SystemExit, match="Pascal VOC"):
            annotations.load(tmp_path)

    def test_boxes_are_around_what_is_drawn(self, drawn):
        picture = drawn[2][0]
        pixels = np.asarray(Image.open(picture.path), float)
        for box in picture.boxes:
            top, left, bottom, right = np.round(box * [*SIZE, *SIZE]).astype(int)
            inside = np.median(pixels[(top + bottom) // 2 - 1 : (top + bottom) // 2 + 2, (left + right) // 2], axis=0)
            outside = np.median(pixels[max(top - 3, 0), left : right + 1], axis=0)
            assert np.abs(inside - outside).max() > 15


def coco(pictures, classes):
    """Return pictures in the form of a COCO file, with numbers of classes that have gaps."""
    images = [
        {"id": 7 + n, "height": p.height, "width": p.width, "file_name": p.path.name} for n, p in enumerate(pictures)
    ]
    objects = [
        {
            "image_id": 7 + number,
            "category_id": 10 * int(label),
            "iscrowd": int(difficult),
            "bbox": [box[1] * p.width, box[0] * p.height, (box[3] - box[1]) * p.width, (box[2] - box[0]) * p.height],
        }
        for number, p in enumerate(pictures)
        for box, label, difficult in zip(p.boxes, p.labels, p.difficult, strict=True)
    ]
    categories = [{"id": 10 * number, "name": name} for number, name in enumerate(classes, start=1)]
    return {"images": images, "annotations": objects, "categories": categories[::-1]}


def test_batches_hold_images_and_targets_that_belong_together(drawn):
    anchors = place_anchors(*SIZE)
    batches = training_batches(drawn[1], SIZE, anchors, batch_size=3, seed=0)
    images, targets = next(iter(batches))
    assert images.shape == (3, *SIZE, 3)
    assert 0 <= float(tf.reduce_min(images)) <= float(tf.reduce_max(images)) <= 1
    assert targets["offsets"].shape == (3, len(anchors), 5)
    assert len(batches) == 2
    decoded = decode(targets["offsets"][..., :4], anchors).numpy()[targets["classes"].numpy() > 0]
    assert decoded.min() >= -1e-5
    assert decoded.max() <= 1 + 1e-5
