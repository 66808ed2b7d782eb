"""The chain: what is in its place follows, and nothing else does."""

import hmac
import json

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from proxy.audit.chain import Broken, Chain, End, Keys, check, follow, members, scan, split

SECRET = bytes(range(32))
KEYS = Keys(SECRET, "one")
TEXTS = st.dictionaries(st.sampled_from(["id", "who", "reason"]), st.text(max_size=20), max_size=3)


def chain_of(count: int, keys: Keys = KEYS) -> list[bytes]:
    """That many lines, without their line feeds."""
    chain = Chain(keys, keys.start)
    return [chain.add(f'"n":{number}')[:-1] for number in range(count)]


def test_keys_and_links_are_what_the_documentation_says() -> None:
    """HKDF-Expand (RFC 5869) and HMAC-SHA256 (RFC 2104), as others compute them."""
    key = HKDFExpand(SHA256(), 32, b"bearerd audit chain one").derive(SECRET)
    assert hmac.digest(key, b"before" + b"payload", "sha256") == KEYS.link(b"before", b"payload")
    assert HKDFExpand(SHA256(), 32, b"bearerd audit id one").derive(SECRET).hex()[:16] == KEYS.id
    line = chain_of(1)[0]
    payload, link = split(line)
    assert (b'{"seq":1,"n":0}', hmac.digest(key, bytes.fromhex(KEYS.start.link) + payload, "sha256").hex()) == (
        payload,
        link,
    )
    with pytest.raises(ValueError, match="32 bytes"):
        Keys(b"short", "one")


def test_the_keys_say_nothing_of_themselves() -> None:
    """Neither the secret nor a derived key stands in `repr`."""
    assert f"Keys(id='{KEYS.id}', install='one')" == repr(KEYS)


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_what_was_added_follows(records: list[dict[str, str]]) -> None:
    """Whatever texts a record holds, it is one line of ASCII, numbered, and comes back as it was."""
    chain, end = Chain(KEYS, KEYS.start), KEYS.start
    for number, fields in enumerate(records, 1):
        line = chain.add(members({"kind": "x", **fields}))
        assert line.isascii()
        assert (1, b"\n") == (line.count(b"\n"), line[-1:])
        end, found = follow(KEYS, end, line[:-1])
        assert (number, fields) == (end.seq, {name: found[name] for name in fields})
    assert end == End(chain.seq, chain.link)


@given(st.lists(TEXTS, max_size=6))
def test_several_records_are_chained_as_one_by_one(records: list[dict[str, str]]) -> None:
    """The same lines, and the same end."""
    one, all_at_once = Chain(KEYS, KEYS.start), Chain(KEYS, KEYS.start)
    texts = [members({"kind": "x", **fields}) for fields in records]
    assert b"".join(one.add(text) for text in texts) == all_at_once.add(*texts)
    assert (one.seq, one.link) == (all_at_once.seq, all_at_once.link)


def test_no_byte_of_a_line_can_change() -> None:
    """Each bit of each byte, of the link too."""
    line = chain_of(1)[0]
    for place in range(len(line)):
        for bit in range(8):
            changed = bytearray(line)
            changed[place] ^= 1 << bit
            with pytest.raises(Broken):
                check(KEYS, KEYS.start, bytes(changed))


def test_a_line_fits_its_place_only() -> None:
    """Not another one, not in another server's trail, and not if it calls itself by another number."""
    first, second, third = chain_of(3)
    end, _ = follow(KEYS, KEYS.start, first)
    with pytest.raises(Broken, match="changed, or what stood before it"):
        follow(KEYS, end, third)
    with pytest.raises(Broken):
        follow(KEYS, end, first)
    with pytest.raises(Broken):
        follow(Keys(SECRET, "two"), Keys(SECRET, "two").start, first)
    with pytest.raises(Broken):
        follow(Keys(bytes(32), "one"), Keys(bytes(32), "one").start, first)
    with pytest.raises(Broken, match="number"):
        follow(KEYS, End(7, KEYS.start.link), first)
    assert 2 == follow(KEYS, end, second)[0].seq


@pytest.mark.parametrize("line", [b"", b"{}", b'{"seq":1}', b"\0" * 200, b'{"a":1,"link":"' + b"A" * 64 + b'"}'])
def test_what_is_no_record_is_told_so(line: bytes) -> None:
    """Whatever a disk may hold."""
    with pytest.raises(Broken, match="no record"):
        split(line)


def test_a_scan_goes_as_far_as_the_chain_holds() -> None:
    """To the first line that is not whole, or not what it was; or to the record that was asked for."""
    lines = [line + b"\n" for line in chain_of(4)]
    whole = b"".join(lines)
    assert (4, len(whole), "") == ((found := scan(KEYS, KEYS.start, whole)).end.seq, found.size, found.fault)
    assert (2, "") == ((found := scan(KEYS, KEYS.start, whole, until=2)).end.seq, found.fault)
    for cut in range(len(whole)):
        found = scan(KEYS, KEYS.start, whole[:cut])
        assert whole[: found.size] == b"".join(lines[: found.end.seq])
        assert bool(found.fault) == (found.size < cut)
    found = scan(KEYS, KEYS.start, lines[0] + lines[2] + lines[3])
    assert (1, len(lines[0]), "it was changed, or what stood before it was") == (found.end.seq, found.size, found.fault)


def test_a_digest_names_what_was_sent_and_hides_it() -> None:
    """The same parts give the same digest, the same bytes cut otherwise another, and another secret as well."""
    assert KEYS.digest(b"POST", b"/a", b"x") == KEYS.digest(b"POST", b"/a", b"x")
    assert KEYS.digest(b"POST", b"/a", b"x") == Keys(SECRET, "two").digest(b"POST", b"/a", b"x"), "servers can compare"
    others = [KEYS.digest(b"POST", b"/ax", b""), KEYS.digest(b"POS", b"T/a", b"x"), Keys(b"s" * 32, "one").digest(b"")]
    assert KEYS.digest(b"POST", b"/a", b"x") not in others


def test_members_are_those_of_an_object() -> None:
    """No number that JSON does not have."""
    assert {"a": 1, "b": "é\n"} == json.loads("{" + members({"a": 1, "b": "é\n"}) + "}")
    with pytest.raises(ValueError, match="JSON"):
        members({"a": float("nan")})
