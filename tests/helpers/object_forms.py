"""The same two boxes in the forms that tools write: a function of a folder for each, which returns what to name."""

import json

BOXES = {"test/blue_wings/000.jpg": (20, 30, 90, 100), "test/red_wings/000.jpg": (8, 10, 64, 128)}  # x, y, x, y of 128


def as_csv(root):
    rows = [f"{name},{y / 128},{x / 128},{y2 / 128},{x2 / 128}" for name, (x, y, x2, y2) in BOXES.items()]
    (root / "boxes.csv").write_text("\n".join(["file,ymin,xmin,ymax,xmax", *rows]))
    return root / "boxes.csv"


def as_coco(root):
    """By https://cocodataset.org/#format-data."""
    images = [{"id": 7 + i, "file_name": name, "width": 128, "height": 128} for i, name in enumerate(BOXES)]
    annotations = [
        {
            "id": i,
            "image_id": 7 + i,
            "category_id": 3,
            "bbox": [x, y, x2 - x, y2 - y],
            "iscrowd": 0,
            "segmentation": [],
        }
        for i, (x, y, x2, y2) in enumerate(BOXES.values())
    ]
    contents = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "aircraft"}]}
    (root / "instances.json").write_text(json.dumps(contents))
    return root / "instances.json"


def as_voc(root):
    """By the development kit: from 1, both ends included; `part`s have boxes, too."""
    for name, (x, y, x2, y2) in BOXES.items():
        path = (root / name).with_suffix(".xml")
        path.parent.mkdir(parents=True)
        path.write_text(
            f"<annotation><folder>VOC2012</folder><filename>{path.stem}.jpg</filename><size><width>128</width>"
            "<height>128</height><depth>3</depth></size><segmented>0</segmented><object><name>aircraft</name>"
            f"<bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox><part>"
            "<name>wing</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
            "</object></annotation>"
        )
    return root


def as_yolo(root):
    """By https://docs.ultralytics.com/datasets/detect/: labels/ as images/, and data.yaml beside them."""
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nnames:\n  0: aircraft\n  1: bird\n")
    for name, (x, y, x2, y2) in BOXES.items():
        path = (root / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True)
        path.write_text(f"0 {(x + x2) / 256} {(y + y2) / 256} {(x2 - x) / 128} {(y2 - y) / 128}\n")
    return root / "labels"


def as_label_studio(root):
    """By https://labelstud.io/guide/export: an upload and a file of local storage, with older versions."""
    urls = "/data/upload/1/0a1b2c3d-000.jpg", "/data/local-files/?d=pictures/test/red%5Fwings/000.jpg"
    tasks = []
    for (x, y, x2, y2), url, name in zip(BOXES.values(), urls, ("blue_wings", "red_wings"), strict=True):
        value = {"x": x / 1.28, "y": y / 1.28, "width": (x2 - x) / 1.28, "height": (y2 - y) / 1.28, "rotation": 0}
        region = {
            "original_width": 128,
            "original_height": 128,
            "image_rotation": 0,
            "id": "a",
            "from_name": "label",
        }
        region |= {"to_name": "image", "type": "rectanglelabels", "value": {**value, "rectanglelabels": [name]}}
        wrong = {**region, "value": {**region["value"], "width": 1}}
        choice = {"from_name": "quality", "to_name": "image", "type": "choices", "value": {"choices": ["good"]}}
        done = [{"was_cancelled": False, "result": [wrong]}, {"was_cancelled": False, "result": [region, choice]}]
        done += [{"was_cancelled": True, "result": [wrong]}]
        tasks.append({"id": len(tasks), "data": {"image": url}, "annotations": done})
    tasks[0]["data"]["image"] = "/data/upload/1/0a1b2c3d-blue_000.jpg"
    (root / "project-1.json").write_text(json.dumps(tasks))
    return root / "project-1.json"


FORMS = {"csv": as_csv, "coco": as_coco, "voc": as_voc, "yolo": as_yolo, "label_studio": as_label_studio}
