"""lm-evaluation-harness on a policy in this process. The one file that imports it (extra `bench`).

The harness brings the tasks, their prompts and their metrics; log-probabilities come from Accord's forward-only pass,
in which the choices of a question are the branches of one tree, and texts from Accord's sampler. They are what the
harness's own HFLM computes, token for token, but for texts that do not fit into the model's context: of these the
oldest tokens are left out, one more of them than there.

A task is a program (`!function` in its file names Python code beside it). Tasks are those that come with the harness,
and those in a folder that the user names; never any that lie in a model's folder.
"""

from __future__ import annotations

import json
import logging
import math
import random
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from accord.engine.rollout import context_of
from accord.errors import UserError, did_you_mean, first_line
from accord.evaluate.benchmarks import CHANCE, Measured, with_groups
from accord.evaluate.instructions import Followed, Instructed
from accord.evaluate.likelihoods import continuation_logprobs
from accord.evaluate.sentences import provide_sentences
from accord.evaluate.writing import Asked, write
from accord.models.policy import Policy
from accord.store.progress import Progress

try:
    from lm_eval import evaluate
    from lm_eval.api.metrics import mean
    from lm_eval.api.model import TemplateLM
    from lm_eval.models.utils import normalize_gen_kwargs
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ModuleNotFoundError as error:
    raise UserError(
        f"lm-evaluation-harness is not installed ({first_line(error)})", remedy="Run: pip install 'accord[bench]'"
    ) from error

_DEFAULT_CONTEXT: Final = 2048  # of a model whose config does not say
_FEWSHOT_SEED: Final = 1234  # the harness's own: with the seed 0, the examples are those that it shows others
_KNOWN: Final = {"until", "max_gen_toks", "do_sample", "temperature", "top_p"}
_Row = tuple[tuple[str, str], list[int], list[int]]


class PolicyLM(TemplateLM):
    """A policy as the harness asks models. name: for progress. seed: of tasks that sample."""

    def __init__(self, policy: Policy, name: str, seed: int = 0) -> None:
        super().__init__()
        self._policy, self._name, self._seed = policy, name, seed
        self.tokenizer = policy.template.tokenizer
        self.max_length = context_of(policy.module.config) or _DEFAULT_CONTEXT

    @property
    def eot_token_id(self) -> int:
        return self._policy.template.end_id

    @property
    def prefix_token_id(self) -> int:
        begins = self.tokenizer.bos_token_id
        return self.eot_token_id if begins is None else int(begins)

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(str(self.tokenizer.decode([self.prefix_token_id])))
        return list(self.tokenizer.encode(string, add_special_tokens=add_special_tokens))

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def _loglikelihood_tokens(self, requests: list[_Row], **_: Any) -> list[tuple[float, bool]]:
        pairs = [(context, continuation) for _, context, continuation in requests]
        with Progress(f"{self._name}: reading", len(pairs), "continuations") as progress:
            return continuation_logprobs(self._policy, pairs, self.max_length, advance=progress.advance)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        rows: list[_Row] = []
        texts: list[int] = []  # whose window each row is
        for i, request in enumerate(requests):
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length - 1,
                context_len=1,
            )
            for context, continuation in map(make_disjoint_window, windows):
                rows.append((("", ""), context, continuation))
                texts.append(i)
        totals = [0.0] * len(requests)
        for i, (logprob, _) in zip(texts, self._loglikelihood_tokens(rows), strict=True):
            totals[i] += logprob
        return totals

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        asked = [self._asked(i, *request.args) for i, request in enumerate(requests)]
        with Progress(f"{self._name}: answering", len(asked), "texts") as progress:
            return [response.text for response in write(self._policy, asked, advance=progress.advance)]

    def _asked(self, i: int, text: str, options: Mapping[str, Any]) -> Asked:
        kwargs: dict[str, Any] = dict(normalize_gen_kwargs(dict(options), 256))
        if unknown := sorted(set(kwargs) - _KNOWN):
            raise UserError(f"the task samples with {unknown[0]!r}, which Accord's sampler does not know")
        num = int(kwargs["max_gen_toks"])
        if num >= self.max_length:
            what = f"the task lets a model write {num} tokens, and this one reads and writes {self.max_length} in all"
            raise UserError(what, remedy="Lower its max_gen_toks.")
        ids = tuple(self.tok_encode(text)[-(self.max_length - num) :])
        temperature = float(kwargs.get("temperature", 0.0)) if kwargs["do_sample"] else 0.0
        stops = tuple(kwargs["until"])
        return Asked(ids, num, (self._seed, "lm-eval", i), temperature, float(kwargs.get("top_p", 1.0)), stops)


