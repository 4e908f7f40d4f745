"""Where objects are, in the forms that tools write: the same boxes and masks by each of them, and faults named."""

import json
import shutil
from xml.etree import ElementTree

import absl.flags
import numpy as np
import pytest
from object_forms import BOXES, FORMS
from PIL import Image
from pycocotools import mask as coco

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, convert, folder, load
from cgc_tf.data.objects import drawn
from cgc_tf.method import metrics

NAMES = ["blue_wings", "green_fuselage", "red_wings"]


def wanted(left=0.0):
    """BOXES as `read` gives them; of labelImg's VOC boxes, whose edges count from 0, the first are a pixel less."""
    return {name: [[(y - left) / 128, (x - left) / 128, y2 / 128, x2 / 128]] for name, (x, y, x2, y2) in BOXES.items()}


@pytest.fixture
def written(tmp_path):
    """Writes BOXES in one of the forms; returns the path."""
    return lambda form: FORMS[form](tmp_path)


@pytest.fixture
def bare(pictures, tmp_path):
    """The folder without boxes.csv."""
    root = tmp_path / "bare"
    shutil.copytree(pictures, root, ignore=shutil.ignore_patterns("boxes.csv"))
    return root


def content_heatmaps(source):
    """CH of one uneven heatmap in each test picture whose objects are known, as evaluation measures it."""
    ramp = np.arange(49, dtype=np.float32).reshape([1, 7, 7])
    shares = []
    for batch in batches.whole_image_batches(source, "test", 64, 4):
        share, _ = metrics.content_heatmap(np.repeat(ramp, len(batch["region"]), 0), batch["region"])
        shares += [float(each) for each, region in zip(share, batch["region"], strict=True) if region.numpy().any()]
    return sorted(shares)


def close(found, expected):
    assert found.keys() == expected.keys()
    for name, boxes in expected.items():
        np.testing.assert_allclose(found[name], boxes, atol=1e-6)


@pytest.mark.parametrize("form", ["csv", "coco", "voc", "yolo", "label_studio"])
def test_the_same_boxes_and_regions_by_each_form(form, written, bare):
    if form == "label_studio":  # a name that was uploaded has no folder
        shutil.copy(bare / "test/blue_wings/000.jpg", bare / "test/blue_wings/blue_000.jpg")
    path = written(form)
    source = load.load_dataset("folder", str(bare), objects=str(path))
    found = {key.replace("blue_000", "000"): boxes for key, boxes in folder.read(bare, objects=str(path)).boxes.items()}
    close(found, wanted())
    assert source.has_boxes and not source.has_masks
    rows = [",".join(map(str, [name, *box])) for name, (box,) in wanted().items()]
    (bare / "boxes.csv").write_text("\n".join(["file,ymin,xmin,ymax,xmax", *rows]))
    ours, plain = content_heatmaps(source), content_heatmaps(load.load_dataset("folder", str(bare)))
    assert len(ours) == 2
    np.testing.assert_allclose(ours, plain, rtol=1e-5)


@pytest.mark.parametrize(("form", "left"), [("labelimg_voc", 1), ("labelimg_yolo", 0)])
def test_files_that_labelimg_wrote(form, left, bare, golden_folder):
    path = golden_folder / "objects" / form
    close(folder.read(bare, objects=str(path)).boxes, wanted(left))


