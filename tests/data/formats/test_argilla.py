import json
import random

import pytest

from accord.data.formats.argilla import convert, recognise
from accord.data.formats.fields import Defect
from accord.data.formats.readers import read_source
from accord.data.formats.reading import Row
from accord.types import Comparison, Judgement, LabelledResponse, Message, PlainText, RatedText, Response

FIELDS = {"prompt": "Name a colour.", "response-1": "Red.", "response-2": "No.", "response-3": "Blue, for one."}
RANKING = [{"value": "response-3", "rank": 1}, {"value": "response-1", "rank": 1}, {"value": "response-2", "rank": 3}]
IDS = {"id": "r1", "status": "completed", "_server_id": "5f"}


def nested(fields, responses, **more):
    """As records.to_json of Argilla 2 writes it."""
    return IDS | {"fields": fields, "metadata": {}, "suggestions": {}, "responses": responses, "vectors": {}} | more


def flat(fields, question, answers, **more):
    """As to_datasets of Argilla 2 writes it. answers: (value, user, status)."""
    values, users, statuses = ([answer[i] for answer in answers] for i in range(3))
    made = {f"{question}.responses": values, f"{question}.responses.users": users}
    return IDS | fields | made | {f"{question}.responses.status": statuses} | more


def records(values, **columns):
    assert recognise(values)
    return convert(Row("export.json[0]", values), columns)


def only(values, **columns):
    ((kind, record),) = records(values, **columns)
    return kind, record


def grades(values, **columns):
    kind, (_, judgements) = only(values, **columns)
    assert kind == "comparisons"
    return {judgement.annotator: judgement.grades for judgement in judgements}


def refused(values, **columns):
    with pytest.raises(Defect) as caught:
        records(values, **columns)
    return caught.value


def test_a_ranking_of_argilla_2_as_json():
    values = nested(
        FIELDS, {"ranking": [{"value": RANKING, "user_id": "ann"}], "why": [{"value": "x", "user_id": "ann"}]}
    )
    kind, (comparison, judgements) = only(values)
    assert kind == "comparisons"
    texts = ("Red.", "No.", "Blue, for one.")
    assert comparison.prompt.messages == (Message("user", "Name a colour."),)
    assert comparison == Comparison("r1", comparison.prompt, tuple(map(Response, texts)))
    assert judgements == (Judgement("r1", "ann", (1.0, 0.0, 1.0)),)


def test_the_same_ranking_flattened_counts_what_was_submitted():
    other = [{"value": "response-2", "rank": 1}, {"value": "response-1", "rank": 2}, {"value": "response-3", "rank": 3}]
    answers = [(RANKING, "ann", "submitted"), (other, "bob", "draft"), (other, "eve", "submitted")]
    values = flat(FIELDS, "ranking", answers, topic="colours", **{"ranking.suggestion": ["response-2"]})
    assert grades(values) == {"ann": (1.0, 0.0, 1.0), "eve": (1.0, 2.0, 0.0)}


def test_argilla_1_as_json():
    responses = [
        {"user_id": "ann", "values": {"ranking": {"value": RANKING}}, "status": "submitted"},
        {"user_id": "bob", "values": {"ranking": {"value": RANKING}}, "status": "discarded"},
        {"user_id": None, "values": {"ranking": {"value": RANKING[1:]}}, "status": "submitted"},
        {"user_id": "eve", "values": None, "status": "discarded"},
    ]
    values = {"fields": FIELDS, "responses": responses, "suggestions": [], "external_id": None}
    assert grades(values) == {"ann": (1.0, 0.0, 1.0), "annotator 3": (1.0, 0.0, None)}
    kind, (comparison, _) = only(values)
    assert (kind, comparison.id) == ("comparisons", "export-0")


@pytest.mark.parametrize("as_lists", [False, True])
def test_argilla_1_as_a_data_set_of_the_hub(as_lists):
    answers = [
        {"user_id": "ann", "value": RANKING, "status": "submitted"},
        {"user_id": "bob", "value": RANKING, "status": "discarded"},
    ]
    column = {key: [answer[key] for answer in answers] for key in answers[0]} if as_lists else answers
    if as_lists:
        column["value"] = [{key: [one[key] for one in RANKING] for key in RANKING[0]}] * 2
    more = {
        "ranking-suggestion": {"value": []},
        "ranking-suggestion-metadata": {},
        "external_id": "x1",
        "metadata": "{}",
    }
    assert grades(FIELDS | {"ranking": column} | more) == {"ann": (1.0, 0.0, 1.0)}


