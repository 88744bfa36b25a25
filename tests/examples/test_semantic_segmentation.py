"""The parts of the segmentation sample: pairs of images and masks stay pairs, and void belongs to no class."""

import numpy as np
import pytest
from PIL import Image

from examples.drawn_shapes import KINDS, draw_scene
from examples.semantic_segmentation.image_mask_pairs import count_classes, draw_pairs, read_pairs, training_batches


def test_a_mask_is_enlarged_cropped_and_flipped_with_its_image():
    masks = np.random.default_rng(0).integers(0, 5, (6, 24, 32)).astype(np.uint8)
    images = np.repeat(50 * masks[..., np.newaxis], 3, axis=-1)
    batches = training_batches(images, masks, batch_size=6, seed=0)
    batch_images, batch_masks = (part.numpy() for part in next(iter(batches)))
    for image, mask in zip(batch_images, batch_masks, strict=True):
        brightness = image[..., 0][mask == 4].max() * 255 / 200
        assert 0.8 <= brightness <= 1.2
        np.testing.assert_allclose(image[..., 0], mask * 50 / 255 * brightness, atol=1e-5)
    assert not any(np.array_equal(mask, other) for mask in batch_masks for other in masks)


def test_void_is_no_class():
    masks = np.array([[[0, 3, 11], [255, 1, 2]]], np.uint8)
    assert count_classes(masks, void=255) == 12
    assert count_classes(np.where(masks == 255, 11, masks), void=11) == 4


def test_drawn_pairs_have_the_classes_and_sizes_they_should(tmp_path):
    images, masks = read_pairs(draw_pairs(tmp_path, (32, 48), 12, 3) / "train", (32, 48))
    assert images.shape == (12, 32, 48, 3)
    assert set(np.unique(masks)) == set(range(1 + len(KINDS)))
    assert len(read_pairs(tmp_path / "val", (16, 16))[0]) == 3


def test_a_mask_with_a_palette_is_read_as_numbers(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "a.jpg")
    mask = Image.new("P", (4, 4), 2)
    mask.putpalette([200, 10, 90] * 256)
    mask.save(tmp_path / "masks" / "a.png")
    assert np.unique(read_pairs(tmp_path, (4, 4))[1]).tolist() == [2]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no images"):
        read_pairs(tmp_path, (4, 4))


def test_shapes_lie_in_their_boxes():
    random = np.random.default_rng(3)
    for _ in range(20):
        scene = draw_scene(random, 60, 80)
        mask = np.array(scene.mask)
        assert scene.labels
        for (top, left, bottom, right), label in zip(scene.boxes, scene.labels, strict=True):
            part = mask[top : bottom + 1, left : right + 1]
            assert part.any(axis=0).all()
            assert part.any(axis=1).mean() > 0.9
            assert set(np.unique(part)) <= {0, label}
            mask[top : bottom + 1, left : right + 1] = 0
        assert not mask.any()
