"""EleutherAI's lm-evaluation-harness over the server, against transformers in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import accord
from accord.models.policy import Policy
from tests.clients.conftest import Run

CLIENT = "lm-eval"


class Plain:
    """What lm-eval's HFLM computes in process: the same tokens, and transformers' own model."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder)

    def loglikelihood(self, context: str, continuation: str) -> tuple[float, bool]:
        """Summed over the continuation's tokens; and whether each of them is the most probable."""
        stripped = context.rstrip()
        whole, start = self.ids(context + continuation), len(self.ids(stripped))
        if not context:  # a sequence begins with what the tokenizer says
            whole, start = [self.tokenizer.bos_token_id, *whole], 1
        with torch.no_grad():
            rows = self.model(torch.tensor([whole])).logits[0].float().log_softmax(dim=1)[start - 1 : -1]
        picked = rows[range(len(rows)), whole[start:]]
        return float(picked.sum()), bool((picked == rows.amax(dim=1)).all())

    def greedy(self, text: str, num: int) -> str:
        given = torch.tensor([self.ids(text)])
        whole = self.model.generate(given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=num)
        return str(self.tokenizer.decode(whole[0, given.shape[1] :], skip_special_tokens=True))

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))


def until(text: str) -> str:
    """As the task `answers` cuts it."""
    return min((text.partition(stop)[0] for stop in ("\n\n", "##")), key=len)


@pytest.fixture(scope="module")
def plain(tiny_model: Path) -> Plain:
    return Plain(tiny_model)


def arguments(url: str, path: str, **more: Any) -> str:
    return json.dumps({"model": "tiny", "base_url": f"{url}/v1/{path}", "max_length": 256, "max_retries": 1, **more})


@pytest.mark.parametrize("more", [{"batch_size": 4}, {"num_concurrent": 4, "tokenized_requests": False}])
def test_likelihoods(run_client: Run, address: str, plain: Plain, more: dict[str, Any]) -> None:
    """With the server's tokenizer; batched by the client, and by the server; asked as token ids, and as texts."""
    model = arguments(address, "completions", **more)
    found = run_client("run_lm_eval.py", "accord_endings", "local-completions", model, "plain")
    answers = [(asked, one) for row in found["rows"] for asked, one in zip(row["asked"], row["answered"], strict=True)]
    assert len(answers) == 11
    for (context, continuation), ((logprob, greedy),) in answers:
        expected = plain.loglikelihood(context, continuation)
        assert (logprob, greedy) == (pytest.approx(expected[0], abs=1e-3), expected[1])
    assert 0 <= found["results"]["acc,none"] <= 1


def test_answers_to_texts(run_client: Run, address: str, plain: Plain) -> None:
    model = arguments(address, "completions", batch_size=2)
    found = run_client("run_lm_eval.py", "accord_answers", "local-completions", model, "plain")
    for row in found["rows"]:
        ((question, _),) = row["asked"]
        assert row["answered"] == [[until(plain.greedy(question, 16))]]


def test_answers_in_a_chat(run_client: Run, address: str, tiny_model: Path) -> None:
    policy = accord.Policy(Policy.load(tiny_model), tiny_model)
    model = arguments(address, "chat/completions", num_concurrent=3)
    found = run_client("run_lm_eval.py", "accord_answers", "local-chat-completions", model, "chat")
    assert len(found["rows"]) == 3
    for row in found["rows"]:
        ((asked, _),) = row["asked"]
        (message,) = json.loads(asked[0] if isinstance(asked, list) else asked)
        ((text,),) = policy.sample([message["content"]], max_response_tokens=16, temperature=0)
        assert row["answered"] == [[until(text)]]
