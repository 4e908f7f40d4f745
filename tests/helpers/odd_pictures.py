"""Files such as real users have: {name: Odd}, the small files of data/cases and others built here byte by byte.

Each shows the same bird; `orientation` is the one that it is turned by, `fault` part of the line that refuses it.
"""

import dataclasses
import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image

CASES = pathlib.Path(__file__).parents[1] / "testdata/cases"
EXIF = b"Exif\0\0"
BYTE, ASCII, SHORT, LONG, RATIONAL = 1, 2, 3, 4, 5
NONE = "neither JPEG, PNG, GIF, BMP nor WebP"


@dataclasses.dataclass(frozen=True)
class Odd:
    contents: bytes
    orientation: int = 1
    fault: str = ""


def bird():
    with Image.open(CASES / "trailing.png") as image:
        return image.convert("RGB")


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def entry(tag, kind, count, value, order=">"):
    """One of a directory's entries; `value` are its last four bytes, or a number as its type has it."""
    if isinstance(value, int):
        value = struct.pack(order + {BYTE: "B", SHORT: "H"}.get(kind, "I"), value).ljust(4, b"\0")
    return struct.pack(order + "HHI", tag, kind, count) + value


def turned(kind=SHORT, count=1, value=6, order=">"):
    return entry(0x0112, kind, count, value, order)


def tiff(*entries, order=">", offset=8, count=None, magic=42):
    mark = b"MM" if order == ">" else b"II"
    header = mark + struct.pack(order + "HI", magic, offset)
    count = len(entries) if count is None else count
    return header + bytes(max(offset - 8, 0)) + struct.pack(order + "H", count) + b"".join(entries) + bytes(4)


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def exif(body, prefix=EXIF):
    return segment(0xE1, prefix + body)


def jpeg(*segments, **options):
    whole = saved(bird(), "JPEG", quality=90, **options)
    return whole[:2] + b"".join(segments) + whole[2:]


def chunk(kind, body, crc=None):
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def png(*chunks, image=None):
    """A PNG with chunks between its header and its pixels."""
    whole = saved(image or bird(), "PNG")
    return whole[:33] + b"".join(chunks) + whole[33:]


def itxt(key, text, is_packed=False):
    text = zlib.compress(text) if is_packed else text
    return chunk(b"iTXt", key + b"\0" + bytes([is_packed, 0]) + b"\0\0" + text)


def xmp(form, value=8):
    text = {
        "attribute": f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{value}"/>',
        "element": f"<rdf:Description><tiff:Orientation>{value}</tiff:Orientation></rdf:Description>",
    }[form]
    return f"<x:xmpmeta><rdf:RDF>{text}</rdf:RDF></x:xmpmeta>".encode()


def xmp_segment(form):
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(form))


