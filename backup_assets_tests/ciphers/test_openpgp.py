from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.ciphers.contract import DamagedMessage
from backup_assets.ciphers.openpgp import KeyPacket, read_message
from backup_assets.errors import EnvironmentFault
from backup_assets_tests.ciphers.keys import Keyrings, flipped, gpg, random_file, truncated

ECDH, RSA = 18, 1
#: The packet of a session key for an RSA key of 8 bits.
TO_A_KEY = b"\xc1\x0d\x03" + b"\x12" * 8 + b"\x01\x00\x08\xff"


@pytest.fixture(scope="module")
def a_message(keyrings: Keyrings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100,000 bytes to two keys, so that the content has several partial lengths."""
    plain = random_file(tmp_path_factory.mktemp("plain") / "content", 100_000)
    path = plain.with_name("message.gpg")
    to = ["--trust-model", "always", "-r", keyrings.lena, "-r", keyrings.rob]
    path.write_bytes(gpg(keyrings.host, *to, "--compress-algo", "none", "-e", input_bytes=plain.read_bytes()))
    return path


def where_lengths_stand(message: bytes) -> list[int]:
    """Return the offsets of the partial lengths and of the last one in the content of a message to two keys.

    The number of an RSA key is a byte shorter in one message of 200, so that the content does not always start at 495.
    """
    second = 2 + message[1]
    at = second + 3 + int.from_bytes(message[second + 1 : second + 3], "big") + 1
    found = [at]
    while 224 <= message[at] < 255:
        at += 1 + (1 << (message[at] & 0x1F))
        found.append(at)
    return found


def pieces(path: Path, size: int) -> list[bytes]:
    content = path.read_bytes()
    return [content[at : at + size] for at in range(0, len(content), size)]


def refusal(path: Path) -> str:
    with pytest.raises(DamagedMessage) as caught:
        read_message(path)
    assert str(path) in caught.value.what
    return caught.value.why


def test_the_keys_of_a_message_are_those_that_gpg_lists(a_message: Path, keyrings: Keyrings):
    message = read_message(a_message)

    listed = gpg(keyrings.host, "--list-only", "--list-packets", str(a_message)).decode()
    assert [key.algorithm for key in message.keys] == [ECDH, RSA]
    assert all(f"algo {key.algorithm}, keyid {key.key_id}" in listed for key in message.keys)
    assert 100_000 <= message.content_room <= 100_200


def test_a_message_truncated_anywhere_is_damaged(a_message: Path, tmp_path: Path):
    size = a_message.stat().st_size
    lengths = {*range(700), *range(700, size, 997), *range(size - 40, size)}
    whole_chunks = set(where_lengths_stand(a_message.read_bytes())[1:])

    assert len(whole_chunks) > 10
    for length in sorted(lengths | whole_chunks):
        with pytest.raises(DamagedMessage):
            read_message(truncated(a_message, tmp_path / "short", length))


def test_a_message_that_is_followed_by_anything_is_damaged(a_message: Path, tmp_path: Path):
    appended = tmp_path / "appended"
    appended.write_bytes(a_message.read_bytes() + b"x")
    doubled = tmp_path / "doubled"
    doubled.write_bytes(a_message.read_bytes() * 2)

    assert "1 bytes follow the end" in refusal(appended)
    assert f"{a_message.stat().st_size} bytes follow the end" in refusal(doubled)


# Not the lower byte of the length of the ECDH point (13): with a bit less it has as many bytes.
@pytest.mark.parametrize("offset", [0, 1, 2, 12, 96, 97, 98, 99, 109])
def test_a_flipped_bit_in_the_structure_of_a_key_is_damage(a_message: Path, tmp_path: Path, offset: int):
    refusal(flipped(a_message, tmp_path / "flipped", offset))


def test_a_point_that_is_too_short_for_any_curve_is_damage_even_where_everything_adds_up(tmp_path: Path):
    path = tmp_path / "message.gpg"
    content = b"\xd2\x32\x01" + bytes(49)
    for point, why in ((33, ""), (32, f"the session key for {'12' * 8} is altered"), (1, "is altered")):
        numbers = (8 * point - 1).to_bytes(2, "big") + b"\x40" + bytes(point - 1) + b"\x30" + bytes(48)
        packet = b"\x03" + b"\x12" * 8 + bytes([ECDH]) + numbers
        path.write_bytes(b"\xc1" + bytes([len(packet)]) + packet + content)
        if why:
            assert why in refusal(path)
        else:
            assert read_message(path).keys == (KeyPacket("12" * 8, ECDH),)


def test_a_flipped_bit_in_the_structure_of_the_content_is_damage(tmp_path: Path):
    # Bytes that are the same every time: what follows an altered length can add up by chance, in one of 30,000
    # messages of random bytes.
    path = tmp_path / "message.gpg"
    chunks = [bytes([0xED]) + content for content in pieces(random_file(tmp_path / "x", 5 * 8192), 8192)]
    chunks[0] = b"\xed\x01" + chunks[0][2:]
    path.write_bytes(TO_A_KEY + b"\xd2" + b"".join(chunks) + b"\x63" + b"x" * 0x63)
    assert read_message(path).content_room == 5 * 8192 + 0x63 - 49

    start = len(TO_A_KEY)
    for offset in (start, start + 1, start + 2, start + 1 + 8193, start + 1 + 5 * 8193):
        refusal(flipped(path, tmp_path / "flipped", offset))


def test_a_flipped_bit_in_a_key_id_names_another_key(a_message: Path, tmp_path: Path):
    found = read_message(flipped(a_message, tmp_path / "flipped", 10)).keys[0].key_id

    assert int(found, 16) == int(read_message(a_message).keys[0].key_id, 16) ^ 1


def test_a_flipped_bit_in_an_algorithm_is_returned_for_comparison(a_message: Path, tmp_path: Path):
    assert read_message(flipped(a_message, tmp_path / "flipped", 108)).keys[1].algorithm == RSA ^ 1


def test_a_flipped_bit_in_the_content_cannot_be_seen_without_the_key(a_message: Path, tmp_path: Path):
    assert read_message(flipped(a_message, tmp_path / "flipped", 50_000)) == read_message(a_message)


def test_a_passphrase_beside_the_keys_is_refused(keyrings: Keyrings, tmp_path: Path):
    path = tmp_path / "symmetric.gpg"
    to = ["--trust-model", "always", "-r", keyrings.lena]
    path.write_bytes(gpg(keyrings.host, *to, "-c", "-e", passphrase="x", input_bytes=b"content"))

    assert refusal(path) == "it can also be decrypted with a passphrase"


def test_an_armored_message_says_what_to_do(keyrings: Keyrings, tmp_path: Path):
    path = tmp_path / "armored.asc"
    to = ["--trust-model", "always", "-r", keyrings.lena]
    path.write_bytes(gpg(keyrings.host, *to, "--armor", "-e", input_bytes=b"content"))

    assert "gpg --dearmor" in refusal(path)


def test_a_signed_public_file_is_no_encrypted_message(keyrings: Keyrings, tmp_path: Path):
    path = tmp_path / "key.gpg"
    path.write_bytes(gpg(keyrings.host, "--export", keyrings.lena))

    assert refusal(path) == "a packet of type 6 is not part of an encrypted message"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"plain text", "byte 0 is not the start of a packet"),
        (b"\xd2\x40\x01" + bytes(63), "it names no key that could decrypt it"),
        (b"\xc9\x40" + bytes(64), "it is encrypted without protection of its integrity"),
        (b"\x87" + bytes(64), "a packet says nothing about its length"),
        (b"\xc1\xff\xff\xff\xff\xff" + bytes(64), "the packet of a session key is too long"),
        (b"\xc1\x0c\x06" + bytes(11), "the packet of a session key is of an unknown version"),
        (b"\xd2\x40\x09" + bytes(63), "the encrypted packet is of an unknown version"),
        (b"\xd2\x02\x01\x00", "the encrypted packet is too short to hold anything"),
    ],
)
def test_what_is_no_message_is_refused_with_its_reason(tmp_path: Path, content: bytes, why: str):
    path = tmp_path / "file"
    path.write_bytes(content)

    assert refusal(path) == why


def test_endless_keys_are_refused_in_bounded_time(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(TO_A_KEY)
    assert "ends too early" in refusal(path)

    path.write_bytes(path.read_bytes() * 200)
    assert "more than 100 keys" in refusal(path)


def test_a_file_that_is_missing_is_a_fault_with_its_name(tmp_path: Path):
    with pytest.raises(EnvironmentFault, match=r"could not read backup\.gpg"):
        read_message(tmp_path / "backup.gpg")


def test_a_packet_of_an_authenticated_mode_is_walked_like_any_other(tmp_path: Path):
    # As GnuPG 2.4 writes it for keys that announce OCB; older ones cannot make it, so it is put together here.
    path = tmp_path / "file"
    path.write_bytes(TO_A_KEY + b"\xd4\x50\x01\x09\x02\x10" + bytes(76))

    assert read_message(path).keys == (KeyPacket("12" * 8, RSA),)
