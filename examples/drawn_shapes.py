"""Drawn scenes: circles, squares and triangles of any colour on noisy backgrounds, with their boxes and masks."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("circle", "square", "triangle")


@dataclass(frozen=True)
class Scene:
    """An image, the kind of shape at every pixel (0 is background, 1 the first of ``KINDS``), and the shapes.

    ``boxes`` holds ``(y_min, x_min, y_max, x_max)`` in pixels, ``labels`` the kinds.
    """

    image: Image.Image
    mask: Image.Image
    boxes: list[tuple[int, int, int, int]]
    labels: list[int]


def draw_scene(random, height, width):
    """Return a scene with one to four shapes that do not touch each other; ``random`` is a ``numpy.random.Generator``."""
    slope = np.linspace(-30, 30, height)[:, None, None] * random.uniform(-1, 1, 3)
    background = random.uniform(60, 200, 3) + slope + random.normal(0, 12, (height, width, 3))
    image = Image.fromarray(background.clip(0, 255).astype(np.uint8))
    mask = Image.new("L", (width, height))
    boxes, labels = [], []
    for _ in range(random.integers(1, 5)):
        side = int(random.uniform(0.15, 0.45) * min(height, width))
        top, left = (int(random.integers(0, length - side)) for length in (height, width))
        box = (top, left, top + side, left + side)
        if any(_touch(box, other) for other in boxes):
            continue
        label = int(random.integers(1, len(KINDS) + 1))
        colour = tuple(int(level) for level in random.integers(0, 256, 3))
        for canvas, fill in ((image, colour), (mask, label)):
            _draw(ImageDraw.Draw(canvas), KINDS[label - 1], box, fill)
        boxes.append(box)
        labels.append(label)
    return Scene(image, mask, boxes, labels)


def _draw(canvas, kind, box, fill):
    top, left, bottom, right = box
    if kind == "circle":
        canvas.ellipse((left, top, right, bottom), fill=fill)
    elif kind == "square":
        canvas.rectangle((left, top, right, bottom), fill=fill)
    else:
        canvas.polygon([(left, bottom), (right, bottom), ((left + right) // 2, top)], fill=fill)


def _touch(box, other):
    apart = box[0] > other[2] or other[0] > box[2] or box[1] > other[3] or other[1] > box[3]
    return not apart
