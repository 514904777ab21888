from __future__ import annotations

from xml.etree import ElementTree

from accord.monitor.lineage import final_models, lineage, plain_edges
from accord.monitor.lineage_picture import lineage_panel
from accord.monitor.narrow import NARROW
from accord.monitor.views import StepView

HOSTILE = "<script>alert(1)</script>"


def step(name: str, kind: str, *parents: str, of: int | None = None) -> StepView:
    inputs = {"from": {parent: f"key of {parent}" for parent in parents}}
    digest = f"{abs(hash(name)):064x}"[-64:]
    return StepView(name, kind, 1.0, False, f"key of {name}", {}, round=of, inputs=inputs, manifest={"digest": digest})


def rounds(num: int) -> list[StepView]:
    """A block of five steps in rounds, as a recipe of the Llama 2 kind has it."""
    steps = [step("model", "model"), step("mine", "data"), step("sft", "sft", "model", "mine")]
    for at in range(1, num + 1):
        before = f"ppo-{at - 1}" if at > 1 else "sft"
        labels = [f"labels-{one}" for one in range(1, at + 1)]
        steps += [
            step(f"pairs-{at}", "sample", before, of=at),
            step(f"labels-{at}", "collect", f"pairs-{at}", of=at),
            step(f"taste-{at}", "reward", "model", *labels, of=at),
            step(f"ppo-{at}", "ppo", before, f"taste-{at}", "mine", of=at),
            step(f"check-{at}", "evaluate", f"ppo-{at}", of=at),
        ]
    return steps


def test_the_rounds_of_a_block_are_one_node_for_each_step() -> None:
    found = lineage(rounds(8))
    assert list(found.nodes) == ["model", "mine", "sft", "pairs", "labels", "taste", "ppo"]
    assert found.nodes["ppo"].rounds == list(range(1, 9))
    assert found.again == ["ppo", "labels"]
    assert [node.name for node in found.finals] == ["ppo"]
    assert found.nodes["ppo"].layer > found.nodes["taste"].layer > found.nodes["labels"].layer > 0


def test_every_arrow_goes_down_and_none_that_others_imply_is_drawn() -> None:
    found = lineage(rounds(2))
    edges = plain_edges(found)
    assert all(found.nodes[of].layer < found.nodes[to].layer for of, to in edges)
    assert ("taste", "ppo") in edges
    assert ("mine", "ppo") not in edges, "by way of sft"
    assert ("model", "taste") not in edges, "by way of the labels"


def test_final_models_are_those_that_no_other_was_made_from() -> None:
    steps = [step("model", "model"), step("sft", "sft", "model"), step("a", "dpo", "sft"), step("b", "dpo", "sft")]
    assert [one.name for one in final_models(steps)] == ["a", "b"]
    taste = [step("model", "model"), step("taste", "reward", "model"), step("both", "combine", "taste")]
    assert [one.name for one in final_models(taste)] == ["both"]
    assert final_models([step("mine", "data")]) == []


def test_what_measures_is_not_on_the_way() -> None:
    assert "check" not in lineage(rounds(2)).nodes


def test_a_panel_has_a_picture_for_both_screens_and_a_group_of_rows_for_each_round() -> None:
    steps = rounds(7)
    panel = lineage_panel(steps)
    assert panel is not None
    assert [heading for heading, _ in panel.groups] == ["before, between and after the rounds"] + [
        f"round {at}" for at in range(1, 8)
    ]
    assert [row.name for row in panel.groups[1][1]] == ["pairs-1", "labels-1", "taste-1", "ppo-1"]
    ppo = next(one for one in steps if one.name == "ppo-7")
    assert panel.finals == [("ppo-7", ppo.manifest["digest"][:12])]
    wide, small = (ElementTree.fromstring(svg) for svg in (panel.picture, panel.picture.narrow))  # type: ignore[attr-defined]
    assert float(str(small.get("width"))) == NARROW
    for root in (wide, small):
        words = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "collect, rounds 1 to 7" in words
        assert all(
            0 <= float(str(node.get("x"))) <= float(str(root.get("width"))) for node in root.iter() if node.get("x")
        )
    assert panel.picture.csv.splitlines()[1].startswith("model,model,")


def test_a_recipe_without_rounds_is_one_group() -> None:
    panel = lineage_panel([step("model", "model"), step("sft", "sft", "model")])
    assert panel is not None
    assert [heading for heading, _ in panel.groups] == ["all steps"]
    assert lineage_panel([step("mine", "data")]) is None


def test_names_are_text() -> None:
    panel = lineage_panel([step("model", "model"), step(HOSTILE, "sft", "model")])
    assert panel is not None
    assert "<script>" not in panel.picture.__html__()
    ElementTree.fromstring(panel.picture)
