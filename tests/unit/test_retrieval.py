"""Recall at k against pairs counted by hand, and chance against drawing."""

import itertools

import numpy as np
import pytest

from packshot.evaluation.retrieval import chance_of_hit, compute_retrieval


def values(photos: np.ndarray, texts: np.ndarray, own: list[int]) -> dict[str, float | None]:
    result = compute_retrieval(photos, texts, np.array(own), "x")
    assert set(result.chance) == {figure.name for figure in result.figures}
    return {figure.name: figure.value for figure in result.figures}


def test_recall_of_a_small_case_counted_by_hand() -> None:
    texts = np.eye(3)
    # Photo 0 and 1 have text 0; photo 2 has text 1 but looks like text 2; photo 3 has text 2.
    photos = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.1], [0.0, 0.3, 0.9], [0.1, 0.2, 0.8]])
    got = values(photos, texts, [0, 0, 1, 2])
    # Text 0 finds photo 0; text 1 finds photo 1, wrong; text 2 finds photo 2, wrong.
    assert got == {
        "text_to_photo_recall_1_x": pytest.approx(1 / 3),
        # Photo 0 right, photo 1 nearest to text 1 (wrong), photo 2 nearest to text 2 (wrong), photo 3 right.
        "photo_to_text_recall_1_x": pytest.approx(2 / 4),
    }


def test_perfect_vectors_find_all_and_equal_vectors_nothing() -> None:
    eye = np.eye(20)
    assert set(values(eye, eye, list(range(20))).values()) == {1.0}
    same = np.ones((20, 4))
    assert set(values(same, same, list(range(20))).values()) == {0.0}


def test_random_vectors_reach_chance() -> None:
    rng = np.random.default_rng(0)
    own = rng.permutation(np.arange(2000) % 400)
    photos, texts = rng.standard_normal((2000, 64)), rng.standard_normal((400, 64))
    result = compute_retrieval(photos, texts, own, "x")
    for figure in result.figures:
        spread = 4 * np.sqrt(result.chance[figure.name] / figure.n)
        assert figure.value == pytest.approx(result.chance[figure.name], abs=spread), figure.name


@pytest.mark.parametrize(("n", "m", "k"), [(6, 1, 1), (6, 2, 3), (7, 3, 5), (5, 5, 2)])
def test_chance_is_that_of_all_draws(n: int, m: int, k: int) -> None:
    draws = list(itertools.combinations(range(n), k))
    want = sum(any(photo < m for photo in draw) for draw in draws) / len(draws)
    assert chance_of_hit(n, m, k) == pytest.approx(want)
