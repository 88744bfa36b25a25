"""Annotated images from a folder in the form of Pascal VOC (XML) or of COCO (JSON).

Images themselves are read later, by the pipeline that trains on them.
"""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Picture:
    """An image file and its objects.

    Attributes:
        path: the file.
        height, width: in pixels, as the annotation says.
        boxes: ``(objects, 4)``: ``(y_min, x_min, y_max, x_max)`` with the image's sides as 1.
        labels: ``(objects,)``, integers from 1 in the order of the classes' names.
        difficult: ``(objects,)``: whether the object is left out of training, and counts as neither missed nor found.
    """

    path: Path
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


def load(folder):
    """Return ``(classes, training pictures, test pictures)``.

    Args:
        folder: ``JPEGImages``, ``Annotations`` and ``ImageSets/Main/{train or trainval, val or test}.txt`` (Pascal VOC), or
            ``annotations/instances_{train,val}*.json`` and the images in ``{train,val}*`` (COCO).
    """
    folder = Path(folder)
    if (folder / "ImageSets").is_dir():
        return _load_voc(folder)
    if (folder / "annotations").is_dir():
        return _load_coco(folder)
    raise SystemExit(
        f"There are no annotations in '{folder}'. Expected: a folder 'ImageSets' (Pascal VOC) or 'annotations' (COCO) in it."
    )


def _load_voc(folder):
    def trees(*names):
        lists = [file for name in names if (file := folder / "ImageSets" / "Main" / f"{name}.txt").exists()]
        if not lists:
            raise SystemExit(f"There is no list of images in '{folder}/ImageSets/Main'. Expected: one of {names}.")
        stems = [line.split()[0] for line in lists[0].read_text().splitlines() if line.strip()]
        return [ElementTree.parse(folder / "Annotations" / f"{stem}.xml").getroot() for stem in stems]

    train, test = trees("trainval", "train"), trees("test", "val")
    classes = sorted({found.text for tree in train for found in tree.iterfind("object/name")})
    return classes, *([_voc_picture(folder, tree, classes) for tree in part] for part in (train, test))


def _voc_picture(folder, tree, classes):
    height, width = (int(tree.findtext(f"size/{side}")) for side in ("height", "width"))
    objects = tree.findall("object")
    corners = [
        [float(found.findtext(f"bndbox/{key}")) for key in ("ymin", "xmin", "ymax", "xmax")] for found in objects
    ]
    return Picture(
        path=folder / "JPEGImages" / tree.findtext("filename"),
        height=height,
        width=width,
        boxes=np.array(corners, np.float32).reshape(-1, 4) / [height, width, height, width],
        labels=np.array([classes.index(found.findtext("name")) + 1 for found in objects], int),
        difficult=np.array([found.findtext("difficult") == "1" for found in objects], bool),
    )


def _load_coco(folder):
    parts = []
    for name in ("train", "val"):
        files = sorted((folder / "annotations").glob(f"instances_{name}*.json"))
        if not files:
            raise SystemExit(f"There is no 'instances_{name}*.json' in '{folder}/annotations'.")
        content = json.loads(files[0].read_text())
        parts.append((content, folder / files[0].stem.removeprefix("instances_")))
    categories = sorted(parts[0][0]["categories"], key=lambda category: category["id"])
    numbers = {category["id"]: number for number, category in enumerate(categories, start=1)}
    train, test = (_coco_pictures(content, images, numbers) for content, images in parts)
    return [category["name"] for category in categories], train, test


def _coco_pictures(content, folder, numbers):
    objects = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        objects[annotation["image_id"]].append(annotation)
    pictures = []
    for image in content["images"]:
        height, width, found = image["height"], image["width"], objects[image["id"]]
        left, top, wide, tall = np.array([one["bbox"] for one in found], np.float32).reshape(-1, 4).T
        pictures.append(
            Picture(
                path=folder / image["file_name"],
                height=height,
                width=width,
                boxes=np.stack([top, left, top + tall, left + wide], axis=-1) / [height, width, height, width],
                labels=np.array([numbers[one["category_id"]] for one in found], int),
                difficult=np.array([one.get("iscrowd", 0) == 1 for one in found], bool),
            )
        )
    return pictures
