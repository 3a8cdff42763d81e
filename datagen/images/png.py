"""PNG files reduced to what decides their pixels, each part held against its checksum.

Texts, colour profiles, times and the frames of an animation are left out, so that a fault in them refuses no picture.
"""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def essentials(data: bytes) -> bytes:
    """The same picture without its side chunks, but for transparency and EXIF; ValueError for damage to the rest."""
    at, parts, exif = len(SIGNATURE), [SIGNATURE], b""
    while True:
        if len(data) < at + 12:
            raise ValueError("the file is cut short")
        size, kind = struct.unpack_from(">I4s", data, at)
        if size > len(data) - at - 12:
            raise ValueError("the file is cut short")
        chunk = data[at : at + size + 12]
        at += len(chunk)
        if kind == b"eXIf":
            exif = exif or chunk
        elif kind == b"tRNS" or not kind[0] & 0x20:  # a small first letter is a side chunk
            if not _whole(chunk):
                raise ValueError(f"the file is damaged: the checksum of its {kind.decode('latin-1')!r} part is wrong")
            parts.append(_narrowed(chunk, parts) if kind == b"tRNS" else chunk)
        if kind == b"IEND":
            break
    if exif and _whole(exif):  # it may come after the pixels, where decoders find it too late
        parts.insert(2, exif)
    return b"".join(parts)


def _whole(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _narrowed(chunk: bytes, parts: list[bytes]) -> bytes:
    """The transparent colour of 16-bit RGB in the 8 bits that pixels are decoded to."""
    header = parts[1] if len(parts) > 1 else b""
    if header[4:8] != b"IHDR" or header[16:18] != b"\x10\x02" or len(chunk) != 18:
        return chunk
    body = b"tRNS" + struct.pack(">HHH", *(value >> 8 for value in struct.unpack(">HHH", chunk[8:-4])))
    return chunk[:4] + body + struct.pack(">I", zlib.crc32(body))