def icc(size):
    """A color profile in as many segments as it takes."""
    parts = [bytes(65_000)] * (size // 65_000) + [bytes(size % 65_000)]
    return [segment(0xE2, b"ICC_PROFILE\0" + bytes([i, len(parts)]) + part) for i, part in enumerate(parts, 1)]


def carried():
    """The files of data/cases."""
    rights = {"exif6.png": (6, ""), "exif6_long_mm.jpg": (6, ""), "noeoi.jpg": (1, "Invalid JPEG data"),
              }  # fmt: skip
    return {path.name: Odd(path.read_bytes(), *rights.get(path.name, ())) for path in sorted(CASES.glob("*.*g"))}


def malformed_exif():
    """{name: (TIFF data, orientation)}, to be put into a JPEG and a PNG."""
    loop = tiff(turned())[:-4] + struct.pack(">I", 8)
    found = {
        "big_endian": (tiff(turned()), 6),
        "little_endian": (tiff(turned(order="<"), order="<"), 6),
        "long": (tiff(turned(LONG)), 6),
        "long_little_endian": (tiff(turned(LONG, order="<"), order="<"), 6),
        "byte": (tiff(turned(BYTE)), 1),
        "byte_little_endian": (tiff(turned(BYTE, order="<"), order="<"), 1),
        "ascii": (tiff(turned(ASCII, value=b"6\0\0\0")), 1),
        "rational": (tiff(turned(RATIONAL, value=8)), 1),
        "unknown_type": (tiff(turned(99, value=b"\0\6\0\6")), 1),
        "short_in_the_low_bytes": (tiff(turned(value=b"\0\0\0\6")), 1),
        "zero": (tiff(turned(value=0)), 1),
        "nine": (tiff(turned(value=9)), 1),
        "large_long": (tiff(turned(LONG, value=2**32 - 1)), 1),
        "no_value": (tiff(turned(count=0)), 1),
        "two_values": (tiff(turned(count=2, value=b"\0\6\0\6")), 1),
        "huge_count_of_values": (tiff(turned(count=2**32 - 1)), 1),
        "huge_count_of_entries": (tiff(turned(), count=65535), 6),
        "count_of_no_entries": (tiff(turned(), count=0), 1),
        "twice": (tiff(turned(), turned(value=3)), 6),
        "after_others": (tiff(*(entry(0x0100 + i, SHORT, 1, 5) for i in range(12)), turned()), 6),
        "unsorted": (tiff(entry(0x8769, LONG, 1, 8), turned(), entry(0x0100, SHORT, 1, 2)), 6),
        "cut_in_the_entry": (tiff(turned())[:-8], 1),
        "cut_in_the_count": (tiff(turned())[:9], 1),
        "cut_in_the_header": (b"MM\0*\0\0", 1),
        "only_the_mark": (b"MM", 1),
        "empty": (b"", 1),
        "text": (b"no TIFF structure at all", 1),
        "directory_far_away": (tiff(turned(), offset=300), 6),
        "offset_beyond_the_end": (tiff(turned())[:4] + struct.pack(">I", 50_000) + tiff(turned())[8:], 1),
        "offset_beyond_everything": (tiff(turned())[:4] + b"\xff" * 4 + tiff(turned())[8:], 1),
        "offset_into_the_header": (tiff(turned())[:4] + struct.pack(">I", 0) + tiff(turned())[8:], 1),
        "loop": (loop, 6),
        "wrong_magic": (tiff(turned(), magic=43), 1),
        "mixed_order": (b"II*\0" + tiff(turned())[4:], 1),
        "prefix_again": (EXIF + tiff(turned()), 6),
        "prefix_thrice": (EXIF * 2 + tiff(turned()), 1),
    }
    return found | {f"orientation_{value}": (tiff(turned(value=value)), value) for value in range(2, 9)}


def jpegs():
    six, three = exif(tiff(turned())), exif(tiff(turned(value=3)))
    found = {
        f"exif_{name}": (jpeg(exif(body)), value) for name, (body, value) in malformed_exif().items()
    } | {
        "plain": (jpeg(), 1),
        "progressive": (jpeg(six, progressive=True), 6),
        "behind_a_profile": (jpeg(*icc(500_000), six), 6),
        "behind_many_segments": (jpeg(*[segment(0xE0 + i % 16, b"x" * 50) for i in range(300)], six), 6),
        "behind_more_than_is_read": (jpeg(*[segment(0xEF, b"")] * 1001, six), 1),
        "behind_a_comment_that_says_exif": (jpeg(segment(0xFE, EXIF + tiff(turned(value=8))), six), 6),
        "in_another_segment": (jpeg(segment(0xE2, EXIF + tiff(turned()))), 1),
        "prefix_of_another_kind": (jpeg(exif(tiff(turned()), b"Exif\0\xff")), 1),
        "two_segments": (jpeg(six, three), 6),
        "garbage_then_exif": (jpeg(exif(b"garbage"), six), 1),
        "xmp_attribute": (jpeg(xmp_segment("attribute")), 1),
        "xmp_element": (jpeg(xmp_segment("element")), 1),
        "xmp_against_exif": (jpeg(xmp_segment("attribute"), six), 6),
        "exif_without_orientation_and_xmp": (jpeg(exif(tiff(entry(0x010F, SHORT, 1, 1))), xmp_segment("element")), 1),
        "behind_the_end": (jpeg() + six, 1),
        "trailing_bytes": (jpeg(six) + b"a camera's own notes", 6),
        "thumbnail_of_another": (jpeg(exif(tiff(entry(0x0100, SHORT, 1, 9)) + jpeg(three))), 1),
        "gray": (saved(bird().convert("L"), "JPEG", exif=EXIF + tiff(turned())), 6),
        "cmyk": (saved(bird().convert("CMYK"), "JPEG", exif=EXIF + tiff(turned())), 6),
        "mpo": (saved(bird(), "MPO", save_all=True, append_images=[bird()], exif=EXIF + tiff(turned())), 6),
    }  # fmt: skip
    return {f"{name}.jpg": Odd(contents, value) for name, (contents, value) in found.items()}


def pngs():
    six = chunk(b"eXIf", tiff(turned()))
    deep = np.asarray(bird(), np.uint16) * 257
    transparent = bird().quantize(64)
    transparent.info["transparency"] = bytes(range(64))
    found = {
        f"exif_{name}": (png(chunk(b"eXIf", body)), value) for name, (body, value) in malformed_exif().items()
    } | {
        "exif_with_bad_crc": (png(chunk(b"eXIf", tiff(turned()), crc=1)), 6),
        "two_exif": (png(six, chunk(b"eXIf", tiff(turned(value=3)))), 6),
        "exif_after_the_pixels": (png()[:-12] + six + png()[-12:], 1),
        "exif_behind_the_end": (png() + six, 1),
        "exif_behind_texts": (png(*[chunk(b"tEXt", b"a\0eXIf" + tiff(turned(value=8)))] * 200, six), 6),
        "exif_behind_more_than_is_read": (png(*[chunk(b"tEXt", b"a\0b")] * 1001, six), 1),
        "bad_crc_of_text": (png(chunk(b"tEXt", b"a\0b", crc=1), six), 6),
        "bad_crc_of_itxt": (png(chunk(b"iTXt", b"a\0\0\0\0\0b", crc=1)), 1),
        "bad_packed_text": (png(chunk(b"zTXt", b"a\0\0not packed")), 1),
        "large_ztxt": (png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))), 1),
        "large_itxt": (png(itxt(b"a", b"x" * 3_000_000)), 1),
        "large_packed_itxt": (png(itxt(b"a", b"x" * 3_000_000, is_packed=True)), 1),
        "bad_profile": (png(chunk(b"iCCP", b"a\0\0not packed")), 1),
        "bad_time": (png(chunk(b"tIME", b"\0" * 7)), 1),
        "xmp": (png(itxt(b"XML:com.adobe.xmp", xmp("attribute"))), 1),
        "xmp_packed": (png(itxt(b"XML:com.adobe.xmp", xmp("element"), is_packed=True)), 1),
        "xmp_against_exif": (png(itxt(b"XML:com.adobe.xmp", xmp("element")), six), 6),
        "raw_profile": (png(chunk(b"tEXt", b"Raw profile type exif\0\nexif\n32\n" + tiff(turned()).hex().encode())), 1),
        "trailing_bytes": (png(six) + b"notes", 6),
        "gray": (png(six, image=bird().convert("L")), 6),
        "gray_with_alpha": (png(six, image=bird().convert("LA")), 6),
        "with_alpha": (png(six, image=bird().convert("RGBA")), 6),
        "black_and_white": (png(six, image=bird().convert("1")), 6),
        "palette": (png(image=bird().quantize(64)), 1),
        "palette_with_transparency": (saved(transparent, "PNG"), 1),
        "gray_16_bits": (png(six, image=Image.fromarray(deep[..., 1])), 6),
        "rgb_16_bits": (rgb16(deep, six), 6),
    }  # fmt: skip
    return {f"{name}.png": Odd(contents, value) for name, (contents, value) in found.items()}


