"""The word that a machine made a picture, put into its file: IPTC's digital source type in XMP.

It goes into the container of a PNG, JPEG or WebP; the compressed pixels are not touched. Where it stands
is after XMP's specification, part 3.
"""

from __future__ import annotations

import struct
import zlib

from datagen.images import png
from datagen.images.kinds import kind_of

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{SOURCE}"/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
).encode()
KEYWORD = b"XML:com.adobe.xmp"  # of PNG's text
HEADER = b"http://ns.adobe.com/xap/1.0/\0"  # of JPEG's segment
APP0, APP1, APP15 = 0xE0, 0xE1, 0xEF
HAS_XMP, HAS_ALPHA = 0x04, 0x10  # flags of WebP's VP8X chunk


def with_xmp(data: bytes) -> bytes | None:
    """The same file with the mark; as it is if it has XMP already, None if it is of a kind that we do not mark."""
    match kind_of(data[:64]):
        case "PNG":
            return _png(data)
        case "JPEG":
            return _jpeg(data)
        case "WebP":
            return _webp(data)
        case _:
            return None


def _png(data: bytes) -> bytes | None:
    """A text chunk behind the header."""
    end = len(png.SIGNATURE) + 25  # the header is 13 bytes, and 12 of its chunk
    if data[12:16] != b"IHDR" or len(data) < end:
        return None
    if KEYWORD in data:
        return data
    body = b"iTXt" + KEYWORD + b"\0" * 5 + XMP
    return data[:end] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[end:]


def _jpeg(data: bytes) -> bytes | None:
    """A segment behind those of JFIF and EXIF, which expect to be first."""
    at = 2
    while data[at : at + 1] == b"\xff" and len(data) > at + 4:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        own = data[at + 4 : at + 2 + size]
        if marker == APP1 and own.startswith(HEADER):
            return data
        if not APP0 <= marker <= APP15:
            break
        at += 2 + size
    else:
        return None
    at = _after_first(data)
    segment = HEADER + XMP
    return data[:at] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[at:]


def _after_first(data: bytes) -> int:
    """Where the segments of JFIF and EXIF end."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1] in (APP0, APP1):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def _webp(data: bytes) -> bytes | None:
    """A chunk at the end, which the extended header, made if there is none, must announce."""
    size = int.from_bytes(data[4:8], "little") + 8
    body, rest = data[12:size], data[size:]
    kind = body[:4]
    if len(body) < 18 or size > len(data):
        return None
    if kind == b"VP8X":
        flags, body = body[8], body[18:]
        canvas = data[24:30]
    else:
        found = _canvas(kind, body)
        if found is None:
            return None
        flags, canvas = found
    if flags & HAS_XMP:
        return data
    extended = b"VP8X" + struct.pack("<IB3x", 10, flags | HAS_XMP) + canvas
    made = extended + body + b"XMP " + struct.pack("<I", len(XMP)) + XMP + b"\0" * (len(XMP) % 2)
    return b"RIFF" + struct.pack("<I", len(made) + 4) + b"WEBP" + made + rest


def _canvas(kind: bytes, body: bytes) -> tuple[int, bytes] | None:
    """Flags and size, each side less one in three bytes, of a WebP without an extended header."""
    if kind == b"VP8L" and body[8:9] == b"\x2f":
        bits = int.from_bytes(body[9:13], "little")
        sides, flags = (bits & 0x3FFF, bits >> 14 & 0x3FFF), HAS_ALPHA * (bits >> 28 & 1)
    elif kind == b"VP8 " and body[11:14] == b"\x9d\x01\x2a":
        sides, flags = tuple((side & 0x3FFF) - 1 for side in struct.unpack("<HH", body[14:18])), 0
    else:
        return None
    return flags, b"".join(side.to_bytes(3, "little") for side in sides)
