"""Readers of D_sg: every layout against files written by hand. Those of D_ds: test_votes.py."""

import bz2
import gzip
import json
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from astroyolo_cli.errors import InputError, OutputError
from astroyolo_cli.stretch import Stretch, lupton_rgb
from astroyolo_cli.train.augment import field_sample
from astroyolo_cli.train.fields import Fields, field_entries
from astroyolo_cli.train.formats_sets import mask_box
from astroyolo_cli.train.images import unstretched
from hostile_files import with_words

H, W = 60, 80  # not square, so that x and y cannot be confused


def noise(seed=0, shape=(H, W)):
    return np.random.default_rng(seed).normal(100, 3, shape).astype(np.float32)


def write_bands(folder, pattern="img_{band}.fits", seed=0, shape=(H, W)):
    folder.mkdir(parents=True, exist_ok=True)
    for i, band in enumerate("grz"):
        fits.writeto(folder / pattern.format(band=band), noise(seed + i, shape))


def block(x0, x1, y0, y1, shape=(H, W)):
    """A source alone: 1 from x0 to x1 and y0 to y1, both included."""
    alone = np.zeros(shape, np.float32)
    alone[y0 : y1 + 1, x0 : x1 + 1] = 1
    return alone


def hdu_list(sources, primary=True):
    """(pixels, CLASS_ID or None) to HDUs, the first in the primary."""
    hdus = [fits.ImageHDU(pixels) for pixels, _ in sources]
    for hdu, (_, class_id) in zip(hdus, sources):
        if class_id is not None:
            hdu.header["CLASS_ID"] = class_id
    first = fits.PrimaryHDU(hdus[0].data, hdus[0].header) if primary else fits.PrimaryHDU()
    return fits.HDUList([first, *(hdus[1:] if primary else hdus)])


SOURCES = [(block(10, 29, 5, 14), 1), (np.zeros((H, W), np.float32), None), (block(40, 69, 30, 49), 2)]
BOXES = [[9.5, 4.5, 29.5, 14.5], [39.5, 29.5, 69.5, 49.5]]  # of SOURCES, but for the corners that the blur takes


def read(root, tmp_path):
    told = []
    return Fields([root], tmp_path / "cache", tell=told.append), told


def pack(path):
    """The file as gzip or bzip2, by its ending, in place of the plain one."""
    plain = path.with_suffix("")
    (gzip if path.suffix == ".gz" else bz2).open(path, "wb").write(plain.read_bytes())
    plain.unlink()


# Astro R-CNN sets


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".fz"])
def test_sets_in_every_compression(tmp_path, ending):
    folder = tmp_path / "sg" / "set_4"
    write_bands(folder)
    hdus = hdu_list(SOURCES)
    if ending == ".fz":
        packed = [fits.CompImageHDU(h.data, h.header, compression_type="GZIP_2") for h in hdus]
        fits.HDUList([fits.PrimaryHDU(), *packed]).writeto(folder / "masks.fits.fz")
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(noise(), compression_type="GZIP_2")]).writeto(folder / "img_g.fits.fz")
        (folder / "img_g.fits").unlink()
    else:
        hdus.writeto(folder / "masks.fits")
        for name in ("masks.fits", "img_g.fits") if ending else ():
            pack(folder / (name + ending))
    fields, told = read(tmp_path / "sg", tmp_path)
    assert fields[0].boxes.tolist() == BOXES and fields[0].labels.tolist() == [0, 1]
    assert fields[0].signals.shape == (3, H, W)
    assert told == ["1 masks without any light are left out"]


@pytest.mark.parametrize("codec", ["HCOMPRESS_1", "PLIO_1"])
def test_masks_of_every_codec_and_damaged_ones(tmp_path, codec):
    folder = tmp_path / "sg" / "set_4"
    write_bands(folder)
    masks = [(fits.Header({"CLASS_ID": kind}), (1000 * (pixels > 0)).astype(np.int16)) for pixels, kind in SOURCES[::2]]
    hdus = [fits.CompImageHDU(pixels, header, compression_type=codec) for header, pixels in masks]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / "masks.fits.fz")
    assert read(tmp_path / "sg", tmp_path)[0][0].boxes.tolist() == BOXES
    whole = (folder / "masks.fits.fz").read_bytes()
    (folder / "masks.fits.fz").write_bytes(with_words(whole, 6 if codec == "PLIO_1" else 4, (32_767,)))
    with pytest.raises(InputError, match="masks.fits.fz: broken compressed image"):
        read(tmp_path / "sg", tmp_path / "again")