def _check_no_model(folder: Path) -> None:
    """Raises UserError for a folder in a model's, or with a model in it: who gives weights away runs no code here."""
    own = folder.resolve()
    for config in (*(above / "config.json" for above in (own, *own.parents)), *own.rglob("config.json")):
        try:
            found = json.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and {"architectures", "model_type"} & found.keys():
            what = f"tasks are programs, and a model lies in {config.parent}: code that came with a model is not run"
            raise UserError(what, where=str(folder), remedy="Name a folder that holds your own tasks and nothing else.")


@dataclass(frozen=True, slots=True)
class Ran:
    """measured: every metric of every task. about: of each task its version and its number of examples. answers: what
    was asked and answered, item by item."""

    measured: list[Measured]
    about: dict[str, dict[str, Any]]
    answers: list[dict[str, Any]]


class Tasks:
    """names: of tasks, groups and tags, also as patterns (`arc_*`). folder: of the user's own tasks, whose code is run.
    Raises UserError for a name that there is not."""

    def __init__(self, names: Sequence[str], folder: Path | None = None) -> None:
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        if folder is not None:
            _check_no_model(folder)
        own = None if folder is None else str(folder)
        self._manager = TaskManager(include_path=own, include_defaults=own is None)
        if own is not None and not all(self._manager.match_tasks([name]) for name in names):
            self._manager = TaskManager(include_path=own)
        for name in names:
            if not self._manager.match_tasks([name]):
                raise UserError(f"there is no task {name!r}", remedy=did_you_mean(name, self._manager.all_tasks))
        self._names = self._manager.match_tasks(list(names))

    def run(
        self,
        model: Any,
        *,
        num_fewshot: int | None = None,
        limit: int | None = None,
        chat: bool = False,
        seed: int = 0,
    ) -> Ran:
        """model: a `PolicyLM`, or any other of the harness. chat: with the chat template, examples as earlier turns.
        Raises UserError."""
        with _seeded(seed):
            loaded = self._load()  # anew, as a task keeps what it was answered
            tasks = loaded["tasks"]
            for task in tasks.values():
                own = task.get_config("num_fewshot")
                if own is None or (num_fewshot is not None and own != 0):  # 0: examples make no sense here
                    task.set_config(key="num_fewshot", value=num_fewshot or 0)
                task.set_fewshot_seed(seed=_FEWSHOT_SEED + seed)
            found = evaluate(
                lm=model,
                task_dict=loaded,
                limit=limit,
                bootstrap_iters=0,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,
            )
        assert found is not None
        groups = {name: [task.task_name for task in of.get_all_tasks()] for name, of in loaded["groups"].items()}
        measured = [one for name in tasks for one in _measured(name, tasks[name], found)]
        return Ran(
            with_groups(measured, {name: of for name, of in groups.items() if name in self._names}),
            {name: {"version": found["versions"][name], "num_fewshot": found["n-shot"][name]} for name in tasks},
            [_answer(name, sample) for name in tasks for sample in found["samples"][name]],
        )

    def _load(self) -> Any:
        try:
            return self._manager.load(list(self._names))
        except Exception as error:  # raised by the task, which is a program, or by what loads its data
            what = f"the tasks {', '.join(self._names)} cannot be loaded: {type(error).__name__}, {first_line(error)}"
            remedy = "The harness's own tasks load data from the hub. Offline, name tasks of your own with local data."
            raise UserError(what, remedy=remedy) from error


