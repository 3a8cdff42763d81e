"""What kind of picture some bytes are, told by their beginning and never by a file's name.

Nothing is decoded, no library is loaded.
"""

from __future__ import annotations

HEAD = 64  # bytes that `kind_of` looks at
READ = ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "AVIF")  # kinds that `decode` reads
BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"<svg", "SVG"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
)
SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "WebP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "AVIF": ".avif",
}
INFO_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # sizes of the second header of a BMP


def kind_of(head: bytes) -> str | None:
    """The kind that a file's first bytes announce, one of `READ` or of those that are not read; None if none."""
    for beginning, kind in BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    # "BM" alone begins many a text.
    if head[:2] == b"BM" and head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in INFO_HEADERS:
        return "BMP"
    # The netpbm formats: "P6", white space, a number.
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace() and head[3:4] in b"#0123456789":
        return "PNM"
    return None


def suffix_of(head: bytes) -> str:
    """The suffix of a file's name, by its first bytes; "" of what we do not read."""
    return SUFFIXES.get(kind_of(head) or "", "")


def _of_brands(head: bytes) -> str | None:
    """AVIF and HEIC share one container; the brands after its first word tell them apart."""
    size = int.from_bytes(head[:4], "big")
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head)) - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIC" if brands & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"} else None
