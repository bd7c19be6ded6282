"""Text as numbers without a vocabulary: the words of a text, and of each word the hashes of its letter groups.

A word that was never seen shares letter groups with those that were, so "dresses" lies near "dress" (Bojanowski et al.
2017, "Enriching Word Vectors with Subword Information", arXiv:1607.04606). Nothing is learned and nothing is
downloaded: the numbers are a function of the text alone.

Letters: N texts, T words, G letter groups of a word.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

WORDS = 24
GROUPS = 12
BUCKETS = 8192
PAD = 0

# Chinese and Japanese are written without spaces: each character is a word.
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|[^\W_{_IDEOGRAPH}]+(?:[-'’][^\W_{_IDEOGRAPH}]+)*")
_JOINT = re.compile(r"[-'’]")
_LONE = re.compile(rf"[{_IDEOGRAPH}]")


def split_words(text: str) -> list[str]:
    """Returns the words of a text, in order: compatibility forms and case folded, hyphens taken out.

    "T-Shirt" is one word, "tshirt"; "黑色 Dress" is three.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [_JOINT.sub("", word) for word in _WORD.findall(folded)]


def tokenize(texts: Sequence[str]) -> np.ndarray:
    """Returns int64 [N, T, G]: the buckets (1 .. BUCKETS - 1) of the letter groups of each word; 0 where there is none.

    A word's first group is the word itself; then come its runs of three letters, "<" and ">" at its ends, and for a
    Chinese character the pair with the next one. Words after the 24th and groups after the 12th are left out.
    """
    out = np.full((len(texts), WORDS, GROUPS), PAD, np.int64)
    for row, text in zip(out, texts, strict=True):
        words = split_words(text)[:WORDS]
        for cell, word, following in zip(row, words, [*words[1:], ""], strict=False):
            pair = word + following if _LONE.fullmatch(word) and _LONE.fullmatch(following) else ""
            buckets = _buckets(word, pair)
            cell[: len(buckets)] = buckets
    return out


@functools.lru_cache(maxsize=65536)
def _buckets(word: str, pair: str) -> tuple[int, ...]:
    marked = f"<{word}>"
    groups = [marked, *(marked[i : i + 3] for i in range(len(marked) - 2))] if len(word) > 1 else [marked]
    # A group may stand in a word twice; once is enough.
    return tuple(_bucket(g) for g in dict.fromkeys([*groups, *([pair] if pair else [])]))[:GROUPS]


def _bucket(group: str) -> int:
    return 1 + int.from_bytes(blake2b(group.encode(), digest_size=8).digest(), "big") % (BUCKETS - 1)
