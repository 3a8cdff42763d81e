"""Content credentials by one's own key: read back by the library's reader, with the pixels as they were."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from datagen.errors import InputError
from datagen.export.parts import mark
from datagen.images import encode, marks

c2pa = pytest.importorskip("c2pa")


def made(name: str, above: str, key: Any, signs: Any, authority: bool) -> Any:
    """A certificate that may sign content, or certificates."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def called(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o")]
        )

    start = datetime.datetime(2026, 1, 1)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"), False,
    )  # fmt: skip
    built = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(above))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(
            x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, **usage), True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signs.public_key()), False)
    )
    if not authority:
        built = built.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return built.sign(signs, hashes.SHA256())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and its chain."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    folder = tmp_path_factory.mktemp("keys")
    root, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [made("signer", "root", own, root, False), made("root", "root", root, root, True)]
    key, certificate = folder / "key.pem", folder / "chain.pem"
    key.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    return key, certificate


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_reader_finds_who_signed_and_what_made_it_and_the_pixels_are_equal(
    pair: tuple[Path, Path], kind: str
) -> None:
    data = encode.encode(Image.effect_noise((40, 24), 80), kind)
    signed = mark.of("c2pa", *pair).apply(data)
    assert signed is not None and marks.SOURCE.encode() in signed
    with c2pa.Reader(f"image/{kind}", io.BytesIO(signed)) as reader:
        found = json.loads(reader.json())
    manifest = found["manifests"][found["active_manifest"]]
    (action,) = next(
        one["data"]["actions"] for one in manifest["assertions"] if one["label"].startswith("c2pa.actions")
    )
    assert (action["action"], action["digitalSourceType"]) == ("c2pa.created", marks.SOURCE)
    assert "thumbnail" not in manifest and len(signed) - len(data) < 20_000
    codes = {one["code"] for one in found.get("validation_status", [])}
    assert codes <= {"signingCredential.untrusted"}  # nobody vouches for a key that was made a moment ago
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(signed)) as after:
        assert before.tobytes() == after.tobytes()


def test_a_kind_that_cannot_be_signed_is_none(pair: tuple[Path, Path]) -> None:
    assert mark.of("c2pa", *pair).apply(b"GIF89a" + bytes(60)) is None


@pytest.mark.parametrize("harm", ["no key", "no PEM", "another's key", "a certificate alone", "no certificate"])
def test_a_key_that_cannot_sign_is_one_line_before_anything_is_written(
    pair: tuple[Path, Path], harm: str, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, chain = pair
    broken, other = tmp_path / "broken.pem", tmp_path / "other.pem"
    broken.write_text("not a key")
    stranger = ec.generate_private_key(ec.SECP256R1())
    other.write_bytes(stranger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    given = {
        "no key": (tmp_path / "none.pem", chain),
        "no PEM": (broken, chain),
        "another's key": (other, chain),
        "a certificate alone": (None, chain),
        "no certificate": (key, broken),
    }[harm]
    with pytest.raises(InputError) as found:
        mark.of("c2pa", *given)
    assert "\n" not in str(found.value)


def test_a_key_without_content_credentials_is_a_mistake(pair: tuple[Path, Path]) -> None:
    for name in ("xmp", "none"):
        with pytest.raises(InputError, match="give --mark c2pa with them"):
            mark.of(name, *pair)
