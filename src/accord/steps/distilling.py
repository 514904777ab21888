"""What context distillation asks, keeps and imitates; the part of the step `distill`. Not a step."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accord.data.preprompts import Preprompts, load_preprompts, with_preprompt
from accord.data.records import write_records
from accord.errors import UserError
from accord.seeds import derive_seed
from accord.steps.base import Job
from accord.steps.distill_asked import Asking, logits
from accord.steps.distill_measured import ask_before
from accord.steps.distill_tried import OUTCOMES, ask_again, judged, kept_of, preprompt_of, read_tried, write_tried
from accord.store.artifacts import MODEL
from accord.types import Demonstration, Prompt

if TYPE_CHECKING:
    from accord.store.checkpoints import Checkpoint
    from accord.text.template import Template

ASKING = "asking"  # the stage of its checkpoints
TRIED, BEST, CHOSEN = "tried.jsonl", "best.jsonl", "selection.json"


def wanted(config: Any, preprompts: Preprompts, given: Sequence[Prompt], label: str) -> list[Prompt]:
    """The prompts that are asked. Raises UserError where there are none, or one has no template."""
    taken = [prompt for prompt in given if prompt.is_safety or not config.only_adversarial]
    if not taken:
        what = f"none of the {len(given)} prompts has a risk_category, and adversarial prompts alone are distilled"
        remedy = "Give those a risk_category that were written to get an unsafe answer."
        raise UserError(what, where=f"{label}.prompts", remedy=f"{remedy} Or write `only_adversarial: false`.")
    left = taken[config.skip_prompts :][: config.num_prompts]
    if not left:
        what = f"there are {len(taken)} such prompts, and the first {config.skip_prompts} are skipped"
        raise UserError(what, where=f"{label}.skip_prompts", remedy="Lower skip_prompts.")
    for prompt in left if config.context != "generic" else ():
        if prompt.is_safety and preprompts.category_of(prompt.risk_category) is None:
            raise UserError(
                f"the prompt {prompt.id!r}: {preprompts.without_template(prompt.risk_category)}",
                where=f"{label}.prompts",
                remedy="Correct the category, write a template for it (`templates`), or set `context: generic`.",
            )
    return left


def with_preprompts(
    config: Any, preprompts: Preprompts, template: Template, prompts: Sequence[Prompt], seed: int
) -> dict[str, dict[str, Prompt]]:
    """By context and the prompt's id: the prompts with a preprompt, of those that have one in this context."""
    system = template.takes_system
    return {
        context: {
            prompt.id: with_preprompt(prompt, said, system=system)
            for prompt in prompts
            if (said := preprompt_of(preprompts, context, prompt, seed)) is not None
        }
        for context in contexts_of(config)
    }


def contexts_of(config: Any) -> tuple[str, ...]:
    """Those that are tried."""
    return ("generic", "tailored") if config.context == "best" else (config.context,)


def with_room(
    longer: Mapping[str, Mapping[str, Prompt]], template: Template, context: int | None, max_response_tokens: int
) -> dict[str, dict[str, Prompt]]:
    """Of what `with_preprompts` gives, what can be answered: without a control token, and with room for a whole
    response. A prompt that is too long with one preprompt may do with another. context: the most tokens of the model
    (None: it does not say)."""
    return {
        name: {
            of: prompt
            for of, prompt in of_context.items()
            if template.control_token(prompt) is None
            and (context is None or len(template.prompt_ids(prompt)) + max_response_tokens <= context)
        }
        for name, of_context in longer.items()
    }


