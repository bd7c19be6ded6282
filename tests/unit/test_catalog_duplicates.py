"""Fingerprints and duplicates: a brute-force oracle, known edits of photos, and no chains."""

import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from packshot.catalog import duplicates
from packshot.catalog.fingerprint import colour_thumb, fingerprint_grey, hash_pixels
from packshot.images.decode import decode
from tests.catalog_photos import encoded, jpeg, photo


def prints(pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    hashes, grey, colour = [], [], []
    for pixels in pictures:
        im = Image.fromarray(pixels)
        (bits,), (thumb,) = fingerprint_grey(np.asarray(im.convert("L"))[None])
        hashes.append(int(bits, 16))
        grey.append(np.frombuffer(thumb, np.uint8))
        colour.append(np.frombuffer(colour_thumb(im), np.uint8))
    return np.array(hashes, np.uint64), np.stack(grey), np.stack(colour)


def near(pictures: list[np.ndarray]) -> list[list[int]]:
    found = [p for block in duplicates.near_pairs(*prints(pictures)) for p in block.tolist()]
    return sorted(found)


def test_pixel_hash_is_about_pixels_not_files() -> None:
    a = photo(1)
    as_png, as_webp = (decode(encoded(a, k, **o)).pixels for k, o in (("PNG", {}), ("WEBP", {"lossless": True})))
    assert hash_pixels(as_png) == hash_pixels(as_webp) == hash_pixels(a)
    b = a.copy()
    b[40, 30, 1] ^= 1
    assert hash_pixels(b) != hash_pixels(a)
    assert hash_pixels(a.reshape(60, 80, 3)) != hash_pixels(a)
    assert hash_pixels(a[:, ::-1]) != hash_pixels(a)


def test_pixel_hash_of_every_single_change_differs() -> None:
    base = np.zeros((9, 13), np.uint8)
    seen = {hash_pixels(base)}
    for place in range(base.size):
        for value in (1, 128, 255):
            changed = base.copy()
            changed.flat[place] = value
            seen.add(hash_pixels(changed))
    assert len(seen) == 1 + 3 * base.size


def area_means(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means over equal parts, by repeating every pixel until the parts divide evenly."""
    height, width = pixels.shape
    wide = np.repeat(np.repeat(pixels.astype(float), rows, axis=0), columns, axis=1)
    return wide.reshape(rows, height, columns, width).mean(axis=(1, 3))


@pytest.mark.parametrize("shape", [(28, 28), (32, 32), (50, 41), (7, 5), (1, 1), (3, 200)])
def test_dhash_and_thumb_are_made_of_exact_means(shape: tuple[int, int]) -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (20, *shape), dtype=np.uint8)
    hashes, thumbs = fingerprint_grey(pictures)
    for pixels, bits, thumb in zip(pictures, hashes, thumbs, strict=True):
        steps = area_means(pixels, 8, 9)
        ours = np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8)).astype(bool).reshape(8, 8)
        clear = np.abs(np.diff(steps, axis=1)) > 0.1
        assert (ours == (np.diff(steps, axis=1) > 0))[clear].all()
        assert not ours[np.diff(steps, axis=1) == 0].any()
        assert np.abs(np.frombuffer(thumb, np.uint8) - area_means(pixels, 16, 16).ravel()).max() <= 0.51


def quality(q: int) -> Callable[[Image.Image], Image.Image]:
    def change(im: Image.Image) -> Image.Image:
        out = io.BytesIO()
        im.save(out, "JPEG", quality=q)
        return Image.open(out).convert("RGB")

    return change


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "quality 50": quality(50),
    "quality 20": quality(20),
    "half size": lambda im: im.resize((im.width // 2, im.height // 2)),
    "0.8 of the size, quality 75": lambda im: quality(75)(im.resize((int(im.width * 0.8), int(im.height * 0.8)))),
    "brighter": lambda im: ImageEnhance.Brightness(im).enhance(1.03),
    "less contrast": lambda im: ImageEnhance.Contrast(im).enhance(0.93),
    "1 % cropped": lambda im: im.crop((2, 2, im.width - 2, im.height - 2)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_copies_of_real_photos_are_found(edit: str, shared_data: Path) -> None:
    paths = sorted((shared_data / "clothing/original").glob("*.jpg"))[::35]
    originals = [np.asarray(Image.open(p).convert("RGB")) for p in paths]
    edited = [np.asarray(EDITS[edit](Image.fromarray(p))) for p in originals]
    pairs = near(originals + edited)
    n = len(originals)
    right = [p for p in pairs if p[1] == p[0] + n]
    assert len(right) >= 0.9 * n
    assert pairs == right, "different photos were taken for one"


def test_another_print_another_colour_or_a_mirror_image_is_no_duplicate() -> None:
    shirt = np.full((160, 160, 3), 250, np.uint8)
    shirt[30:150, 40:120] = (180, 60, 60)
    printed, coloured = shirt.copy(), shirt.copy()
    printed[60:80, 70:90] = (20, 20, 20)
    coloured[30:150, 40:120] = (60, 94, 215)  # As bright as before, so that only the colour tells them apart.
    assert near([shirt, printed]) == []
    assert near([shirt, coloured]) == []
    assert near([photo(3), photo(3)[:, ::-1].copy()]) == []
    assert near([shirt, decode(jpeg(shirt, 60)).pixels]) == [[0, 1]]


def brute_force(dhash: np.ndarray, grey: np.ndarray, colour: np.ndarray) -> list[list[int]]:
    """All pairs, one by one, from the definition in the module's docstring."""
    found = []
    flat = grey.astype(float)
    for a, b in combinations(range(len(dhash)), 2):
        if bin(int(dhash[a]) ^ int(dhash[b])).count("1") > 4:
            continue
        left, right = flat[a], flat[b]
        if abs(left.mean() - right.mean()) > 8:
            continue
        s, t = left.std(), right.std()
        if max(s + 1, t + 1) > 1.12 * min(s + 1, t + 1):
            continue
        common = (max(s, 1e-3) * max(t, 1e-3)) ** 0.5
        difference = np.abs(
            (left - left.mean()) * common / max(s, 1e-3) - (right - right.mean()) * common / max(t, 1e-3)
        )
        if difference.mean() > min(3, 0.5 + common / 10) or difference.max() > 24:
            continue
        if np.abs(colour[a].astype(int) - colour[b]).max() <= 20:
            found.append([a, b])
    return found


def test_pairs_against_brute_force() -> None:
    rng = np.random.default_rng(7)
    n = 400
    centre = rng.integers(0, 20, n)
    grey = rng.integers(40, 216, (20, 256))[centre] + rng.integers(-3, 4, (n, 256))
    grey[:60] = 128 + rng.integers(-2, 3, (60, 256))  # Flat ones, for which the check is stricter.
    grey[60:90, :8] += 25  # One part differs.
    grey = (grey + rng.integers(0, 10, (n, 1))).clip(0, 255).astype(np.uint8)
    dhash = rng.integers(0, 2**63, 20).astype(np.uint64)[centre]
    for _ in range(3):
        dhash ^= np.uint64(1) << rng.integers(0, 64, n).astype(np.uint64)
    colour = np.repeat(grey[:, ::4], 3, axis=1) + rng.integers(0, 2, (n, 1)).astype(np.uint8) * 16
    expected = brute_force(dhash, grey, colour)
    found = [p for block in duplicates.near_pairs(dhash, grey, colour) for p in block.tolist()]
    assert len(expected) > 300
    assert sorted(found) == expected
    assert len({tuple(p) for p in found}) == len(found), "a pair came twice"


def test_pairs_against_brute_force_on_fashion_mnist() -> None:
    from packshot.catalog.options import IngestOptions
    from packshot.catalog.readers.idx import open_idx

    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Fashion-MNIST is not installed (Debian's package dataset-fashion-mnist)")
    records = iter(open_idx(folder, IngestOptions()).records)
    trousers = [r.pixels for _, r in zip(range(9000), records, strict=False) if r.category == "Trouser"][:600]
    hashes, thumbs = fingerprint_grey(np.stack(trousers))
    dhash = np.array([int(h, 16) for h in hashes], np.uint64)
    grey = np.stack([np.frombuffer(t, np.uint8) for t in thumbs])
    colour = np.repeat(grey[:, ::4], 3, axis=1)
    found = [p for block in duplicates.near_pairs(dhash, grey, colour) for p in block.tolist()]
    assert sorted(found) == brute_force(dhash, grey, colour)


@pytest.mark.parametrize("distance", range(6))
def test_every_way_to_differ_in_four_bits_is_a_candidate(distance: int) -> None:
    rng = np.random.default_rng(distance)
    grey = np.tile(rng.integers(0, 256, 256, dtype=np.uint8), (2, 1))
    colour = np.zeros((2, 192), np.uint8)
    for _ in range(60):
        base = int(rng.integers(0, 2**63))
        other = base
        for bit in rng.choice(64, distance, replace=False):
            other ^= 1 << int(bit)
        found = list(duplicates.near_pairs(np.array([base, other], np.uint64), grey, colour))
        assert bool(found) == (distance <= 4)


def test_groups_are_connected_pairs_named_by_their_lowest() -> None:
    pairs = [np.array([[7, 3], [9, 8]]), np.array([[3, 5], [1, 9]])]
    assert duplicates.group(10, iter(pairs)).tolist() == [0, 1, 2, 3, 4, 3, 6, 3, 1, 1]


def test_exact_groups_are_named_by_their_first() -> None:
    hashes = np.array([[1, 2], [3, 4], [1, 2], [1, 3], [3, 4]], np.uint64)
    assert duplicates.exact_groups(hashes).tolist() == [0, 1, 0, 3, 1]


def test_a_catalogue_of_one_picture_over_and_over_takes_no_quadratic_time() -> None:
    n = 30_000
    grey = np.full((n, 256), 200, np.uint8)
    found = duplicates.near_pairs(np.zeros(n, np.uint64), grey[:, :], np.zeros((n, 192), np.uint8))
    first = next(iter(found))
    assert len(first) > 0, "and it starts to answer at once"
