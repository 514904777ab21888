from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from accord.data import film_posters, film_reviews
from accord.data.records import read_records
from tests.fixtures.film_reviews import make_ratings_files

REVIEWS = {
    "sft": 8,
    "proxy": 8,
    "gold_validation": 8,
    "gold_test": 8,
    "pair_test": 80,
    "test_prompts": 8,
    "prompts": 80,
}
READ = partial(make_ratings_files, 200)


def test_drafts_and_prompts_are_of_texts_that_are_in_no_other_part(tmp_path: Path) -> None:
    film_posters.prepare(tmp_path, read=READ, reviews=REVIEWS, sizes={"drafts": 16, "test_prompts": 24})
    others = film_reviews.split(film_reviews.parse(*READ()), REVIEWS)
    own = {item.text for item in others.pop("pair_test")}
    drafts = read_records(tmp_path / "drafts.jsonl", "comparisons")
    assert [len(one.responses) for one, _ in drafts] == [4] * 4
    assert all(judgements == () for _, judgements in drafts)
    texts = {response.text for one, _ in drafts for response in one.responses}
    assert len(texts) == 16
    assert texts <= own
    test, prompts = (read_records(tmp_path / f"{name}.jsonl", "prompts") for name in ("test_prompts", "prompts"))
    assert 0 < len(test) <= 24
    assert 0 < len(prompts) <= 40
    assert (
        {one.risk_category for one in (*test, *prompts)} == {"hype"} == {one.prompt.risk_category for one, _ in drafts}
    )
    openings = [one.prefill for one in (*test, *prompts)]
    assert len(set(openings)) == len(openings), "no opening is both trained on and tested on"
    assert all(any(text.startswith(opening) for text in own - texts) for opening in openings)
    assert len({one.id for one in (*test, *prompts)}) == len(openings)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["parts"]["drafts"] == {"kind": "comparisons", "num_records": 4}
