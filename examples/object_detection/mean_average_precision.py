"""Mean average precision, counted by pycocotools, the reference of the COCO challenge."""

import contextlib
import io

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def mean_average_precision(pictures, detections, classes):
    """Return the mean average precision over all classes, in percent.

    Args:
        pictures: the annotated images, from ``annotations.load``. Difficult objects neither count as missed nor as found.
        detections: what was found in each of them, from ``detector.detect``.
        classes: names of the classes.

    Returns:
        ``{"mAP@0.5": …, "mAP": …}``: at an overlap of 0.5, as for Pascal VOC, and the mean over overlaps of 0.5 to 0.95, as for
        COCO.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of every step
        truth = COCO()
        truth.dataset = _annotations(pictures, classes)
        truth.createIndex()
        found = [
            {"image_id": number, "category_id": int(label), "bbox": _in_pixels(box, picture), "score": float(score)}
            for number, (picture, one) in enumerate(zip(pictures, detections, strict=True), start=1)
            for box, label, score in zip(one.boxes, one.labels, one.scores, strict=True)
        ]
        if not found:
            return {"mAP@0.5": 0.0, "mAP": 0.0}
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"mAP@0.5": 100 * float(evaluation.stats[1]), "mAP": 100 * float(evaluation.stats[0])}


def _annotations(pictures, classes):
    """Return annotated images as the dict that a COCO file holds."""
    objects = []
    for number, picture in enumerate(pictures, start=1):
        for box, label, difficult in zip(picture.boxes, picture.labels, picture.difficult, strict=True):
            corner = _in_pixels(box, picture)
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": int(label),
                    "bbox": corner,
                    "area": corner[2] * corner[3],
                    "iscrowd": int(difficult),
                }
            )
    images = [
        {"id": number, "height": picture.height, "width": picture.width}
        for number, picture in enumerate(pictures, start=1)
    ]
    categories = [{"id": label, "name": name} for label, name in enumerate(classes, start=1)]
    return {"info": {}, "images": images, "annotations": objects, "categories": categories}


def _in_pixels(box, picture):
    """Return left, top, width and height."""
    top, left, bottom, right = (float(number) for number in box)
    return [
        left * picture.width,
        top * picture.height,
        (right - left) * picture.width,
        (bottom - top) * picture.height,
    ]
