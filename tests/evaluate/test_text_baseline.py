import numpy as np
import pytest

from accord.data.film_reviews import parse
from accord.errors import UserError
from accord.evaluate.text_baseline import TextRidge, rated_pairs
from accord.types import RatedText
from tests.fixtures.film_reviews import make_ratings_files


def test_the_ridge_learns_which_words_are_good_and_is_deterministic():
    items = parse(*make_ratings_files(160, seed=1))
    train, test = items[::2], items[1::2]
    train_texts, test_texts = [item.text for item in train], [item.text for item in test]
    means = np.array([item.mean for item in train])
    scores = TextRidge().fit(train_texts, means).predict(test_texts)
    test_means = np.array([item.mean for item in test])
    assert scores.shape == (80,)
    assert np.mean(np.sign(scores) == np.sign(test_means)) >= 0.95
    assert np.array_equal(scores, TextRidge().fit(train_texts, means).predict(test_texts))

    shuffled = np.random.default_rng(0).permutation(means)  # without the relation there is nothing to learn
    nothing = TextRidge().fit(train_texts, shuffled).predict(test_texts)
    assert np.mean(np.sign(nothing) == np.sign(test_means)) < 0.75


def test_the_penalty_has_the_least_leave_one_out_error():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    items = parse(*make_ratings_files(24, seed=2))
    texts, means = [item.text for item in items], np.array([item.mean for item in items])
    features = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit_transform(texts).toarray()

    def error(alpha):
        kept = [np.delete(np.arange(24), i) for i in range(24)]
        left_out = [Ridge(alpha).fit(features[k], means[k]).predict(features[[i]])[0] for i, k in enumerate(kept)]
        return np.mean((np.array(left_out) - means) ** 2)

    assert TextRidge().fit(texts, means).alpha == min((0.1, 0.3, 1.0, 3.0, 10.0), key=error)


def test_texts_without_a_common_word_cannot_be_fitted():
    with pytest.raises(UserError, match="no word occurs in two of the 2 texts"):
        TextRidge().fit(["bright", "dull"], [1.0, -1.0])


def items_with(*means):
    return [RatedText(str(i), f"text {i}", (mean,)) for i, mean in enumerate(means)]


def test_fewer_pairs_than_asked_for_are_all_of_them_in_random_order_and_direction():
    # |differences| of at least 0.5: 0-1 (2.0), 0-2 (0.5, by rounding 0.4999...), 1-2, 1-3 (2.1), 2-3 (0.6)
    a, b = rated_pairs(items_with(1.4, -0.6, 0.9, 1.5), seed=3)
    assert {frozenset(pair) for pair in zip(a.tolist(), b.tolist(), strict=True)} == {
        frozenset(pair) for pair in ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))
    }
    assert len(a) == len(b) == 5


@pytest.mark.parametrize("min_difference", [0.0, 0.5, 1.0])
def test_the_pairs_are_distinct_and_differ_enough(min_difference):
    means = np.random.default_rng(0).integers(-20, 21, size=60) / 10
    items = items_with(*means.tolist())
    everything = {
        frozenset((i, j)) for i in range(60) for j in range(i) if abs(means[i] - means[j]) >= min_difference - 1e-9
    }
    a, b = rated_pairs(items, min_difference=min_difference, num_pairs=10**6, seed=1)
    assert len(a) == len(everything)
    assert {frozenset(pair) for pair in zip(a.tolist(), b.tolist(), strict=True)} == everything

    a, b = rated_pairs(items, min_difference=min_difference, num_pairs=200, seed=1)
    some = {frozenset(pair) for pair in zip(a.tolist(), b.tolist(), strict=True)}
    assert len(a) == len(some) == 200
    assert some < everything
    assert 70 <= np.sum(means[a] > means[b]) <= 130  # either of a pair may come first: 100 +- 4 standard deviations


def test_pairs_are_uniform_and_depend_on_the_seed_alone():
    items = items_with(0.0, 1.0, 2.0, 3.0)
    counts = np.zeros((4, 4))
    for seed in range(1200):
        a, b = rated_pairs(items, num_pairs=1, seed=seed)
        counts[a[0], b[0]] += 1
    ordered = counts[~np.eye(4, dtype=bool)]
    assert ordered.sum() == 1200
    assert np.all(np.abs(ordered - 100) <= 40)  # 12 ordered pairs, 100 each, standard deviation 9.6
    first, second = rated_pairs(items, seed=5), rated_pairs(items, seed=5)
    assert all(np.array_equal(x, y) for x, y in zip(first, second, strict=True))


@pytest.mark.parametrize("items", [[], items_with(1.0), items_with(1.0, 1.2)])
def test_no_pair_at_all(items):
    a, b = rated_pairs(items, seed=0)
    assert (a.shape, b.shape) == ((0,), (0,))
    assert a.dtype == b.dtype == np.int64