def prepare(job: Job, checkpoint: Checkpoint | None) -> None:
    """Asks, scores, and writes what was tried, what is imitated, and the counts."""
    import numpy as np

    from accord.algorithms.calibration import sigmoid
    from accord.engine.rollout import answerable, context_of
    from accord.models.folders import load_config, load_tokenizer
    from accord.rewards.loading import learned_folders
    from accord.text.template import Template

    config = job.config
    preprompts = load_preprompts(config.templates)
    start = job.input("start").model
    given = job.input("prompts").read("prompts")
    asked = wanted(config, preprompts, given, job.name)
    folders = [start, *learned_folders(job.input("reward").artifact)]
    prompts, left_out = answerable(asked, folders, config.max_response_tokens, job.name)
    template = Template(load_tokenizer(start))
    longer = with_preprompts(config, preprompts, template, prompts, job.seed)
    fitting = with_room(longer, template, context_of(load_config(start)), config.max_response_tokens)
    if not any(fitting.values()):
        first = next(list(of_context.values()) for of_context in longer.values() if of_context)
        answerable(first, [start], config.max_response_tokens, job.name)  # raises
    tried_with = [of_context.keys() for of_context in fitting.values()]
    lost = [prompt for prompt in prompts if not any(prompt.id in ids for ids in tried_with)]
    for prompt in lost:
        versions = (of_context[prompt.id] for of_context in longer.values() if prompt.id in of_context)
        plain = any(template.control_token(version) is None for version in versions)
        left_out["num_too_long" if plain else "num_with_control_tokens"] += 1
    prompts = [prompt for prompt in prompts if any(prompt.id in ids for ids in tried_with)]
    longer = fitting

    asking = Asking(job, ASKING, checkpoint)
    originals = asking.answers("original answers", start, prompts)
    asking.release()
    safety = logits(job, prompts, originals, "scoring the original answers")[:, 0]
    low = [int(i) for i in np.flatnonzero((sigmoid(safety) < config.below) | (config.below == 1))]
    asked_again = [prompts[i] for i in low]
    again = ask_again(job, asking, asked_again, longer)
    looked_at = ask_before(job, asking, asked_again)
    asking.release()
    tried, by_context = judged(job, asked_again, [originals[i][0] for i in low], safety[low], again, preprompts)
    outcomes = Counter(one.outcome for one in tried)
    write_tried(job.work.out / TRIED, tried)
    write_records(job.work.out / BEST, "demonstrations", [kept_one for kept_one, _ in kept_of(tried)])
    counts = {
        "num_prompts": len(prompts),
        "num_not_adversarial": 0 if not config.only_adversarial else sum(not one.is_safety for one in given),
        **left_out,
        "num_tried": len(tried),
        **{f"num_{name}": outcomes[name] for name in OUTCOMES},
        "place": "system" if template.takes_system else "user",
    }
    looked_at.score_and_write(job)
    job.write_json(CHOSEN, {"counts": counts, "looked_at": looked_at.left_out, "contexts": by_context})


def learn(job: Job, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """Trains on what was kept, from a checkpoint of the training on, and saves the policy; where nothing was, it is the
    one that was given, byte for byte. Returns what was used."""
    from accord.engine.imitation import imitate

    config, start = job.config, job.input("start").model
    kept = kept_of(read_tried(job.work.out / TRIED))
    if not kept:
        job.work.lead(lambda: shutil.copytree(start, job.work.out / MODEL, dirs_exist_ok=True))
        return {"num_demonstrations": 0, "num_optimizer_steps": 0}
    beside = demonstrations(job, len(kept))
    if config.how == "kl":
        return _by_kl(job, kept, beside, checkpoint)
    return imitate(
        start,
        [one for one, _ in kept],
        config,
        limits=None,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=checkpoint,
        beside=beside,
    )


def _by_kl(
    job: Job,
    kept: Sequence[tuple[Demonstration, str]],
    beside: Sequence[Demonstration],
    checkpoint: Checkpoint | None,
) -> dict[str, Any]:
    """The teacher sees the prompts with their preprompts, and demonstrations as they are: on those the student is to
    stay as it was."""
    from accord.engine.distillation import Lesson, distil
    from accord.engine.examples import Limits
    from accord.engine.imitation import training_trees
    from accord.engine.rollout import context_of
    from accord.models.folders import load_config, load_tokenizer
    from accord.text.template import Template

    config, start = job.config, job.input("start").model
    template = Template(load_tokenizer(start))
    system = template.takes_system
    lessons = [
        Lesson(
            template.tree(one.prompt, [one.response]),
            template.tree(with_preprompt(one.prompt, preprompt, system=system), [one.response]),
        )
        for one, preprompt in kept
    ]
    told: dict[str, Any] = {}
    if beside:
        where, context = f"{job.name}.demonstrations", context_of(load_config(start))
        trees, told["beside"] = training_trees(template, beside, Limits(), config, context, where)
        lessons += [Lesson(tree, tree) for tree in trees]
    found = distil(start, lessons, config, seed=job.seed, work=job.work, label=job.name, checkpoint=checkpoint)
    return {"num_demonstrations": len(kept), **told, **found}


def demonstrations(job: Job, num_kept: int) -> list[Demonstration]:
    """The helpful demonstrations beside so many kept responses: all, or as many as make their share, drawn."""
    import numpy as np

    given = [one for part in job.inputs["demonstrations"] for one in part.read("demonstrations")]
    share = job.config.demonstrations_share
    if share is None:
        return given
    num = min(len(given), round(num_kept * share / (1 - share)))
    generator = np.random.Generator(np.random.Philox(key=derive_seed(job.seed, "demonstrations")))
    return [given[i] for i in sorted(generator.permutation(len(given))[:num])]


def selection(job: Job) -> dict[str, Any]:
    """What `prepare` wrote of it."""
    found: dict[str, Any] = json.loads((job.work.out / CHOSEN).read_text(encoding="utf-8"))
    return found