def rgb16(pixels, *chunks):
    """A PNG of 16 bits for each of three colors, which Pillow does not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def _see_through():
    image = bird().convert("RGBA")
    image.putalpha(100)
    return image


def other_formats():
    whole = saved(bird(), "JPEG")
    marker = whole.index(b"\xff\xc0")
    arithmetic = whole[: marker + 1] + b"\xc9" + whole[marker + 2 :]
    truncated, spoiled = saved(bird(), "PNG")[:3000], bytearray(saved(bird(), "PNG"))
    spoiled[20] ^= 1  # the height: its checksum is wrong then
    return {
        "gif.jpg": Odd(saved(bird(), "GIF")),
        "animated.gif.png": Odd(saved(bird(), "GIF", save_all=True, append_images=[bird().rotate(90)])),
        "bmp.jpg": Odd(saved(bird(), "BMP")),
        "palette_bmp.jpg": Odd(saved(bird().quantize(64), "BMP"), fault="a BMP of 8 bits a pixel"),
        "webp.png": Odd(saved(bird(), "WEBP")),
        "webp_lossless.webp": Odd(saved(bird(), "WEBP", lossless=True)),
        "webp_with_alpha.webp": Odd(saved(_see_through(), "WEBP", exact=True, exif=EXIF + tiff(turned())), 6),
        "webp_lossless_with_alpha.webp": Odd(saved(_see_through(), "WEBP", lossless=True, exact=True)),
        "webp_with_exif.jpg": Odd(saved(bird(), "WEBP", exif=EXIF + tiff(turned())), 6),
        "animated.webp": Odd(
            saved(bird(), "WEBP", save_all=True, append_images=[bird().rotate(90)]), fault="an animated WebP"
        ),
        "half.webp": Odd(saved(bird(), "WEBP")[:500], fault="Failed to decode WebP"),
        "sound.webp": Odd(b"RIFF\x24\0\0\0WAVEfmt " + bytes(30), fault=NONE),
        "tiff.jpg": Odd(saved(bird(), "TIFF"), fault=f"TIFF, {NONE}"),
        "avif.jpg": Odd(saved(bird(), "AVIF"), fault=f"AVIF, {NONE}"),
        "heic.jpg": Odd(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), fault=f"HEIC, {NONE}"),
        "jpeg2000.jpg": Odd(saved(bird(), "JPEG2000"), fault=f"JPEG 2000, {NONE}"),
        "page.jpg": Odd(b"<!DOCTYPE html><title>404</title>", fault=f"a page of HTML, {NONE}"),
        "pointer.jpg": Odd(b"version https://git-lfs.github.com/spec/v1\noid", fault="a pointer of Git LFS"),
        "text.jpg": Odd(b"no picture", fault=NONE),
        "empty.jpg": Odd(b"", fault="the file is empty"),
        "two_bytes.jpg": Odd(b"\xff\xd8", fault=NONE),
        "only_a_start.jpg": Odd(b"\xff\xd8\xff", fault="Invalid JPEG data"),
        "header_alone.jpg": Odd(whole[: marker + 20], fault="Invalid JPEG data"),
        "half.jpg": Odd(whole[: len(whole) // 2], fault="Invalid JPEG data"),
        "arithmetic.jpg": Odd(arithmetic),
        "half.png": Odd(truncated, fault="Invalid PNG data"),
        "signature_alone.png": Odd(truncated[:8], fault="Invalid PNG"),
        "zeros.jpg": Odd(bytes(5000), fault=NONE),
    }


def table():
    """{name: Odd} of them all."""
    return carried() | jpegs() | pngs() | other_formats()
