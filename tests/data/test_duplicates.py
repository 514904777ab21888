import random

import pytest

from accord.data.duplicates import Overlap, identity, near_duplicates, ngram_overlap, normalise

STORY = "Tell me a story about a small red fox that lives near the old mill by the river"


def words(start, stop):
    return " ".join(f"w{i}" for i in range(start, stop))


def test_case_punctuation_and_spaces_do_not_count():
    assert normalise("  It's   GREAT,\nreally_! ") == "its great really"


def test_texts_of_punctuation_alone_differ():
    assert normalise("?") == normalise("!") == ""
    assert identity(" ? ") == "?" != identity("!")
    assert near_duplicates(["?", "!", "?"]) == [{0, 2}]


def test_equal_and_nearly_equal_texts_are_one_group():
    texts = [STORY, "What is the capital of France?", STORY.lower() + "!", STORY + " please"]
    assert near_duplicates(texts) == [{0, 2, 3}]
    assert near_duplicates(texts, threshold=1) == [{0, 2}]


def test_short_texts_that_differ_in_one_word_are_not_joined():
    assert (
        near_duplicates(["What is the capital of France?", "What is the capital of Spain?", "Hello", "Hello you"]) == []
    )


def test_the_threshold_is_that_of_the_exact_similarity_of_three_words_in_a_row():
    """17 words have 15 shingles. One more word at the end: 15 / 16. Another first word: 14 / 16."""
    texts = [words(0, 17), words(0, 18)]
    assert near_duplicates(texts, threshold=15 / 16) == [{0, 1}]
    assert near_duplicates(texts, threshold=15 / 16 + 1e-9) == []
    texts = [words(0, 17), "x " + words(1, 17)]
    assert near_duplicates(texts, threshold=14 / 16) == [{0, 1}]
    assert near_duplicates(texts, threshold=14 / 16 + 1e-9) == []


def test_groups_are_transitive():
    texts = [words(0, 40), words(3, 43), words(6, 46)]  # neighbours 35 / 41, the ends 32 / 44
    assert near_duplicates(texts, threshold=0.8) == [{0, 1, 2}]
    assert near_duplicates([texts[0], texts[2]], threshold=0.8) == []


def test_groups_do_not_depend_on_the_order_of_the_texts():
    texts = [words(shift, shift + 40) for shift in (0, 3, 100, 103, 300, 6, 400)]
    order = list(range(len(texts)))
    random.Random(3).shuffle(order)
    shuffled = [{order[i] for i in group} for group in near_duplicates([texts[i] for i in order])]
    assert sorted(map(sorted, shuffled)) == [[0, 1, 5], [2, 3]]
    assert near_duplicates(texts) == [{0, 1, 5}, {2, 3}]


def test_every_pair_above_the_threshold_is_found():
    generator = random.Random(1)
    texts = []
    for _ in range(300):
        base = [f"v{generator.randrange(5000)}" for _ in range(48)]
        texts += [" ".join(base), " ".join([*base[:-1], "other", "words", "here"])]  # 45 of 49 shingles
    assert near_duplicates(texts) == [{i, i + 1} for i in range(0, 600, 2)]


def test_a_template_makes_no_texts_alike():
    template = words(0, 60)
    texts = [f"{template} Describe the town of {name}" for name in map(str, range(50))]
    assert near_duplicates(texts) == []
    assert near_duplicates(texts[:20]) == [set(range(20))]  # too few texts to call anything a template
    again = f"{template.upper()} Describe the town of 7!"
    assert near_duplicates([*texts, again]) == [{7, 50}]


def test_scripts_without_spaces_are_compared_by_characters():
    one = "请写一首关于秋天落叶的短诗要求押韵并且不超过四行"
    assert near_duplicates([one, one + "谢", "今天天气怎么样"]) == [{0, 1}]


def test_no_texts_no_groups():
    assert near_duplicates([]) == []
    assert ngram_overlap([], ["a"]) == ngram_overlap(["a"], []) == []


def test_the_overlap_is_the_share_of_the_evaluation_text():
    """15 words have three 13-grams; the text holds the first 14 words, so two of them."""
    hits = ngram_overlap(["x y " + words(0, 14) + " z", words(100, 130)], ["something else entirely", words(0, 15)])
    assert hits == [Overlap(0, 1, 2 / 3)]


def test_twelve_words_of_long_texts_are_no_overlap():
    assert ngram_overlap([words(0, 12) + " x y"], ["a b " + words(0, 12)]) == []
    assert ngram_overlap([words(0, 13) + " x y"], ["a b " + words(0, 13)]) == [Overlap(0, 0, 1 / 3)]


def test_a_short_evaluation_text_counts_as_a_whole():
    question = "Which river flows through Paris today?"
    assert ngram_overlap([f"Please answer: {question} In one word.", "which river flows"], [question]) == [
        Overlap(0, 0, 1.0)
    ]
    assert ngram_overlap(["a b c d e"], ["a b c d e"]) == []  # five words stand in innocent texts


def test_a_short_text_inside_a_long_evaluation_text_is_found():
    assert ngram_overlap([words(2, 9)], [words(0, 20)]) == [Overlap(0, 0, 1 / 14)]


def test_repeated_texts_are_each_named_and_equal_evaluation_texts_once():
    text, other = words(0, 20), words(0, 20).upper()
    assert ngram_overlap([text, "no", text], [text, other]) == [Overlap(0, 0, 1.0), Overlap(2, 0, 1.0)]


@pytest.mark.parametrize(("num_others", "num_hits"), [(10, 10), (11, 0)])
def test_an_n_gram_of_many_evaluation_texts_is_a_template(num_others, num_hits):
    others = [f"{words(0, 13)} name{i}" for i in range(num_others)]
    assert len(ngram_overlap([words(0, 13) + " other"], others)) == num_hits