def test_gaps_in_the_numbers_are_no_matter(tmp_path):
    for number in (10, 2, 0):
        write_bands(tmp_path / "sg" / f"set_{number}", seed=number)
        hdu_list(SOURCES).writeto(tmp_path / "sg" / f"set_{number}" / "masks.fits")
    assert [entry.name for entry in field_entries(tmp_path / "sg", print)] == ["set_0", "set_2", "set_10"]
    assert len(read(tmp_path / "sg", tmp_path)[0]) == 3


def test_boxes_of_masks_do_not_depend_on_the_frame_around_them():
    """Also for sources cut by the frame's edge: the rule on the whole frame is what counts."""
    from scipy import ndimage

    rng = np.random.default_rng(1)
    yy, xx = np.mgrid[:H, :W]
    for _ in range(30):
        x, y, s = rng.uniform(0, W), rng.uniform(0, H), rng.uniform(0.3, 9)
        alone = np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 2 / s**2)
        above = (alone / alone.max() > 0.08).astype(float)
        kept = ndimage.gaussian_filter(above, 2, truncate=2, mode="constant") >= 0.5
        rows, columns = np.nonzero(kept if kept.any() else above)
        assert mask_box(alone, is_star=False).tolist() == [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5]


def test_packed_masks_take_time_in_proportion(tmp_path):
    """Four times the HDUs take about four times as long: gzip is undone once, not from the front for each HDU."""
    shape, seconds = (256, 256), []
    pixels = np.random.default_rng(0).integers(1, 2**31, shape).astype(np.int32)  # does not compress
    for n in (40, 160):
        folder = tmp_path / f"sg{n}" / "set_0"
        write_bands(folder, shape=shape)
        hdu_list([(pixels, 2)] * n).writeto(folder / "masks.fits")
        pack(folder / "masks.fits.gz")
        (entry,) = field_entries(tmp_path / f"sg{n}", print)
        began = time.process_time()
        assert len(entry.read_sources(shape).boxes) == n
        seconds.append(time.process_time() - began)
    assert seconds[1] < 8 * seconds[0]  # 4 if linear, 16 if quadratic


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda f: (f / "masks.fits").unlink(), ["set_1", "neither truth.fits nor masks.fits"]),
        (lambda f: (f / "img_r.fits").unlink(), ["set_1", "no img_r.fits"]),
        (lambda f: fits.writeto(f / "img_r.fits", noise(0, (H, H)), overwrite=True), ["img_r.fits", "60 x 60", "80 x 60"]),
        (lambda f: fits.append(f / "masks.fits", block(1, 5, 1, 5, (H, H))), ["masks.fits", "HDU 3", "60 x 60", "80 x 60"]),
        (lambda f: fits.setval(f / "masks.fits", "CLASS_ID", value=3, ext=2), ["masks.fits", "CLASS_ID 3"]),
        (lambda f: (f / "masks.fits").write_bytes((f / "masks.fits").read_bytes()[:30000]), ["masks.fits", "fetch"]),
        (lambda f: fits.writeto(f / "img_g.fits", np.ones((H, W), np.float32), overwrite=True), ["img_g.fits", "constant"]),
        (lambda f: (f / "img_z.fits").write_bytes(b"not FITS"), ["img_z.fits"]),
    ],
)
def test_a_bad_set_is_named_in_one_line(tmp_path, change, words):
    for i in (0, 1):
        write_bands(tmp_path / "sg" / f"set_{i}", seed=i)
        hdu_list(SOURCES).writeto(tmp_path / "sg" / f"set_{i}" / "masks.fits")
    change(tmp_path / "sg" / "set_1")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "sg", tmp_path)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".gz", ".bz2"])
def test_cut_short_packed_masks_are_named(tmp_path, ending):
    folder = tmp_path / "sg" / "set_0"
    write_bands(folder)
    hdu_list(SOURCES).writeto(folder / "masks.fits")
    path = folder / f"masks.fits{ending}"
    pack(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="masks.fits"):
        read(tmp_path / "sg", tmp_path)


