import json
import random
from contextlib import suppress

import pytest

from accord.data.formats.fields import Defect
from accord.data.formats.label_studio import convert, recognise
from accord.data.formats.options import ReadOptions
from accord.data.formats.readers import read_source
from accord.data.formats.reading import Row
from accord.types import Judgement, Message, RatedText, Response

DATA = {"prompt": "Name a colour.", "answer1": "Red.", "answer2": "A tree."}


def result(type, value, name="control", to="answer1,answer2"):
    return {"id": "x", "from_name": name, "to_name": to, "type": type, "value": value}


def annotation(*results, by=1, **more):
    return {"id": 9, "completed_by": by, "was_cancelled": False, "result": list(results), "lead_time": 1.5} | more


def task(*annotations, data=DATA, **more):
    return {"id": 7, "data": data, "annotations": list(annotations), "predictions": []} | more


def minimal(data=DATA, **more):
    """As JSON-MIN has it: one row an annotation."""
    about = {"id": 7, "annotator": 3, "annotation_id": 70, "created_at": "2024-01-01", "lead_time": 1.5}
    return data | about | more


LEFT = result("pairwise", {"selected": "left"})
RIGHT = result("pairwise", {"selected": "right"})


def only(values, **columns):
    assert recognise(values)
    ((kind, record),) = convert(Row("export.json[0]", values), columns)
    return kind, record


def grades(values, **columns):
    kind, (_, judgements) = only(values, **columns)
    assert kind == "comparisons"
    return {judgement.annotator: judgement.grades for judgement in judgements}


def refused(values, **columns):
    with pytest.raises(Defect) as caught:
        convert(Row("export.json[0]", values), columns)
    return caught.value


def test_a_pairwise_choice_of_several_annotators():
    values = task(
        annotation(LEFT), annotation(RIGHT, by={"id": 2, "email": "bob@example.org"}), annotation(RIGHT, by=None)
    )
    kind, (comparison, judgements) = only(values)
    assert (kind, comparison.id) == ("comparisons", "7")
    assert comparison.prompt.messages == (Message("user", "Name a colour."),)
    assert comparison.responses == (Response("Red."), Response("A tree."))
    assert judgements == (
        Judgement("7", "1", (1.0, 0.0)),
        Judgement("7", "2", (0.0, 1.0)),
        Judgement("7", "annotator 3", (0.0, 1.0)),
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (result("choices", {"choices": ["B"]}), (0.0, 1.0)),
        (result("choices", {"choices": ["Answer 1 is better"]}), (1.0, 0.0)),
        (result("choices", {"choices": ["Tie"]}), (0.0, 0.0)),
        (result("choices", {"choices": ["answer1", "answer2"]}), (0.0, 0.0)),  # both boxes, and no order
        (result("ranker", {"ranker": {"rank": ["answer2", "answer1"], "_": []}}), (0.0, 1.0)),
    ],
)
def test_other_answers_that_order_two_responses(given, expected):
    assert grades(task(annotation(given))) == {"1": expected}


def test_ratings_of_each_response():
    stars = [result("rating", {"rating": 2}, "stars1", "answer1"), result("rating", {"rating": 5}, "stars2", "answer2")]
    assert grades(task(annotation(*stars))) == {"1": (2.0, 5.0)}


def test_a_ranked_list():
    data = {
        "prompt": "Name a colour.",
        "items": [
            {"id": "x", "title": "one", "body": "Red."},
            {"id": "y", "body": "Blue."},
            {"id": "z", "body": "Tree."},
        ],
    }
    values = task(annotation(result("ranker", {"ranker": {"rank": ["y", "x"], "_": ["z"]}})), data=data)
    kind, (comparison, judgements) = only(values)
    assert kind == "comparisons"
    assert [response.text for response in comparison.responses] == ["Red.", "Blue.", "Tree."]
    assert judgements[0].grades == (0.0, 1.0, None)
    buckets = {"ranker": {"good": ["y", "x"], "bad": ["z"]}}
    defect = refused(task(annotation(result("ranker", buckets)), data=data))
    assert (defect.field, defect.what) == (
        "annotations[0].result[0]",
        "sorts into several lists, and which is better is not told: good, bad",
    )


def test_cancelled_annotations_do_not_count():
    values = task(annotation(LEFT, was_cancelled=True), annotation(RIGHT, by=2))
    assert grades(values) == {"2": (0.0, 1.0)}
    defect = refused(task(annotation(LEFT, was_cancelled=True)))
    assert (defect.field, defect.what, defect.code) == ("annotations", "holds no answer (1 cancelled)", "unanswered")
    assert refused(task()).what == "holds no answer"


def test_the_last_annotation_of_an_annotator_counts():
    later, earlier = annotation(LEFT, created_at="2024-02-01"), annotation(RIGHT, created_at="2024-01-01")
    assert grades(task(later, earlier)) == {"1": (1.0, 0.0)}


def test_completions_of_old_versions():
    old = {"id": 7, "data": DATA, "completions": [{"result": [LEFT]}, {"result": [RIGHT], "skipped": True}]}
    assert grades(old) == {"annotator 1": (1.0, 0.0)}


