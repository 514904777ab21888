import pytest

from accord.data.formats.answers import Answer, Order, Responses, orders, words

TWO = ["response-1", "response-2"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("answer1", ("answer", "1")),
        ("modelResponse_B", ("model", "response", "b")),
        ("Response A", ("response", "a")),
        ("HTMLText", ("html", "text")),
        ("Réponse 2", ("réponse", "2")),
        ("", ()),
    ],
)
def test_words_of_a_name(name, parts):
    assert words(name) == parts


@pytest.mark.parametrize(
    ("names", "said", "index"),
    [
        (TWO, "response-2", 1),
        (TWO, "Response 2", 1),
        (TWO, "2", 1),
        (TWO, "B", 1),
        (TWO, "the right one is better", 1),
        (TWO, "left", 0),
        (TWO, "3", None),
        (TWO, "A is better than B", None),
        (TWO, "", None),
        (["response_0", "response_1"], "1", 1),  # its own number, and not its place
        (["response_0", "response_1"], "2", None),
        (["answer_a", "answer_b", "answer_c"], "3", 2),
        (["answer_a", "answer_b", "answer_c"], "left", None),
        (["chosen", "rejected"], "chosen", 0),
        (["x7", "x9"], "x9", 1),
    ],
)
def test_which_response_a_label_means(names, said, index):
    assert Responses(names).index(said) == index


@pytest.mark.parametrize(
    ("value", "grades"),
    [
        ("response-2", (0.0, 1.0, 0.0)),
        (("response-2",), (0.0, 1.0, 0.0)),
        ("about the same", (0.0, 0.0, 0.0)),
        ("both are bad", (0.0, 0.0, 0.0)),
        ("too long", None),
        (4.0, None),
        (Order((("3",), ("1", "2"))), (0.0, 0.0, 1.0)),
        (Order((("3",), ("1",), ("2",))), (1.0, 0.0, 2.0)),
        (Order((("3",), ("1",))), (0.0, None, 1.0)),
        (Order((("3",), ("3",))), None),
        (Order((("4",),)), None),
        (("3", "1", "2"), (0.0, 0.0, 0.0)),  # all of them: labels have no order
        (("3", "1"), None),  # which of the two is better is not said
    ],
)
def test_grades_of_an_answer(value, grades):
    assert Responses(["response-1", "response-2", "response-3"]).grades(value) == grades


def test_ratings_of_single_responses_are_one_question():
    answers = [Answer("quality-1", "ann", 4.0), Answer("quality-2", "ann", 2.0), Answer("quality-2", "bob", 5.0)]
    assert orders(answers, Responses(TWO)) == {"quality": {"ann": (4.0, 2.0), "bob": (None, 5.0)}}


@pytest.mark.parametrize("question", ["rating-response-2", "response-2-rating", "rating_2", "2_rating", "ratingB"])
def test_questions_about_one_response(question):
    assert orders([Answer(question, "ann", 4.0)], Responses(TWO)) == {"rating": {"ann": (None, 4.0)}}


def test_the_tool_may_tell_which_response_a_rating_is_about():
    answers = [Answer("stars", "ann", 4.0, about="response-2"), Answer("length", "ann", 3.0)]
    assert orders(answers, Responses(TWO)) == {"rating": {"ann": (None, 4.0)}}


def test_answers_about_something_else_are_left_out():
    assert orders([Answer("topic", "ann", "sports"), Answer("mood", "ann", 3.0)], Responses(TWO)) == {}