def write_truth(folder, boxes, ignore):
    n = len(boxes)
    columns = dict(zip(("xmin", "ymin", "xmax", "ymax"), np.array(boxes, float).T))
    Table({"class": ["galaxy"] * n, "snr": [30.0] * n, "ignore": ignore} | columns).write(folder / "truth.fits", overwrite=True)


def test_boxes_of_a_truth_table_are_cut_at_the_edge(tmp_path):
    write_bands(tmp_path / "sg" / "set_0")
    write_truth(tmp_path / "sg" / "set_0", [[-7, 10, 5.5, 20.5], [70, 50, 90, 70], [200, 200, 210, 210]], [False, False, True])
    field = read(tmp_path / "sg", tmp_path)[0][0]
    assert field.boxes.tolist() == [[-0.5, 10, 5.5, 20.5], [70, 50, W - 0.5, H - 0.5]]
    np.testing.assert_allclose(np.hypot.reduce(field.snr, axis=1), 30, rtol=1e-6)


@pytest.mark.parametrize("box, word", [([100, 5, 110, 15], "outside"), ([5, 5, 5, 9], "must be above 0")])
def test_a_source_outside_of_its_image_is_named(tmp_path, box, word):
    write_bands(tmp_path / "sg" / "set_0")
    write_truth(tmp_path / "sg" / "set_0", [[1, 1, 9, 9], box], [False, False])
    with pytest.raises(InputError, match=rf"truth.fits: row 2: .*{word}"):
        read(tmp_path / "sg", tmp_path)


# The cache


def test_the_cache_is_used_and_made_again_when_it_is_old_or_cut_short(tmp_path):
    folder = tmp_path / "sg" / "set_0"
    write_bands(folder)
    write_truth(folder, [[1, 1, 9, 9]], [False])
    read(tmp_path / "sg", tmp_path)
    (pixels,) = (tmp_path / "cache").rglob("*.npy")
    (boxes,) = (tmp_path / "cache").rglob("*.npz")
    made = pixels.stat().st_mtime_ns
    assert isinstance(read(tmp_path / "sg", tmp_path)[0][0].signals, np.memmap)
    assert pixels.stat().st_mtime_ns == made
    boxes.unlink()
    pixels.write_bytes(pixels.read_bytes()[:1000])
    assert read(tmp_path / "sg", tmp_path)[0][0].signals.shape == (3, H, W)
    write_truth(folder, [[2, 2, 9, 9]], [False])
    assert read(tmp_path / "sg", tmp_path)[0][0].boxes.tolist() == [[2, 2, 9, 9]]
    assert sorted(p.suffix for p in (tmp_path / "cache").rglob("*.np*")) == [".npy", ".npz"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    write_bands(tmp_path / "sg" / "set_0")
    write_truth(tmp_path / "sg" / "set_0", [[1, 1, 9, 9]], [False])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", lambda *_, **__: full())
    with pytest.raises(OutputError, match="No space left"):
        read(tmp_path / "sg", tmp_path)
    assert not list((tmp_path / "cache").rglob("*.npz"))


# COCO


def coco(images, annotations, categories=({"id": 7, "name": "Galaxy"}, {"id": 1, "name": "star"})):
    return {"images": images, "annotations": annotations, "categories": [dict(c) for c in categories]}


def annotation(image, category, bbox, number=1, **rest):
    return {"id": number, "image_id": image, "category_id": category, "bbox": bbox} | rest


def write_coco(root, content, name="labels.json"):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content))