def test_a_written_answer_is_a_demonstration():
    values = task(
        annotation(result("textarea", {"text": ["Red,", "I think."]}, "answer")), data={"prompt": "A colour?"}
    )
    kind, record = only(values)
    assert (kind, record.prompt.id, record.response.text) == ("demonstrations", "7", "Red,\nI think.")


def test_a_label_of_one_response_and_ratings_of_a_text():
    values = task(
        annotation(result("choices", {"choices": ["Bad"]})), data={"prompt": "A colour?", "response": "Tree."}
    )
    kind, record = only(values)
    assert (kind, record.good) == ("labelled", False)
    stars = [annotation(result("rating", {"rating": stars}, to="text"), by=stars) for stars in (4, 5)]
    assert only(task(*stars, data={"text": "A fine film."})) == ("ratings", RatedText("7", "A fine film.", (4.0, 5.0)))


def test_paragraphs_are_turns():
    turns = [
        {"author": "Human", "text": "Hi"},
        {"author": "Assistant", "text": "Yes?"},
        {"author": "Human", "text": "Why?"},
    ]
    kind, (comparison, _) = only(task(annotation(LEFT), data=DATA | {"prompt": turns}))
    assert kind == "comparisons"
    assert comparison.prompt.messages[1:] == (Message("assistant", "Yes?"), Message("user", "Why?"))


def test_json_min():
    """The shapes are those that the converter of label_studio_sdk 2.1 writes."""
    kind, (comparison, judgements) = only(minimal(comparison=[{"selected": "right"}]))
    assert (kind, comparison.id, comparison.prompt.id) == ("comparisons", "7-70", "7")
    assert judgements == (Judgement("7-70", "3", (0.0, 1.0)),)
    assert grades(minimal(better="A", why="short")) == {"3": (1.0, 0.0)}
    assert grades(minimal(stars1=[{"rating": 4}], stars2=[{"rating": 1}])) == {"3": (4.0, 1.0)}
    data = {"prompt": "A colour?", "items": [{"id": "x", "body": "Red."}, {"id": "y", "body": "Blue."}]}
    assert grades(minimal(data, rank=[{"ranker": {"rank": ["y", "x"]}}])) == {"3": (0.0, 1.0)}
    kind, record = only(minimal({"prompt": "A colour?", "response": "Tree."}, correction="Red."))
    assert (kind, record.response.text) == ("demonstrations", "Red.")


def test_json_min_with_an_answer_that_is_called_as_a_field():
    values = minimal({"prompt": "A colour?"}, answer="Red.")
    defect = refused(values)
    assert defect.what == (
        "holds no answer (JSON-MIN does not tell which text is one: name it, columns: {question: ...}, or export JSON)"
    )
    kind, record = only(values, question="answer")
    assert (kind, record.response.text) == ("demonstrations", "Red.")


@pytest.mark.parametrize("values", [{"data": {}}, {"data": "x", "annotations": []}, {"prompt": "a", "id": 1}, {}])
def test_other_rows_are_not_recognised(values):
    assert not recognise(values)


@pytest.mark.parametrize("options", [ReadOptions(), ReadOptions(format="label-studio", columns={"prompt": "ask"})])
def test_an_export_is_read_as_what_it_is(options, tmp_path):
    path = tmp_path / "export.json"
    data = {"ask" if options.columns else "prompt": "A colour?", "answer1": "Red.", "answer2": "A tree."}
    path.write_text(json.dumps([task(annotation(LEFT), data=data), task(data=data, id=8)]))
    reading = read_source(str(path), options)
    assert (reading.kind, len(reading.records)) == ("comparisons", 1)
    assert [str(flaw) for flaw in reading.flaws] == [f"{path}[1]:annotations: holds no answer"]


def test_broken_exports_are_defects_and_nothing_else():
    generator = random.Random(1)
    data = {"prompt": "A colour?", "items": [{"id": "x", "body": "Red."}, {"id": "y", "body": "Blue."}]}
    good = [
        task(annotation(LEFT), annotation(result("choices", {"choices": ["B"]}, "better"))),
        task(annotation(result("ranker", {"ranker": {"rank": ["y", "x"]}})), data=data),
        minimal(comparison=[{"selected": "right"}], fix="Blue."),
        minimal(data, rank=[{"ranker": {"rank": ["y", "x"]}}]),
    ]
    junk = [
        None,
        True,
        5,
        -1e9,
        "",
        "x",
        [],
        {},
        [None],
        [[]],
        {"a": 1},
        {"ranker": 3},
        [{"rating": "x"}],
        {"number": None},
    ]

    def mutate(value):
        if generator.random() < 0.15:
            return generator.choice(junk)
        if isinstance(value, dict):
            return {key: mutate(one) for key, one in value.items() if generator.random() > 0.05}
        return [mutate(one) for one in value] if isinstance(value, list) else value

    num_records = 0
    for _ in range(500):
        values = mutate(generator.choice(good))
        if isinstance(values, dict) and recognise(values):
            with suppress(Defect):
                num_records += len(convert(Row("a.json[0]", values)))
    assert num_records > 20
