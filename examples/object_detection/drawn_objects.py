"""Drawn shapes as a detection dataset, in the form of Pascal VOC."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from examples.drawn_shapes import KINDS, draw_scene


def draw_voc(folder, size, training=240, test=60):
    """Draw images with annotations into a folder, the same at every call, and return it.

    Args:
        folder: is made if missing.
        size: height and width of the images.
        training, test: how many.
    """
    folder, random = Path(folder), np.random.default_rng(0)
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for part, count in (("train", training), ("val", test)):
        stems = [f"{part}{number:04}" for number in range(count)]
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(stems))
        for stem in stems:
            scene = draw_scene(random, *size)
            scene.image.save(folder / "JPEGImages" / f"{stem}.jpg", quality=95)
            _annotation(scene, stem).write(folder / "Annotations" / f"{stem}.xml")
    return folder


def _annotation(scene, stem):
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = f"{stem}.jpg"
    size = ElementTree.SubElement(root, "size")
    for name, length in (("width", scene.image.width), ("height", scene.image.height), ("depth", 3)):
        ElementTree.SubElement(size, name).text = str(length)
    for box, label in zip(scene.boxes, scene.labels, strict=True):
        found = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(found, "name").text = KINDS[label - 1]
        ElementTree.SubElement(found, "difficult").text = "0"
        corners = ElementTree.SubElement(found, "bndbox")
        for name, position in zip(("ymin", "xmin", "ymax", "xmax"), box, strict=True):
            ElementTree.SubElement(corners, name).text = str(position)
    return ElementTree.ElementTree(root)
