"""A server's answer about one picture: as text, as JSON, and drawn over the picture."""

from PIL import Image

from cgc_tf.common.errors import UserError, first_line


def summary(answer, with_best):
    """One line; or, `with_best`, that and the most probable classes."""
    if "label" not in answer:
        return "drawn"
    steadiness = f"  consistency {answer['consistency']:.2f}" if "consistency" in answer else ""
    line = f"{answer['label']} (class {answer['class_id']}), score {answer['score']:.4f}{steadiness}"
    if not with_best or "top5_class_id" not in answer:
        return line
    top = zip(answer["top5_class_id"], answer["top5_score"], answer["top5_label"], strict=True)
    return "\n".join([line, "class  probability", *(f"{i:5d}  {score:11.4f}  {label}" for i, score, label in top)])


def plain(path, answer, error):
    """What JSON can hold of an answer, or of the error instead of one: everything but pictures."""
    kept = {name: value for name, value in (answer or {}).items() if not name.endswith("_bytes")}
    values = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in kept.items()}
    return {"file": str(path), **({"error": str(error)} if error else values)}


def draw(data, answer, output):
    """Writes a picture, encoded, with the heatmap of its answer over it, as a PNG; at its own size, upright.

    Raises:
        UserError: the picture cannot be decoded here.
    """
    if "overlay_png_bytes" in answer:
        output.write_bytes(answer["overlay_png_bytes"])
        return
    Image.fromarray(_drawn(data, answer)).save(output, format="PNG")


def _drawn(data, answer):
    # Here, since they load TensorFlow, whose decoder is the model's own.
    import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
    import tensorflow as tf

    from cgc_tf.data import exif, folder, pictures
    from cgc_tf.method.overlay import overlay

    try:
        decoded = folder.decode_image(data)
    except tf.errors.OpError as error:
        raise UserError(f"cannot be drawn: {first_line(error)}") from error
    image = pictures.upright(decoded, exif.orientation(exif.number_in(data))).numpy()
    return overlay(image, answer["heatmap"], tuple(answer["heatmap_box"]))
