import numpy as np
import pytest
from PIL import Image

from catdog.data.augmentation import BRIGHTNESS, LEAST_CROP, MAX_TURN, Augmenter

SIZE = 128


def slope() -> Image.Image:
    """Return an image whose red rises by 1 per pixel to the right, green downwards, with blue at 160."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return Image.fromarray(np.stack([60.0 + x, 60.0 + y, np.full_like(x, 160.0)], 2).astype(np.uint8))


def measure(view: Image.Image) -> tuple[float, float, float, bool]:
    """Return rotation in degrees, scale, brightness and mirroring of a view of `slope()`."""
    pixels = np.asarray(view).astype(float)
    brightness = pixels[..., 2].mean() / 160
    middle = slice(SIZE // 2 - 20, SIZE // 2 + 20)
    v, u = np.mgrid[:40, :40]
    design = np.stack([u.ravel(), v.ravel(), np.ones(1600)], 1)
    red, green = (
        np.linalg.lstsq(design, pixels[middle, middle, c].ravel() / brightness, rcond=None)[0][:2] for c in (0, 1)
    )
    a, b = red
    d, e = green
    return float(np.degrees(np.arctan2(-d * np.sign(a), e))), float(np.hypot(b, e)), brightness, a < 0


@pytest.fixture(scope="module")
def measured() -> list[tuple[float, float, float, bool]]:
    augmenter = Augmenter(slope(), bytes(range(32)))
    return [measure(augmenter.view(number)) for number in range(1, 201)]


def test_the_same_key_and_number_give_the_same_view() -> None:
    one, other = Augmenter(slope(), b"k" * 32), Augmenter(slope(), b"k" * 32)
    other.view(5)  # earlier calls don't matter
    assert np.array_equal(np.asarray(one.view(3)), np.asarray(other.view(3)))


def test_other_numbers_and_other_keys_give_other_views() -> None:
    views = [np.asarray(Augmenter(slope(), key).view(n)) for key in (b"k" * 32, b"l" * 32) for n in (1, 2, 3)]
    assert len({view.tobytes() for view in views}) == 6


@pytest.mark.parametrize("size", [1, 2, 20, 96, 224])
def test_a_view_has_the_size_and_mode_of_the_image(size: int) -> None:
    view = Augmenter(Image.new("RGB", (size, size), "red"), b"k" * 32).view(1)
    assert (view.size, view.mode) == ((size, size), "RGB")


def test_rotations_stay_in_range_and_go_both_ways(measured: list[tuple[float, float, float, bool]]) -> None:
    turns = [turn for turn, *_ in measured]
    assert max(np.abs(turns)) <= MAX_TURN + 1
    assert min(turns) < -MAX_TURN / 2
    assert max(turns) > MAX_TURN / 2


def test_crops_keep_the_minimum_share_of_a_side(measured: list[tuple[float, float, float, bool]]) -> None:
    scales = [scale for _, scale, *_ in measured]
    assert LEAST_CROP - 0.03 <= min(scales) < LEAST_CROP + 0.08
    assert 0.92 < max(scales) <= 1.03


def test_brightness_stays_in_range_and_goes_both_ways(measured: list[tuple[float, float, float, bool]]) -> None:
    brightness = [value for _, _, value, _ in measured]
    assert 1 - BRIGHTNESS - 0.01 <= min(brightness) < 0.9
    assert 1.1 < max(brightness) <= 1 + BRIGHTNESS + 0.01


def test_about_half_of_the_views_are_mirrored(measured: list[tuple[float, float, float, bool]]) -> None:
    assert 60 < sum(mirrored for *_, mirrored in measured) < 140


def test_corners_show_mirrored_border_and_never_black() -> None:
    augmenter = Augmenter(Image.new("RGB", (SIZE, SIZE), "white"), bytes(32))
    darkest = min(np.asarray(augmenter.view(number)).min() for number in range(1, 60))
    assert darkest >= 255 * (1 - BRIGHTNESS) - 1


def test_bright_pixels_do_not_wrap_around() -> None:
    augmenter = Augmenter(Image.new("RGB", (16, 16), (250, 250, 250)), bytes(32))
    views = [np.asarray(augmenter.view(number)) for number in range(1, 60)]
    assert min(view.min() for view in views) >= 250 * (1 - BRIGHTNESS) - 1
    assert max(view.max() for view in views) == 255
