import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.data import film_reviews
from accord.data.film_reviews import GROUND_TRUTH, PARTS, RATINGS, normalise, opening, parse, prepare, split
from accord.data.records import read_records
from accord.errors import UserError
from accord.types import Message, RatedText
from tests.fixtures.film_reviews import make_ratings_files

SIZES = {
    "sft": 10,
    "proxy": 24,
    "gold_validation": 16,
    "gold_test": 16,
    "pair_test": 12,
    "test_prompts": 8,
    "prompts": 50,
}
TRUTH = b"1\t1.5\tA warm, funny film.\r\n2\t-2.0\tDreadful \xe2\x80\x93 truly.  \r\n"
RATED = b"1\t1.5\t0.5\t[1, 2]\r\n2\t-2.0\t0\t[-2, -2, -2]"


def test_parse_joins_the_two_files():
    assert parse(TRUTH, RATED) == [
        RatedText("1", "A warm, funny film.", (1.0, 2.0)),
        RatedText("2", "Dreadful \u2013 truly.", (-2.0, -2.0, -2.0)),
    ]


@pytest.mark.parametrize(
    ("truth", "rated", "place"),
    [
        (TRUTH.replace(b"1.5\t", b"1.5 "), RATED, f"{GROUND_TRUTH}:1: 2 fields"),
        (TRUTH.replace(b"\xe2\x80\x93", b"\xe2"), RATED, f"{GROUND_TRUTH}:2: byte 16 of the line is not UTF-8"),
        (TRUTH.replace(b"1.5\t", b"much\t"), RATED, f"{GROUND_TRUTH}:1: 'much' is not a number"),
        (TRUTH.replace(b"1.5\t", b"nan\t"), RATED, f"{GROUND_TRUTH}:1: the mean is nan"),
        (TRUTH.replace(b"-2.0\t", b"-2.02\t"), RATED, f"{GROUND_TRUTH}:2: the mean is -2.02"),
        (TRUTH, RATED.replace(b"1.5\t", b"1.52\t"), f"{RATINGS}:1: the mean is 1.52"),
        (TRUTH, RATED.replace(b"\n2", b"\n3"), f"{RATINGS}:2: the id is '3', but '2'"),
        (TRUTH.replace(b"\n2", b"\n1"), RATED.replace(b"\n2", b"\n1"), f"{GROUND_TRUTH}:2: the id '1' stands"),
        (TRUTH, RATED.replace(b"[1, 2]", b"[1, 2"), f"{RATINGS}:1: the ratings are not"),
        (TRUTH, RATED.replace(b"[1, 2]", b"[]"), f"{RATINGS}:1: the ratings are not"),
        (TRUTH, RATED.replace(b"[1, 2]", b"[1, 5]"), f"{RATINGS}:1: 5 is not a rating"),
        (TRUTH, RATED.replace(b"[1, 2]", b'[1, "2"]'), f"{RATINGS}:1: '2' is not a rating"),
        (TRUTH, RATED.replace(b"[1, 2]", b"[1, NaN]"), f"{RATINGS}:1: nan is not a rating"),
        (TRUTH, RATED.split(b"\r\n")[0], f"{RATINGS}:1: 1 lines, but the ground truth has 2"),
        (TRUTH.replace(b"A warm, funny film.", b" "), RATED, f"{GROUND_TRUTH}:1: the text is empty"),
    ],
)
def test_parse_says_where_the_files_are_malformed(truth, rated, place):
    with pytest.raises(UserError) as caught:
        parse(truth, rated)
    assert str(caught.value).startswith(place)


def test_a_mean_may_differ_by_its_rounding():
    assert len(parse(TRUTH.replace(b"1.5\t", b"1.509\t"), RATED)) == 2


def test_normalise():
    assert normalise("  Well-made,  it ISN'T_so\t\u201cbad\u201d! ") == "wellmade it isntso bad"


def rated(id_, text):
    return RatedText(id_, text, (1.0,))


def test_split_is_disjoint_exact_and_independent_of_the_files_order():
    items = parse(*make_ratings_files(150, num_duplicates=20))
    parts = split(items, SIZES)
    assert [len(part) for part in parts.values()] == [10, 24, 16, 16, 12, 8, 50]
    ids = [item.id for part in parts.values() for item in part]
    assert len(ids) == len(set(ids)) == 136
    again = split(items[::-1], SIZES)
    assert {name: {item.id for item in part} for name, part in again.items()} == {
        name: {item.id for item in part} for name, part in parts.items()
    }
    # The file's first half is good and its second half bad, and every part has some of both.
    assert all(any(item.mean > 0 for item in part) and any(item.mean < 0 for item in part) for part in parts.values())


def test_duplicates_stay_together():
    items = [rated(str(i), f"Film number {i}.") for i in range(30)]
    items += [rated(f"{i} again", f"film  NUMBER {i}!") for i in range(30)]
    parts = split(items, {"first": 8, "second": 20, "rest": 100})
    assert [len(part) for part in parts.values()] == [8, 20, 32]
    for part in parts.values():
        ids = {item.id for item in part}
        assert all(id_.removesuffix(" again") in ids and id_.removesuffix(" again") + " again" in ids for id_ in ids)