def test_a_list_of_names_alone_is_a_ranking_where_its_question_is_named():
    answer = [{"value": ["response-2", "response-3", "response-1"], "user_id": "ann"}]
    assert grades(nested(FIELDS, {"ranking": answer}), question="ranking") == {"ann": (0.0, 2.0, 1.0)}
    defect = refused(nested(FIELDS, {"ranking": answer}))
    assert (defect.code, defect.what) == (
        "ambiguous",
        "ranking lists all responses, which may be a ranking or several labels. "
        "If it ranks, the best first, name it: columns: {question: ...}",
    )
    topics = {"topics": [{"value": ["art", "science", "trees"], "user_id": "ann"}]}
    assert grades(nested(FIELDS, topics | {"better": [{"value": "2", "user_id": "ann"}]})) == {"ann": (0.0, 1.0, 0.0)}
    answer = [{"value": [{"value": name} for name in ("response-2", "response-3", "response-1")], "user_id": "ann"}]
    assert grades(nested(FIELDS, {"ranking": answer})) == {"ann": (0.0, 2.0, 1.0)}


def test_a_label_and_ratings_order_responses():
    fields = {"question": "Why?", "answer_a": "So.", "answer_b": "Because."}
    said = [{"value": "B", "user_id": "ann"}, {"value": "tie", "user_id": "bob"}]
    assert grades(nested(fields, {"better": said})) == {"ann": (0.0, 1.0), "bob": (0.0, 0.0)}
    rated = {"rating_a": [{"value": 2, "user_id": "ann"}], "rating_b": [{"value": 5, "user_id": "ann"}]}
    assert grades(nested(fields, rated)) == {"ann": (2.0, 5.0)}


def test_several_questions_that_order_need_a_choice():
    said = {name: [{"value": name, "user_id": "ann"}] for name in ("response-1", "response-2")}
    answers = {"helpful": said["response-1"], "honest": said["response-2"]}
    defect = refused(nested(FIELDS, answers))
    assert (defect.code, defect.what) == (
        "ambiguous",
        "several questions would do: helpful, honest. Name one: columns: {question: ...}",
    )
    assert grades(nested(FIELDS, answers), question="honest") == {"ann": (0.0, 1.0, 0.0)}
    assert refused(nested(FIELDS, answers), question="fun").what == "holds no answer to fun, but to helpful, honest"


def test_a_chat_and_fields_that_the_user_names():
    chat = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Why?"},
    ]
    fields = {"talk": chat, "x": [{"role": "assistant", "content": "So."}], "y": "Because."}
    said = {"better": [{"value": "y", "user_id": "ann"}]}
    kind, (comparison, judgements) = only(nested(fields, said), prompt="talk", responses=["x", "y"])
    assert (kind, judgements[0].grades) == ("comparisons", (0.0, 1.0))
    assert [message.role for message in comparison.prompt.messages] == ["user", "assistant", "user"]
    assert comparison.responses == (Response("So."), Response("Because."))


def test_texts_of_annotators_are_demonstrations():
    values = nested({"prompt": "Name a colour.", "response": "Tree."}, {
        "correction": [{"value": "Red.", "user_id": "ann"}, {"value": "Blue.", "user_id": "bob"}],
        "comment": [{"value": "A tree is no colour.", "user_id": "ann"}],
    })  # fmt: skip
    found = records(values)
    assert [kind for kind, _ in found] == ["demonstrations", "demonstrations"]
    assert [(one.prompt.id, one.response.text) for _, one in found] == [("r1-1", "Red."), ("r1-2", "Blue.")]
    kind, one = only(nested({"prompt": "Is it?"}, {"answer": [{"value": "Yes", "user_id": "ann"}]}))
    assert (kind, one.response.text) == ("demonstrations", "Yes")


def test_a_topic_is_no_demonstration():
    values = nested({"prompt": "Name a colour."}, {"topic": [{"value": "art", "user_id": "ann"}]})
    assert refused(values).what == "no answer tells what to learn (topic: 'art'); the fields are prompt"
    kind, one = only(values, question="topic")
    assert (kind, one.response.text) == ("demonstrations", "art")


def test_good_and_bad_responses():
    fields = {"prompt": "Name a colour.", "response": "Red."}
    said = [{"value": value, "user_id": user} for user, value in [("ann", "Good"), ("bob", "not good"), ("eve", "yes")]]
    kind, record = only(nested(fields, {"answer_quality": said}))
    assert kind == "labelled"
    assert isinstance(record, LabelledResponse)
    assert record.good
    defect = refused(nested(fields, {"answer_quality": said[:2]}))
    assert (defect.code, defect.what) == ("divided", "as many annotators call it good as bad: 1")