def test_masks_of_coco_as_its_own_tool_encodes_them(written, bare, tmp_path):
    """Polygons, and the run-length encoding as numbers and packed: the same pixels, and boxes around them."""
    path = written("coco")
    contents = json.loads(path.read_text())
    polygon = [20.0, 30.0, 90.0, 30.0, 90.0, 100.0, 20.0, 100.0]
    expected = np.zeros([128, 128], np.uint8)
    expected[30:100, 20:90] = 1
    packed = coco.encode(np.asfortranarray(expected))
    runs = np.diff(np.flatnonzero(np.diff(expected.T.ravel(), prepend=0, append=0)), prepend=0).tolist()
    numbers = {"size": [128, 128], "counts": [*runs, 128 * 128 - sum(runs)]}
    for segmentation in ([polygon], {"size": [128, 128], "counts": packed["counts"].decode()}, numbers):
        contents["annotations"][0]["segmentation"] = segmentation
        path.write_text(json.dumps(contents))
        source = load.load_dataset("folder", str(bare), objects=str(path))
        (example, other) = source.examples("test", [0, 1])
        assert source.has_masks and example["mask"].shape == (128, 128, 1) and not other["mask"].any()
        np.testing.assert_array_equal(example["mask"][..., 0], expected)
        read = folder.read(bare, objects=str(path))
        close(read.boxes, wanted())