def test_coco_boxes_frame_the_pixels_they_are_meant_for(tmp_path):
    """A block of pixels 20..29 by 40..44: COCO says x 20, y 40, w 10, h 5; ours is 19.5, 39.5, 29.5, 44.5."""
    root = tmp_path / "sg"
    root.mkdir()
    picture = np.full((H, W, 3), 20, np.uint8)
    picture[40:45, 20:30] = 250
    Image.fromarray(picture).save(root / "a.png")
    write_bands(root / "set_3")
    write_bands(root / "images", "b_{band}.fits")
    fits.writeto(root / "c.fits", noise(9))
    images = [{"id": i, "file_name": name} for i, name in enumerate(["a.png", "set_3", "b.fits", "c.fits"])]
    images[0] |= {"width": W, "height": H}
    annotations = [
        annotation(0, 7, [20, 40, 10, 5]),
        annotation(1, 1, [0, 0, 4, 4], 2),
        annotation(1, 7, [70, 50, 30, 30], 3, iscrowd=1),
        annotation(3, 1, [3.5, 2, 6, 7], 4),
    ]
    write_coco(root, coco(images, annotations))
    (root / "settings.json").write_text('{"epochs": 3}')
    fields, told = read(root, tmp_path)
    a, b, c, d = (fields[i] for i in range(4))
    assert told == []
    assert a.boxes.tolist() == [[19.5, 39.5, 29.5, 44.5]] and a.labels.tolist() == [1]
    rows, columns = np.nonzero(a.signals[0] > np.median(a.signals[0]))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (20, 40, 29, 44)
    assert b.boxes.tolist() == [[-0.5, -0.5, 3.5, 3.5], [69.5, 49.5, W - 0.5, H - 0.5]] and b.ignore.tolist() == [False, True]
    assert c.boxes.shape == (0, 4) and not np.array_equal(c.signals[0], c.signals[1])
    assert d.boxes.tolist() == [[3, 1.5, 9, 8.5]] and np.array_equal(d.signals[0], d.signals[2])
    assert np.isinf(a.snr).all()


def test_missing_coco_images_are_told_unless_all_are(tmp_path):
    root = tmp_path / "sg"
    images = [{"id": i, "file_name": f"{i}.fits"} for i in range(5)]
    write_coco(root, coco(images, []))
    with pytest.raises(InputError, match="labels.json: none of its 5 images"):
        read(root, tmp_path)
    fits.writeto(root / "2.fits", noise())
    fields, told = read(root, tmp_path)
    assert len(fields) == 1 and told == [f"{root}: 4 of 5 images are missing and left out: 0.fits, 1.fits, 3.fits and 1 more"]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda c: c["annotations"][0].update(bbox=[200, 5, 3, 3]), ["annotation 1", "outside"]),
        (lambda c: c["annotations"][0].update(bbox=[20, 5, 0, 3]), ["annotation 1", "must be above 0"]),
        (lambda c: c["annotations"][0].update(bbox=[20, 5, 3]), ["annotation 1", "four numbers"]),
        (lambda c: c["annotations"][0].update(image_id=77), ["annotation 1", "77"]),
        (lambda c: c["annotations"][0].update(category_id=3), ["annotation 1", "3", "star or galaxy"]),
        (lambda c: c["categories"][0].update(name="quasar"), ["quasar", "star or galaxy"]),
        (lambda c: c["images"][0].update(width=H, height=W), ["c.fits", "60 x 80", "80 x 60"]),
        (lambda c: c["annotations"][0].pop("bbox"), ["labels.json", "bbox"]),
    ],
)
def test_a_bad_coco_file_is_named_in_one_line(tmp_path, change, words):
    content = coco([{"id": 0, "file_name": "c.fits"}], [annotation(0, 7, [1, 2, 3, 4])])
    change(content)
    write_coco(tmp_path / "sg", content)
    fits.writeto(tmp_path / "sg" / "c.fits", noise())
    with pytest.raises(InputError) as caught:
        read(tmp_path / "sg", tmp_path)
    assert all(word in str(caught.value) for word in [*words, "labels.json"])


def test_an_image_in_two_coco_files_and_a_cut_one_are_named(tmp_path):
    root = tmp_path / "sg"
    for name in ("a.json", "b.json"):
        write_coco(root, coco([{"id": 0, "file_name": "c.fits"}], []), name)
    fits.writeto(root / "c.fits", noise())
    with pytest.raises(InputError, match="b.json.*c.fits.*a.json"):
        read(root, tmp_path)
    (root / "b.json").write_text('{"images": [')
    with pytest.raises(InputError, match="b.json: not readable JSON"):
        read(root, tmp_path)


# YOLO