def test_a_text_that_does_not_fit_goes_on_to_the_next_part_so_sizes_are_exact():
    items = [rated(str(i), f"Film number {i}.") for i in range(40)]
    items += [rated(f"{i} again", f"Film number {i}") for i in range(12)]
    parts = split(items, {"a": 11, "b": 11, "c": 11, "rest": 100})
    assert [len(part) for part in parts.values()] == [11, 11, 11, 19]


def test_too_few_snippets_are_an_error_only_for_the_last_part_they_are_not():
    items = [rated(str(i), f"Film number {i}.") for i in range(5)]
    assert len(split(items, {"a": 4, "b": 10})["b"]) == 1
    with pytest.raises(UserError, match=r"5 snippets are too few: 1 of 2 left for b"):
        split(items, {"a": 4, "b": 2, "c": 1})
    twins = [rated("1", "The same."), rated("2", "the same")]  # an odd size cannot be filled without parting them
    with pytest.raises(UserError, match=r"2 snippets are too few: 0 of 1 left for a"):
        split(twins, {"a": 1, "rest": 5})


@given(st.lists(st.text(st.characters(categories=["L", "P"]), min_size=1, max_size=4), min_size=3, max_size=9))
def test_an_opening_has_two_to_five_words_and_leaves_one(words):
    text = "  ".join(words)
    prefill = opening(text)
    assert text.startswith(prefill + " ")
    given_words = prefill.split()
    assert given_words == words[: len(given_words)]
    assert 2 <= len(given_words) <= min(5, len(words) - 1)


def test_openings_of_every_length_are_about_equally_frequent():
    counts = [len(opening(f"One two three four five six seven {i}").split()) for i in range(400)]
    assert all(70 <= counts.count(length) <= 130 for length in (2, 3, 4, 5))  # 100 +- 3.5 standard deviations


def test_records_of_every_part():
    items = parse(*make_ratings_files(150))
    items[0] = rated("short", "Just awful.")
    parts = split(items, SIZES | {"prompts": 100})
    made = film_reviews.records(parts)
    ask = (Message("user", "Write one line of a film review."),)

    assert [(d.prompt.messages, d.prompt.prefill, d.response.text) for d in made["sft"]] == [
        (ask, "", item.text) for item in parts["sft"]
    ]
    assert [len(made[name]) for name in ("proxy", "gold_validation", "gold_test")] == [3, 2, 2]
    comparison, (judgement,) = made["proxy"][1]
    group = parts["proxy"][8:16]
    assert [response.text for response in comparison.responses] == [item.text for item in group]
    assert judgement.grades == tuple(sum(item.ratings) / 15 for item in group)
    assert (judgement.comparison_id, judgement.annotator) == (comparison.id, "mean of raters")
    assert (comparison.prompt.messages, comparison.prompt.prefill) == (ask, "")
    assert made["pair_test"] == parts["pair_test"]
    texts = {item.id: item.text for item in items}
    for prompt in [*made["test_prompts"], *made["prompts"]]:
        assert prompt.messages == ask
        assert texts[prompt.id].startswith(prompt.prefill + " ")


def test_a_snippet_of_two_words_gives_no_prompt():
    items = [rated("1", "Just awful."), rated("2", "Just plain awful.")]
    assert [prompt.id for prompt in film_reviews.records({"prompts": items})["prompts"]] == ["2"]


def test_prepare_writes_every_part_and_a_summary(tmp_path):
    files = make_ratings_files(130)
    prepare(tmp_path, read=lambda: files, sizes=SIZES | {"prompts": 40})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["num_snippets"], summary["num_unused"]) == (130, 4)  # 10 + 24 + 16 + 16 + 12 + 8 + 40 = 126
    assert summary["parts"]["proxy"] == {"kind": "comparisons", "num_snippets": 24, "num_records": 3}
    made = film_reviews.records(split(parse(*files), SIZES | {"prompts": 40}))
    for part, kind in PARTS.items():
        assert read_records(tmp_path / f"{part}.jsonl", kind) == made[part]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(f"{p}.jsonl" for p in PARTS), "summary.json"])


def test_the_real_sizes_use_every_snippet_in_whole_groups():
    assert list(film_reviews.SIZES) == list(PARTS)
    assert sum(film_reviews.SIZES.values()) == 10_605
    assert all(film_reviews.SIZES[part] % 8 == 0 for part, kind in PARTS.items() if kind == "comparisons")


def test_the_package_is_pinned_by_its_hash():
    (line,) = [row for row in film_reviews.REQUIREMENTS.read_text().splitlines() if not row.startswith("#")]
    assert line == (
        "vaderSentiment==3.3.2 --hash=sha256:5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
    )
