"""Content credentials (C2PA) by the user's own key: who signed says that a machine made the picture.

A signature holds the time and chance, so that two exports of one run are not equal byte for byte.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datagen import version
from datagen.errors import InputError, one_line
from datagen.images import marks
from datagen.images.kinds import kind_of

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WebP": "image/webp"}
CURVES = {256: "es256", 384: "es384", 521: "es512"}


def signer(key: Path, certificate: Path) -> Callable[[bytes], bytes | None]:
    """A function of a file to the same file, marked in XMP and signed. InputError for a key that cannot sign."""
    try:
        import c2pa  # type: ignore[import-untyped]  # it comes without types
    except ImportError as error:
        raise InputError('--mark c2pa needs the package c2pa-python: pip install "datagen[c2pa]"') from error
    private, chain = _read(key), _read(certificate)
    kind = _algorithm(private, key)
    manifest = json.dumps(
        {
            "claim_generator_info": [{"name": "datagen", "version": version()}],
            "assertions": [
                {
                    "label": "c2pa.actions",
                    "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": marks.SOURCE}]},
                }
            ],
        }
    )
    try:
        signs = c2pa.Signer.from_info(c2pa.C2paSignerInfo(kind.encode(), chain, private, None))
        without = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
        made = functools.partial(_signed, c2pa, signs, without, manifest)
        made(_SMALLEST)  # a key that does not fit its certificate shows here, and not at the first picture
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{key} and {certificate} cannot sign ({one_line(error)}): give a PEM key and its chain"
        ) from error
    return made


_SMALLEST = bytes.fromhex(
    "89504e470d0a1a0a0000000d494844520000000100000001080200000090"
    "7753de0000000c4944415478da636060600000000400012734270a0000000049454e44ae426082"
)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a file in PEM") from error


def _algorithm(private: bytes, path: Path) -> str:
    """How a key signs, by its kind."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key: Any = load_pem_private_key(private, None)
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        raise InputError(f"{path} is no PEM key without a password ({one_line(error)})") from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in CURVES:
        return CURVES[key.curve.key_size]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise InputError(
        f"{path} is a key that C2PA knows no signature of: give one of P-256, P-384, P-521, Ed25519 or RSA"
    )


def _signed(c2pa: Any, signs: Any, context: Any, manifest: str, data: bytes) -> bytes | None:
    marked = marks.with_xmp(data)
    kind = KINDS.get(kind_of(data[:64]) or "")
    if marked is None or kind is None:
        return None
    made = io.BytesIO()
    with c2pa.Builder(manifest, context) as builder:
        builder.sign(signs, kind, io.BytesIO(marked), made)
    return made.getvalue()