def test_a_rating_of_one_response_waits_for_the_others_to_its_prompt():
    values = nested({"prompt": "Name a colour.", "response": "Red."}, {"score": [{"value": 4, "user_id": "ann"}]})
    kind, (comparison, judgements) = only(values)
    assert (kind, comparison.responses) == ("comparisons", (Response("Red."),))
    assert judgements == (Judgement("r1", "ann", (4.0,)),)


def test_a_rating_and_a_correction_need_a_choice():
    fields = {"prompt": "Name a colour.", "response": "Tree."}
    answers = {"score": [{"value": 1, "user_id": "ann"}], "corrected": [{"value": "Red.", "user_id": "ann"}]}
    assert refused(nested(fields, answers)).code == "ambiguous"
    assert only(nested(fields, answers), question="corrected")[0] == "demonstrations"


def test_rated_texts():
    values = flat({"text": "A fine film."}, "stars", [(4, "ann", "submitted"), (5, "bob", "submitted")])
    assert only(values) == ("ratings", RatedText("r1", "A fine film.", (4.0, 5.0)))


def test_a_record_that_nobody_answered_says_what_was_left_out():
    answers = [(RANKING, "ann", "draft"), (RANKING, "bob", "discarded"), (RANKING, "eve", "draft")]
    defect = refused(flat(FIELDS, "ranking", answers))
    assert (defect.field, defect.what, defect.code) == (
        "responses",
        "holds no answer (1 discarded, 2 draft)",
        "unanswered",
    )
    unanswered = IDS | FIELDS | {"ranking.responses": None, "ranking.responses.users": None, "m": None}
    assert refused(unanswered).what == "holds no answer"
    assert refused(nested(FIELDS, {"ranking": []})).what == "holds no answer"


def test_an_answer_that_is_not_understood():
    defect = refused(nested(FIELDS, {"best": [{"value": "the long one", "user_id": "ann"}]}))
    assert defect.code == "unclear-answer"
    assert defect.what == (
        "no answer tells what to learn (best: 'the long one'); the responses are response-1, response-2, response-3"
    )


def test_defects_of_the_responses_name_the_fields():
    answers = {"ranking": [{"value": RANKING, "user_id": "ann"}]}
    defect = refused(nested(FIELDS | {"response-2": ""}, answers))
    assert (defect.field, defect.code) == ("response-2", "empty-response")
    defect = refused(nested(FIELDS | {"response-2": True}, answers))
    assert (defect.field, defect.code) == ("response-2", "wrong-type")


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"data": {}, "annotations": []},
        {"fields": "a", "responses": []},
        {"text": "a", "ratings": [1]},
        {"prompt": "a", "responses": [{"user_id": 1}]},
        {},
    ],
)
def test_other_rows_are_not_recognised(values):
    assert not recognise(values)


def test_an_export_is_read_as_what_it_is(tmp_path):
    path = tmp_path / "export.json"
    answered = flat(FIELDS, "ranking", [(RANKING, "ann", "submitted")])
    path.write_text(json.dumps([answered, answered | {"id": "r2", "ranking.responses.status": ["draft"]}]))
    reading = read_source(str(path))
    assert (reading.kind, reading.num_rows, reading.places) == ("comparisons", 2, [f"{path}[0]"])
    assert [str(flaw) for flaw in reading.flaws] == [f"{path}[1]:responses: holds no answer (1 draft)"]


def test_broken_exports_are_defects_and_nothing_else():
    generator = random.Random(1)
    good = [
        nested(FIELDS, {"ranking": [{"value": RANKING, "user_id": "ann"}]}),
        flat(FIELDS, "ranking", [(RANKING, "ann", "submitted")]),
        {"fields": FIELDS, "responses": [{"user_id": "a", "values": {"q": {"value": RANKING}}, "status": "submitted"}]},
        FIELDS | {"q": [{"user_id": "ann", "value": RANKING, "status": "submitted"}]},
    ]
    junk = [None, True, 5, -1e9, "", "x", [], {}, [None], [[]], {"a": 1}, {"value": [1], "rank": []}, [{"value": None}]]

    def mutate(value):
        if generator.random() < 0.15:
            return generator.choice(junk)
        if isinstance(value, dict):
            return {key: mutate(one) for key, one in value.items() if generator.random() > 0.05}
        return [mutate(one) for one in value] if isinstance(value, list) else value

    for _ in range(500):
        values = mutate(generator.choice(good))
        values = values if isinstance(values, dict) else {}
        json.dumps(values)
        recognise(values)
        try:
            for kind, record in convert(Row("a.json[0]", values)):
                assert kind
                assert not isinstance(record, PlainText)
        except Defect:
            pass
