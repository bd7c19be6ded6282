"""Merkle trees against RFC 6962's own definition and published vectors; training sets on disk."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.errors import PackshotError
from packshot.core.lineage import INHERITED, OWN, TrainingSet, inherited_from, trained_on
from packshot.core.merkle import inclusion_proof, merkle_root, verify_inclusion

VECTORS = [b"", b"\0", b"\x10", b"\x20\x21", b"\x30\x31", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"]
ROOTS = {  # Of the test vectors of Certificate Transparency's reference implementation.
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
LEAVES = st.lists(st.binary(min_size=0, max_size=8), max_size=40)


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962, section 2.1, writes it down."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = max(2**i for i in range(20) if 2**i < len(leaves))
    return hashlib.sha256(b"\1" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


@pytest.mark.parametrize("size", ROOTS)
def test_published_roots(size: int) -> None:
    assert merkle_root(VECTORS[:size]).hex() == ROOTS[size]


@given(LEAVES)
def test_the_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    assert merkle_root(leaves) == by_definition(leaves)


@given(LEAVES.filter(len), st.data())
def test_every_leaf_has_a_proof_and_nothing_else_has(leaves: list[bytes], data: st.DataObject) -> None:
    root, n = merkle_root(leaves), len(leaves)
    index = data.draw(st.integers(0, n - 1))
    path = inclusion_proof(leaves, index)
    assert verify_inclusion(root, n, index, leaves[index], path)
    assert len(path) <= max(1, n - 1).bit_length()
    other = data.draw(st.binary(max_size=8).filter(lambda b: b != leaves[index]))
    assert not verify_inclusion(root, n, index, other, path)
    assert not verify_inclusion(root, n, index, leaves[index], [*path, root])
    assert not verify_inclusion(root, n, n, leaves[index], path) and not verify_inclusion(root, n, -1, leaves[0], path)
    if path:
        assert not verify_inclusion(root, n, index, leaves[index], path[:-1])
        spot = data.draw(st.integers(0, len(path) - 1))
        bad = [*path[:spot], bytes([path[spot][0] ^ 1]) + path[spot][1:], *path[spot + 1 :]]
        assert not verify_inclusion(root, n, index, leaves[index], bad)


def test_a_node_does_not_pass_for_a_leaf() -> None:
    leaves = [b"a", b"b"]
    pair = b"".join(hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves)
    assert merkle_root([pair]) != merkle_root(leaves)


def test_there_is_no_proof_of_what_is_not_there() -> None:
    with pytest.raises(IndexError):
        inclusion_proof([b"a"], 1)


def digest(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()


@given(st.lists(st.integers(0, 300), max_size=30))
def test_a_training_set_is_a_set(numbers: list[int]) -> None:
    known = TrainingSet.of(map(digest, numbers))
    assert known.root == by_definition(sorted({bytes.fromhex(digest(n)) for n in numbers})).hex()
    assert known.root == TrainingSet.of(map(digest, [*reversed(numbers), *numbers[:1]])).root
    assert len(known) == known.about()["photos"] == len(set(numbers))
    for n in (*numbers, 301):
        assert (digest(n) in known) is (n in numbers)
        proof = known.prove(digest(n))
        assert (proof is not None) is (n in numbers)
        if proof is not None:
            assert verify_inclusion(bytes.fromhex(known.root), len(known), proof[0], bytes.fromhex(digest(n)), proof[1])


def test_runs_know_what_they_and_their_origins_were_trained_on(tmp_path: Path) -> None:
    first, second, old = (tmp_path / name for name in ("first", "second", "old"))
    for folder in (first / "checkpoints", second, old):
        folder.mkdir(parents=True)
    TrainingSet.of([digest(1), digest(2)]).write(first / OWN)
    assert (first / OWN).stat().st_size == 64
    TrainingSet.of([digest(3)]).write(second / OWN)
    inherited = inherited_from([first / "checkpoints/1.safetensors", old / "model.safetensors"])
    assert inherited is not None and len(inherited) == 2
    inherited.write(second / INHERITED)
    assert [trained_on(second, digest(n)) for n in range(5)] == [False, True, True, True, False]
    assert [trained_on(first, digest(n)) for n in range(5)] == [False, True, True, False, False]
    third = inherited_from([second / "model.safetensors"])
    assert third is not None and len(third) == 3, "what was inherited was not handed on"
    assert inherited_from([old / "model.safetensors"]) is None
    with pytest.raises(PackshotError, match="every photo"):
        trained_on(old, digest(1))


@pytest.mark.parametrize("data", [b"x", b"\1" * 32 + b"\0" * 32, b"\1" * 64, b"\1" * 33], ids=len)
def test_a_damaged_list_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / OWN).write_bytes(data)
    with pytest.raises(PackshotError, match="damaged"):
        trained_on(tmp_path, digest(1))