def test_pngs_named_as_the_pictures(bare, tmp_path):
    root = tmp_path / "masks"
    x, y, x2, y2 = BOXES["test/red_wings/000.jpg"]
    mask = np.zeros([128, 128], np.uint8)
    mask[y:y2, x:x2] = 255
    palette = Image.fromarray((mask > 0).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    void = mask.copy() // 255
    void[:5] = 255  # what Pascal VOC leaves undecided
    kinds = {
        "gray": Image.fromarray(mask),
        "black_and_white": Image.fromarray(mask).convert("1"),
        "palette": palette,
        "rgb": Image.fromarray(mask).convert("RGB"),
        "void": Image.fromarray(void, "P"),
    }
    kinds["void"].putpalette(list(range(256)) * 3)
    for name in ("test/red_wings/000.png", "test/red_wings/000_mask.png"):
        for image in kinds.values():
            shutil.rmtree(root, ignore_errors=True)
            (root / name).parent.mkdir(parents=True)
            image.save(root / name)
            read = folder.read(bare, objects=str(root))
            close(read.boxes, {"test/red_wings/000.jpg": wanted()["test/red_wings/000.jpg"]})
            found = drawn.mask_of(read.masks["test/red_wings/000.jpg"], 128, 128)
            np.testing.assert_array_equal(found, mask // 255)
    Image.fromarray(mask).resize((100, 128)).save(root / name)
    with pytest.raises(UserError, match=r"a picture of 100 x 128 pixels, but .*000.jpg is shown as one of 128 x 128"):
        folder.read(bare, objects=str(root))
    (root / name).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"000_mask.png cannot be read as a mask: cannot identify image file"):
        folder.read(bare, objects=str(root))


def test_masks_beside_the_pictures_are_no_pictures(bare, capsys):
    mask = Image.fromarray(np.pad(np.full([64, 128], 255, np.uint8), ((64, 0), (0, 0))))
    mask.save(bare / "test/red_wings/000_mask.png")
    read = folder.read(bare)
    assert len(read.files) == 36 and not read.masks
    assert f"as masks of theirs; --objects={bare} reads them: test/red_wings/000_mask.png" in capsys.readouterr().out
    close(folder.read(bare, objects=str(bare)).boxes, {"test/red_wings/000.jpg": [[0.5, 0, 1, 1]]})


def test_converting_writes_what_is_then_read_without_being_told(written, bare, flags):
    path = written("coco")
    contents = json.loads(path.read_text())
    contents["annotations"][1]["segmentation"] = [[8, 10, 64, 10, 64, 128]]
    path.write_text(json.dumps(contents))
    before = folder.read(bare, objects=str(path))
    flags(convert, data_dir=str(bare), objects=str(path))
    convert.main([])
    after = folder.read(bare)
    close(after.boxes, before.boxes)
    (name,) = after.masks
    drawn_before, drawn_after = (drawn.mask_of(read.masks[name], 128, 128) for read in (before, after))
    np.testing.assert_array_equal(drawn_before, drawn_after)
    with pytest.raises(UserError, match=r"has boxes.csv or masks/ already"):
        convert.main([])


@pytest.fixture
def flags():
    """Sets a program's flags, as parsed: `flags(program, name=value)`."""
    values = absl.flags.FlagValues()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(absl.flags, "FLAGS", values)

        def given(program, **set_to):
            for name, default in {"data_dir": None, "objects": None, "output": None, "on_bad_image": "fail"}.items():
                absl.flags.DEFINE_string(name, set_to.get(name, default), "", flag_values=values)
            values.mark_as_parsed()

        yield given


def test_an_object_that_is_named_as_another_class_does_not_count(written, bare, capsys):
    path = written("coco")
    contents = json.loads(path.read_text())
    contents["categories"] = [{"id": 3, "name": "Red Wings"}]
    path.write_text(json.dumps(contents))
    assert list(folder.read(bare, objects=str(path)).boxes) == ["test/red_wings/000.jpg"]
    assert "note: 1 object of " in capsys.readouterr().out


def test_a_turned_rectangle_of_label_studio(written, bare):
    """A quarter turn, clockwise, about the top left corner: what was its width goes down."""
    path = written("label_studio")
    tasks = json.loads(path.read_text())[1:]
    value = tasks[0]["annotations"][1]["result"][0]["value"]
    value |= {"x": 50, "y": 25, "width": 50, "height": 25, "rotation": 90}
    path.write_text(json.dumps(tasks))
    close(folder.read(bare, objects=str(path)).boxes, {"test/red_wings/000.jpg": [[0.25, 0.25, 0.75, 0.5]]})


def faults():
    yield "coco", lambda p, j: p.write_text("{"), "cannot be read as JSON"
    yield "coco", lambda p, j: p.write_text("{}"), "is neither COCO's nor Label Studio's form"
    yield "coco", lambda p, j: j["annotations"][0].pop("image_id"), "annotation 0: this is not COCO's form"
    yield "coco", lambda p, j: j["images"][0].update(file_name="000.jpg"), "may be any of train/blue_wings/000.jpg, "
    yield "coco", lambda p, j: j["images"][0].update(width=64), "is shown as one of 128 x 128"
    yield "coco", lambda p, j: [image.update(file_name="x") for image in j["images"]], "has no objects of the folder's"
    yield (
        "label_studio",
        lambda p, j: j[1]["annotations"][1]["result"][0].update(type="brushlabels"),
        "export it as COCO",
    )
    yield "voc", lambda p, j: next(p.rglob("*.xml")).write_text("<a>"), "is not Pascal VOC's form: "
    yield "voc", lambda p, j: next(p.rglob("*.xml")).write_text("<a/>"), "it begins with <a>, not <annotation>"
    yield "yolo", lambda p, j: next(p.rglob("*.txt")).write_text("0 .5 .5"), "line 1: a class, then a box of 4 numbers"
    yield "yolo", lambda p, j: next(p.rglob("*.txt")).write_text("a b"), "line 1: these should be numbers"
    yield "yolo", lambda p, j: (p.parent / "data.yaml").write_text("names: 5"), "data.yaml does not name classes"
    yield "yolo", lambda p, j: shutil.rmtree(p), "no such file or folder; it should be boxes.csv, COCO's or"


@pytest.mark.parametrize(("form", "damage", "message"), list(faults()))
def test_faults_are_named(form, damage, message, written, bare):
    path = written(form)
    contents = json.loads(path.read_text()) if path.suffix == ".json" else None
    before = path.read_bytes() if contents else b""
    damage(path, contents)
    if contents and path.read_bytes() == before:
        path.write_text(json.dumps(contents))
    with pytest.raises(UserError) as caught:
        folder.read(bare, objects=str(path))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_entities_of_xml_are_not_expanded(bare, written):
    """A file that would take gigabytes is refused by the parser itself."""
    path = written("voc")
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    entities = f'<!DOCTYPE annotation [<!ENTITY a0 "xxxxxxxxxx">{entities}]>'
    bomb = f"{entities}<annotation><filename>&a11;</filename></annotation>"
    next(path.rglob("*.xml")).write_text(bomb)
    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring(bomb)
    with pytest.raises(UserError, match="is not Pascal VOC's form: "):
        folder.read(bare, objects=str(path))