def test_yolo_boxes_frame_the_pixels_they_are_meant_for(tmp_path):
    """Pixels 20..29 by 40..44 of 80 x 60: the centre is at 25 and 42.5 from the corner."""
    root = tmp_path / "sg"
    line = f"1 {25 / W:.9f} {42.5 / H:.9f} {10 / W:.9f} {5 / H:.9f}\n"
    write_bands(root / "one", "f.1_{band}.fits")
    (root / "one" / "f.1.txt").write_text(line + "\n0 0.0 0.5 0.1 0.1\n")
    write_bands(root / "two")
    (root / "two.txt").write_text("")
    (root / "images" / "x").mkdir(parents=True)
    (root / "labels" / "x").mkdir(parents=True)
    for name in ("p", "q"):
        Image.fromarray(np.random.default_rng(0).integers(0, 99, (H, W, 3), np.uint8)).save(root / "images" / "x" / f"{name}.png")
    (root / "labels" / "x" / "p.txt").write_text(line)
    (root / "README.txt").write_text("about these")
    fields, told = read(root, tmp_path)
    by_name = {e.name: fields[i] for i, e in enumerate(field_entries(root, lambda line: None))}
    assert set(by_name) == {"labels/x/p.txt", "one/f.1.txt", "two.txt"}
    first = by_name["one/f.1.txt"]
    np.testing.assert_allclose(first.boxes, [[19.5, 39.5, 29.5, 44.5], [-0.5, 26.5, 3.5, 32.5]], atol=1e-4)
    assert first.labels.tolist() == [1, 0]
    assert len(by_name["two.txt"].boxes) == 0
    np.testing.assert_allclose(by_name["labels/x/p.txt"].boxes, first.boxes[:1], atol=1e-4)
    assert told == [f"{root}: 1 images have no label file and are left out: images/x/q.png"]


@pytest.mark.parametrize(
    "name, text", [("classes.txt", "galaxy\nstar\n"), ("data.yaml", "path: star\nnames:\n  0: galaxy\n  1: star\n"), (None, "")]
)
def test_yolo_classes_may_be_listed_the_other_way_round(tmp_path, name, text):
    root = tmp_path / "sg"
    root.mkdir()
    fits.writeto(root / "a.fits", noise())
    (root / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    if name:
        (root / name).write_text(text)
    assert read(root, tmp_path)[0][0].labels.tolist() == [1 if name else 0]


@pytest.mark.parametrize(
    "line, word",
    [
        ("3 0.5 0.5 0.1 0.1", "class 3"),
        ("0 40 30 8 6", "must lie in 0..1"),
        ("0 0.5 0.5 0.1", "4 numbers"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3", "7 numbers"),
        ("star 0.5 0.5 0.1 0.1", "five numbers"),
        ("0 0.5 0.5 0 0.1", "must be above 0"),
        ("0 nan 0.5 0.1 0.1", "must lie in 0..1"),
    ],
)
def test_a_bad_yolo_line_is_named(tmp_path, line, word):
    (tmp_path / "sg").mkdir()
    fits.writeto(tmp_path / "sg" / "a.fits", noise())
    (tmp_path / "sg" / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(InputError, match=rf"a.txt: line 2: .*{word}"):
        read(tmp_path / "sg", tmp_path)


def test_an_empty_folder_says_what_it_could_hold(tmp_path):
    (tmp_path / "sg").mkdir()
    with pytest.raises(InputError, match="set_N.*COCO.*YOLO"):
        read(tmp_path / "sg", tmp_path)


# Pictures as fields


def test_a_picture_reaches_the_network_as_it_is(tmp_path):
    """Unaugmented, what training shows is the picture that detection shows, to within 16-bit signals."""
    root = tmp_path / "sg"
    root.mkdir()
    picture = np.random.default_rng(3).integers(0, 256, (512, 512, 3), np.uint8)
    picture[:9], picture[20:30] = 0, 255
    Image.fromarray(picture).save(root / "a.png")
    (root / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    image = field_sample(read(root, tmp_path)[0][0], Stretch(), None).image
    np.testing.assert_allclose(image, picture.transpose(2, 0, 1) / 255, atol=3e-3)


def test_unstretched_is_the_inverse_of_the_stretch():
    signals = np.random.default_rng(0).uniform(-1.9, 30, (3, 40, 40)).astype(np.float32)
    rgb = lupton_rgb(signals, Stretch())
    assert rgb.max() < 1
    np.testing.assert_allclose(unstretched(rgb, Stretch()), signals, rtol=1e-4, atol=1e-4)
