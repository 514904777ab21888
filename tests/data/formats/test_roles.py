import pytest

from accord.data.formats.fields import Defect
from accord.data.formats.roles import find_roles, plain, response_names


def roles(*names, **columns):
    return find_roles(dict.fromkeys(names, "text"), columns)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["prompt", "response1", "response2"], {"prompt": "prompt", "responses": ["response1", "response2"]}),
        (["Instruction", "answer-B", "answer-A"], {"prompt": "Instruction", "responses": ["answer-A", "answer-B"]}),
        (["query", "reply_10", "reply_9", "a"], {"prompt": "query", "responses": ["reply_9", "reply_10"]}),
        (["input", "rejected", "chosen"], {"prompt": "input", "responses": ["chosen", "rejected"]}),
        (["question", "context", "model_output"], {"prompt": ["question", "context"], "completion": "model_output"}),
        (["instruction", "input", "output"], {"prompt": ["instruction", "input"], "completion": "output"}),
        (["system_prompt", "prompt", "topic"], {"system": "system_prompt", "prompt": "prompt"}),
        (["review", "topic"], {"text": "review"}),
        (["snippet"], {"text": "snippet"}),
        (["answer"], {"text": "answer"}),
    ],
)  # fmt: skip
def test_usual_names(names, found):
    assert roles(*names) == found


def test_a_list_of_responses():
    fields = {"prompt": "p", "items": [{"id": "x", "body": "a"}, {"id": "y", "body": "b"}]}
    assert find_roles(fields, {}) == {"prompt": "prompt", "responses": "items"}
    assert response_names(fields["items"]) == ["x", "y"]
    assert response_names(["a", "b"]) == ["1", "2"]


def test_nothing_is_put_behind_turns():
    fields = {"messages": [{"role": "user", "content": "Hi"}], "context": "c", "response": "r"}
    assert find_roles(fields, {}) == {"prompt": "messages", "completion": "response"}


def test_the_user_names_fields():
    assert roles("ask", "one", "two", prompt="ask", responses=["one", "two"]) == {
        "prompt": "ask",
        "responses": ["one", "two"],
    }
    assert roles("prompt", "response1", "response2", completion="response2") == {
        "prompt": "prompt",
        "completion": "response2",
    }
    assert roles("prompt", "body", text="body") == {"text": "body"}


def test_a_field_that_is_not_there():
    with pytest.raises(Defect) as caught:
        roles("ask", "reply", prompt="question")
    assert caught.value.what == "columns: prompt is to be 'question', and the fields are ask, reply"


@pytest.mark.parametrize("names", [["ask", "response1", "response2"], ["ask", "other"], []])
def test_fields_that_tell_nothing(names):
    with pytest.raises(Defect, match=r"no field is the prompt by its name: .*Name it with columns: \{prompt: FIELD\}"):
        roles(*names)


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [
        ("text", "text"),
        ([], []),
        (["a", "b"], ["a", "b"]),
        ([{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Hi"}]),
        ([{"role": "assistant", "content": "Hi"}], "Hi"),
        ([{"author": "Human", "text": "Hi"}], [{"role": "user", "content": "Hi"}]),
        ([{"id": "x", "title": "T", "body": "B"}, {"id": "y", "html": "H"}], ["B", "H"]),
        ([{"id": "x"}], [{"id": "x"}]),
        ([{"author": "Ann", "other": "Hi"}], [{"author": "Ann", "other": "Hi"}]),
    ],
)
def test_values_of_fields(value, is_plain):
    assert plain(value) == is_plain
