"""The watermark's code against independent arithmetic: checksum, convolution, distance; and what it corrects."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.release import codes
from packshot.release.codes import CODED_BITS, GENERATORS, ID_BITS, RATE, WORD_BITS, K, decode_id, decode_ids, encode_id

IDS = st.integers(0, 2**ID_BITS - 1)
CORRECTED = 21
"""Flipped bits that a code of distance 44 always corrects."""


def openpgp_crc24(data: bytes) -> int:
    """RFC 4880, section 6.1, byte by byte."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc


def word_of(ident: int) -> np.ndarray:
    bits = f"{ident:040b}{openpgp_crc24(ident.to_bytes(5, 'big')):024b}"
    return np.array([int(b) for b in bits])


def test_the_oracle_gives_the_published_check_value():
    assert openpgp_crc24(b"123456789") == 0x21CF02


@given(IDS)
def test_checksum_is_openpgps(ident: int):
    assert codes.checksum(ident) == openpgp_crc24(ident.to_bytes(5, "big"))


@given(IDS)
@settings(max_examples=30)
def test_coded_bits_are_the_circular_convolution_of_the_word(ident: int):
    word, expected = word_of(ident), np.zeros((WORD_BITS, RATE), int)
    for number, generator in enumerate(GENERATORS):
        taps = [int(b) for b in f"{generator:0{K}b}"]  # The first is the newest bit's.
        for age, tap in enumerate(taps):
            expected[:, number] += tap * np.roll(word, age)
    assert np.array_equal(encode_id(ident), 1 - 2 * (expected.ravel() % 2))


@given(IDS, st.data())
@settings(max_examples=40)
def test_any_few_flipped_bits_are_corrected(ident: int, data: st.DataObject):
    flipped = data.draw(st.sets(st.integers(0, CODED_BITS - 1), max_size=CORRECTED))
    belief = encode_id(ident)
    belief[list(flipped)] *= -1
    assert decode_id(belief) == ident


@given(IDS, st.integers(0, CODED_BITS - 1), st.floats(1e-6, 1e6))
@settings(max_examples=30)
def test_a_burst_of_lost_bits_and_the_scale_do_not_matter(ident: int, first: int, scale: float):
    belief = encode_id(ident) * np.float32(scale)
    belief[(first + np.arange(60)) % CODED_BITS] = 0
    assert decode_id(belief) == ident


def test_soft_noise_as_strong_as_the_bits_is_corrected_and_nothing_wrong_is_read():
    rng = np.random.default_rng(1)
    idents = [int(i) for i in rng.integers(1 << ID_BITS, size=60)]
    sent = np.stack([encode_id(i) for i in idents])
    noise = rng.normal(size=sent.shape)
    assert decode_ids(sent + 1.0 * noise) == idents  # 16 % of the bits have the wrong sign.
    hard = decode_ids(sent + 2.0 * noise)
    assert all(found in (None, ident) for found, ident in zip(hard, idents, strict=True))
    assert hard.count(None) < 60


def test_together_they_are_decoded_as_alone():
    rng = np.random.default_rng(2)
    beliefs = np.stack([encode_id(int(i)) for i in rng.integers(1 << ID_BITS, size=12)])
    beliefs += np.linspace(0.5, 2.5, 12)[:, None] * rng.normal(size=beliefs.shape)
    alone = [decode_id(b) for b in beliefs]
    assert decode_ids(beliefs) == alone
    assert None in alone and any(a is not None for a in alone)


def test_noise_is_no_id():
    rng = np.random.default_rng(3)
    assert decode_ids(rng.normal(size=(300, CODED_BITS))) == [None] * 300


@pytest.mark.parametrize("value", [0, 1, -1, 1e-30])
def test_beliefs_that_say_nothing_are_no_id(value: float):
    assert decode_id(np.full(CODED_BITS, value, np.float32)) is None


def test_a_word_whose_checksum_is_wrong_is_no_id():
    good, other = encode_id(123), encode_id(456)
    # The code is linear: the sum of two words with their checksums lacks the checksum's first value.
    assert decode_id(good * other) is None


def test_free_distance_is_what_the_module_says():
    """Dijkstra over the states: the lightest way that leaves state 0 and comes back."""
    half = 1 << (K - 1)

    def step(state: int, bit: int) -> tuple[int, int]:
        register = bit << (K - 1) | state
        return register >> 1, sum((register & g).bit_count() & 1 for g in GENERATORS)

    state, weight = step(0, 1)
    queue, known = [(weight, state)], {}
    while queue:
        weight, state = heapq.heappop(queue)
        if state == 0:
            break
        if state in known:
            continue
        known[state] = weight
        for bit in (0, 1):
            following, more = step(state, bit)
            heapq.heappush(queue, (weight + more, following))
    assert state == 0 and weight == 44 and len(known) <= half


def test_ids_that_differ_in_one_bit_lie_far_apart():
    for ident in (0, 0xA5A5A5A5A5, 2**ID_BITS - 1):
        for bit in range(ID_BITS):
            assert np.count_nonzero(encode_id(ident) != encode_id(ident ^ 1 << bit)) >= 44


@pytest.mark.parametrize("ident", [-1, 2**ID_BITS])
def test_ids_out_of_range(ident: int):
    with pytest.raises(ValueError, match="40 bits"):
        encode_id(ident)


def test_the_code_stays_what_it_is():
    """Marks that are out in the world are read by it: a change needs another `lattice.MARK` and a second reader."""
    assert "".join("01"[int(b < 0)] for b in encode_id(0x123456789A)[:48]) == GOLDEN


GOLDEN = "100110100100101110100010100111100110111101001101"
