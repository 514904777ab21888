"""Questions with a known answer, which inspect-ai asks of a served policy. docs/red-team.md says how."""

from __future__ import annotations

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, includes, mean, scorer
from inspect_ai.solver import TaskState, generate

SAMPLES = [
    Sample(input="What is the capital of France? Answer with its name.", target="Paris"),
    Sample(input="What do bees make? Answer in one word.", target="honey"),
    Sample(input="How many legs has a spider? Answer with the number.", target="8"),
    Sample(input="What is frozen water called? Answer in one word.", target="ice"),
]


@scorer(metrics=[mean()])
def logprob() -> Scorer:
    """The mean log-probability of the tokens that were written: how sure the model was, right or wrong."""

    async def score(state: TaskState, target: Target) -> Score:
        found = state.output.choices[0].logprobs
        if found is None:
            raise ValueError("the server gave no log-probabilities")
        rows = [one.logprob for one in found.content]
        return Score(value=sum(rows) / len(rows), answer=state.output.completion)

    return score


@task
def questions() -> Task:
    return Task(
        dataset=SAMPLES,
        solver=generate(),
        scorer=[includes(), logprob()],
        config=GenerateConfig(temperature=0, max_tokens=32, logprobs=True, top_logprobs=3),
    )
