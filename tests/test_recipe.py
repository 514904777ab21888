"""Recipes: the frame, the lines, the overrides, and one clear error for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.errors import UserError
from accord.overrides import apply_overrides
from accord.recipe import Recipe, load_recipe, parse_recipe

GOOD = """\
# a comment
model: tiny
seed: 7
data:
  reviews: builtin:made-up
  more: {source: files, limit: 5}
steps:
  - sft: {data: reviews.sft, optimizer: {rate: 0.5}}
  - reward:
      name: proxy
      data: reviews.proxy
  - evaluate:
"""


def parse(text: str) -> Recipe:
    return parse_recipe(text, Path("r.yaml"))


def error_of(text: str) -> UserError:
    with pytest.raises(UserError) as caught:
        parse(text)
    return caught.value


def test_the_frame_and_its_lines():
    recipe = parse(GOOD)
    assert (recipe.model, recipe.seed) == ("tiny", 7)
    assert [(one.name, one.source, one.options, one.line) for one in recipe.data] == [
        ("reviews", "builtin:made-up", {}, 5),
        ("more", "files", {"limit": 5}, 6),
    ]
    assert [(one.kind, one.name, one.line) for one in recipe.steps] == [
        ("sft", "sft", 8),
        ("reward", "proxy", 9),
        ("evaluate", "evaluate", 12),
    ]
    sft, proxy, evaluate = recipe.steps
    assert sft.config == {"data": "reviews.sft", "optimizer": {"rate": 0.5}}
    assert proxy.config == {"data": "reviews.proxy"}
    assert evaluate.config == {}
    assert proxy.key_lines == {("name",): 10, ("data",): 11}
    assert recipe.where(proxy, ("data",)) == "r.yaml:11:proxy.data"
    assert recipe.where(sft, ("optimizer", "rate")) == "r.yaml:8:sft.optimizer.rate"
    assert recipe.where(sft, ("missing",)) == "r.yaml:8:sft.missing"


def test_seed_and_data_have_defaults():
    recipe = parse("model: m\nsteps: [{sft: null}]\n")
    assert (recipe.seed, recipe.data) == (1, ())


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "r.yaml", "empty"),
        ("# nothing\n", "r.yaml", "empty"),
        ("- a\n", "r.yaml:1", "a recipe is a map"),
        ("model: m\nstep: []\n", "r.yaml:2:step", "unknown key 'step'\n  Did you mean 'steps'?"),
        ("steps: [{sft: {}}]\n", "r.yaml:1", "'model' is missing"),
        ("model: m\n", "r.yaml:1", "'steps' is missing"),
        ("model: 3\nsteps: [{sft: {}}]\n", "r.yaml:1:model", "not a name"),
        ("model: m\nseed: true\nsteps: [{sft: {}}]\n", "r.yaml:2:seed", "whole number"),
        ("model: m\nseed: -1\nsteps: [{sft: {}}]\n", "r.yaml:2:seed", "whole number"),
        ("model: m\nsteps: []\n", "r.yaml:2:steps", "not a list"),
        ("model: m\nsteps:\n- sft\n", "r.yaml:3:steps.0", "one key"),
        ("model: m\nsteps:\n- {a: {}, b: {}}\n", "r.yaml:3:steps.0", "one key"),
        ("model: m\nsteps:\n- sft: 3\n", "r.yaml:3:steps.0.sft", "not a map"),
        ("model: m\nsteps:\n- sft:\n- sft:\n", "r.yaml:4:steps.1.sft.name", "'sft' is taken, by line 3"),
        ("model: m\nsteps:\n- sft:\n- a: {name: SFT}\n", "r.yaml:4:steps.1.a.name", "taken"),
        ("model: m\nsteps:\n- sft: {name: latest}\n", "r.yaml:3:steps.0.sft.name", "reserved"),
        ("model: m\nsteps:\n- sft: {name: a.b}\n", "r.yaml:3:steps.0.sft.name", "not a name"),
        ("model: m\nsteps:\n- sft: {name: ../x}\n", "r.yaml:3:steps.0.sft.name", "not a name"),
        ("model: m\ndata: [x]\nsteps: [{sft: {}}]\n", "r.yaml:2:data", "not a map"),
        ("model: m\ndata: {d: {limit: 3}}\nsteps: [{sft: {}}]\n", "r.yaml:2:data.d", "needs a source"),
        ("model: m\ndata: {sft: x}\nsteps:\n- sft:\n", "r.yaml:4:steps.0.sft.name", "taken, by line 2"),
        ("model: m\nmodel: n\n", "r.yaml:2:model", "twice\n  It is on line 1"),
        ("model: m\nsteps:\n- sft: {a: 1, a: 2}\n", "r.yaml:3:steps.0.sft.a", "twice"),
        ("model: m\nsteps:\n\t- sft:\n", "r.yaml:3", "spaces instead of tabs"),
        ("model: [\n", "r.yaml:2", "not valid YAML"),
        ("model: m\n---\nmodel: n\n", "r.yaml:2", "not valid YAML"),
        ("model: &a m\nsteps: [{sft: {x: *a}}]\n", "r.yaml:1", "aliases"),
        ("&a [*a]", "r.yaml:1:0", "aliases"),
        ("model: m\nsteps:\n- sft: {x: !!python/name:os.system ''}\n", "r.yaml:3", "not valid YAML"),
        ("model: m\nsteps:\n- sft: !mine {x: 1}\n", "r.yaml:3", "tags"),
        ("model: m\nsteps:\n- sft: {when: 2020-01-02}\n", "r.yaml:3:steps.0.sft.when", "type date"),
        ("model: m\nsteps:\n- sft: {x: .nan}\n", "r.yaml:3:steps.0.sft.x", "finite"),
        ("model: m\nsteps:\n- sft: {x: 9223372036854775808}\n", "r.yaml:3:steps.0.sft.x", "below 2^63"),
        ("model: m\nsteps:\n- sft: {x: 2020-99-99}\n", "r.yaml:3:steps.0.sft.x", "cannot be read"),
        ("model: m\nsteps:\n- sft: {x: !!int ''}\n", "r.yaml:3:steps.0.sft.x", "cannot be read"),
        ('model: "\\ud800"\nsteps:\n- sft:\n', "r.yaml:1:model", "cannot be read"),
        ('model: "\\U00110000"\nsteps:\n- sft:\n', "r.yaml", "not valid YAML"),
        ("model: m\nsteps:\n- sft: {1: x}\n", "r.yaml:3", "not text"),
        ("model: m\n? [a]\n: b\n", "r.yaml:2", "not text"),
        ("model: m\nx: \x01\n", "r.yaml:2", "not valid YAML"),
        ("[" * 1200, "r.yaml", "too deep"),
    ],
)
def test_one_clear_error(text: str, where: str, what: str):
    error = error_of(text)
    assert what in str(error)
    assert error.where.startswith(where)
    assert error.remedy


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(tmp_path)
    bad = tmp_path / "latin.yaml"
    bad.write_bytes(b"model: m\n# \xff\n")
    with pytest.raises(UserError, match="not UTF-8") as caught:
        load_recipe(bad)
    assert caught.value.where == f"{bad}:2"


def test_overrides():
    recipe = apply_overrides(
        parse(GOOD),
        ["seed=2", "model=other", "proxy.data=[a, b]", "sft.optimizer.rate=1", "sft.new.deep=x", "more.limit=9"],
    )
    assert (recipe.seed, recipe.model) == (2, "other")
    assert recipe.steps[0].config == {"data": "reviews.sft", "optimizer": {"rate": 1}, "new": {"deep": "x"}}
    assert recipe.steps[1].config == {"data": ["a", "b"]}
    assert recipe.data[1].options == {"limit": 9}
    assert recipe.overrides[0] == "seed=2"
    assert recipe.where(recipe.steps[1], ("data", 1)) == "--set proxy.data.1"
    assert recipe.where(recipe.steps[0], ("data",)) == "r.yaml:8:sft.data"
    assert parse(GOOD).steps[0].config == {"data": "reviews.sft", "optimizer": {"rate": 0.5}}


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("prxy.data=x", "Did you mean 'proxy'?"),
        ("reward.data=x", "Known: cluster, evaluate, model, more, proxy"),  # a kind is no name
        ("proxy", "NAME.KEY=VALUE"),
        ("proxy=3", "proxy.KEY=VALUE"),
        ("proxy..data=3", "NAME.KEY=VALUE"),
        ("=3", "NAME.KEY=VALUE"),
        ("proxy.name=x", "in the recipe"),
        ("proxy.data.x=3", "It is 'reviews.proxy'"),
        ("seed=x", "seed"),
        ("model=", "built-in"),
        ("more.source=3", "builtin"),
        ("proxy.data=[", "Correct"),
    ],
)
def test_bad_overrides(override: str, remedy: str):
    with pytest.raises(UserError) as caught:
        apply_overrides(parse(GOOD), [override])
    assert caught.value.where.startswith(f"--set {override}")
    assert remedy in caught.value.remedy


PIECES = st.one_of(
    st.text(max_size=3),
    st.sampled_from(
        [":", "- ", "{", "}", "[", "]", "\t", "\n", "'", '"', "&a ", "*a", "!!", "<<: ", "0x", "~", "---", "%"]
    ),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(edits=st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 8), PIECES), min_size=1, max_size=4))
def test_mutations_give_a_recipe_or_a_user_error(edits: list[tuple[int, int, str]]):
    text = GOOD
    for at, cut, piece in edits:
        text = text[:at] + piece + text[at + cut :]
    try:
        where = str(parse(text).path)
    except UserError as error:
        where = error.where
    assert where.startswith("r.yaml")