@contextmanager
def _seeded(seed: int | str) -> Iterator[None]:
    """What tasks draw depends on the seed alone; what others draw does not depend on the tasks."""
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(zlib.crc32(str(seed).encode()))
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _answer(task: str, sample: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("doc_id", "arguments", "target", "resps", "filter", *sample["metrics"])
    return {"task": task, **{key: sample[key] for key in kept}}


def _measured(name: str, task: Any, found: Mapping[str, Any]) -> list[Measured]:
    """Of each metric, behind each of the task's filters, the values in the order of its items."""
    samples: dict[tuple[str, str], dict[int, Any]] = defaultdict(dict)
    num_choices: dict[int, int] = {}
    for sample in found["samples"][name]:
        num_choices[sample["doc_id"]] = len(sample["filtered_resps"])
        for metric in sample["metrics"]:
            samples[metric, sample["filter"]][sample["doc_id"]] = sample[metric]
    better = found["higher_is_better"].get(name, {})
    out = []
    for (metric, filtered), of_item in samples.items():
        aggregate = task.aggregation().get(metric, mean)
        called = metric if filtered == "none" else f"{metric}, {filtered}"
        values = [of_item.get(i) for i in sorted(num_choices)]
        if aggregate is mean and all(isinstance(one, bool | int | float) or one is None for one in values):
            numbers = [math.nan if one is None else float(one) for one in values]
            is_share = all(math.isnan(one) or 0 <= one <= 1 for one in numbers)
            chance = metric in ("acc", "acc_norm") and task.OUTPUT_TYPE == "multiple_choice"
            floors = {CHANCE: sum(1 / n for n in num_choices.values()) / len(num_choices)} if chance else {}
            out.append(
                Measured(name, called, numbers, floors=floors, is_share=is_share, higher_is_better=better.get(metric))
            )
        else:
            known = [one for one in values if one is not None]
            out.append(
                Measured(name, called, known, aggregate=aggregate, is_share=False, higher_is_better=better.get(metric))
            )
    return out


def check_instructions(items: Sequence[Instructed], responses: Sequence[str]) -> list[Followed]:
    """Which instructions each response follows. Raises UserError for an instruction that there is no check for.

    Some checks draw: of the language of a text, and a letter to count where an instruction asks for another sign. They
    are seeded, so that all policies are checked alike.
    """
    provide_sentences()
    from langdetect import DetectorFactory
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    if unknown := sorted({name for one in items for name in one.instructions} - set(INSTRUCTION_DICT)):
        raise UserError(f"there is no instruction {unknown[0]!r}", remedy=did_you_mean(unknown[0], INSTRUCTION_DICT))
    DetectorFactory.seed = 0
    return [_followed(one, response) for one, response in zip(items, responses, strict=True)]


def _followed(one: Instructed, response: str) -> Followed:
    from lm_eval.tasks.ifeval.utils import process_results

    row = {"key": one.key, "prompt": one.prompt, "instruction_id_list": list(one.instructions)}
    try:
        with _seeded(one.key):
            checked = process_results({**row, "kwargs": [dict(given) for given in one.arguments]}, [response])
    except (TypeError, ValueError, AttributeError) as error:  # of an instruction's arguments
        what = f"the instructions {', '.join(one.instructions)} cannot be checked: {first_line(error)}"
        raise UserError(what, where=f"the prompt with the key {one.key}", remedy="Correct its kwargs.") from error
    strict, loose = (tuple(map(bool, checked[f"inst_level_{form}_acc"])) for form in ("strict", "loose"))
    return Followed(strict, loose)
