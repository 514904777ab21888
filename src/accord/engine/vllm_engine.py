"""Writing and reading with vLLM: an `Engine` as `accord.engine.sampling` has it. Nothing else imports vLLM.

vLLM computes in this process, so that weights are handed over in memory (`push`). Its scheduler decides what is
computed together; prompts that begin alike are read once. Tokens are drawn by vLLM with a generator for each response,
seeded by the request's key: other draws than those of `accord.engine.sampler`, from the same distribution.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from accord.engine.engines import COLDEST_VLLM, INSTALL, memory_share, vllm_is_installed
from accord.engine.readings import Reading, Text
from accord.engine.sampling import Request
from accord.engine.vllm_sampling import VllmSampling, reading_of
from accord.errors import UserError, first_line
from accord.models.compute import dtype_name
from accord.models.folders import check_config, context_of, load_config, load_tokenizer
from accord.seeds import derive_seed
from accord.text.template import Template

NUM_SLOTS = 64
_MOST_TOP = 20  # most probable tokens that are named beside a token
_CONTEXT = 8192  # where the model's config does not say how many tokens it reads and writes

# Read when vLLM is imported. It computes in this process, calls nobody, and listens on the loopback alone; a prompt may
# fill the context, though vLLM then draws a token behind it, which is not used.
_ALWAYS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_HOST_IP": "127.0.0.1",
}
_UNLESS_SET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # other threads of this process want the processors, too
}

Told = Literal["own", "drawn"]
_MODES: Mapping[Told, str] = {"own": "raw_logprobs", "drawn": "processed_logprobs"}


def require_vllm() -> Any:
    """The module `vllm`. Raises UserError when it is not installed, or does not work here."""
    if not vllm_is_installed():
        raise UserError("vLLM is not installed", remedy=INSTALL)
    os.environ.update(_ALWAYS)
    for name, value in _UNLESS_SET.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
        from vllm.platforms import current_platform
    except ModuleNotFoundError as error:
        raise UserError(f"vLLM is not whole: there is no module {error.name!r}", remedy=INSTALL) from error
    except Exception as error:  # libraries that are not there, or are of another machine
        raise UserError(f"vLLM cannot be used here: {first_line(error)}", remedy=INSTALL) from error
    if not current_platform.device_type:
        what = "vLLM is installed for processors or GPUs that this machine does not have"
        raise UserError(what, remedy=INSTALL)
    return vllm


def describe_vllm() -> str:
    """Its version, and what it computes on, once its own kernels are loaded. Raises UserError."""
    version = require_vllm().__version__
    from vllm.platforms import current_platform

    current_platform.import_kernels()
    return f"{version}, on {'GPUs' if current_platform.is_cuda_alike() else current_platform.device_type.upper()}"


class VllmEngine:
    """A policy's folder, opened by vLLM.

    told: which logprobs it gives of the tokens that it draws: "own", of softmax(logits), which are also those of the
    draws at temperature 1 without a nucleus; or "drawn", of the distribution that was drawn from, which a learner
    wants. beside: models in torch are in the memory of the same GPU. Raises UserError for a model that vLLM cannot open
    or run.
    """

    coldest = COLDEST_VLLM

    def __init__(self, folder: Path, *, num_slots: int = NUM_SLOTS, told: Told = "own", beside: bool = False) -> None:
        check_config(folder)
        config = load_config(folder)
        self.template = Template(load_tokenizer(folder))
        self.context = context_of(config)
        self.num_vocabulary = int(config.get_text_config().vocab_size)
        self.told: Told = told
        self._sinks: dict[str, Callable[[Any], None]] = {}
        self._next = 0
        vllm = require_vllm()
        from vllm.platforms import current_platform
        from vllm.sampling_params import RequestOutputKind

        on_cpu = current_platform.is_cpu()
        self._params, self._delta = vllm.SamplingParams, RequestOutputKind.DELTA
        # What vLLM compiles at its first request takes longer there than it ever saves, and wants a compiler.
        self._stance: Callable[[], AbstractContextManager[Any]] = (
            (lambda: torch.compiler.set_stance("force_eager")) if on_cpu else nullcontext
        )
        # There it computes with a copy of the head, which `reload_weights` forgets where the embeddings are the head.
        self._packs_head = on_cpu and bool(config.get_text_config().tie_word_embeddings)
        length = (self.context or _CONTEXT) + 1
        # On a processor a seeded response cannot begin with a part of its prompt: the whole of one is read at once.
        whole: dict[str, Any] = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(length, 2048)}
        of_gpu: dict[str, Any] = {} if on_cpu else {"gpu_memory_utilization": memory_share(beside=beside)}
        self.dtype = dtype_name() if on_cpu or os.environ.get("ACCORD_DTYPE") else "bfloat16"
        takes = (
            "VLLM_CPU_KVCACHE_SPACE is what its cache may take, in GiB"
            if on_cpu
            else ("ACCORD_VLLM_MEMORY is what it may take of the GPU's memory, between 0 and 1")
        )
        remedy = f"Torch opens it: leave out --engine vllm, or a step's `engine: vllm`. {takes}."
        try:
            self._llm = vllm.LLM(
                str(folder),
                dtype=self.dtype,
                skip_tokenizer_init=True,
                trust_remote_code=False,
                load_format="safetensors",
                generation_config="vllm",
                enforce_eager=on_cpu,
                enable_prefix_caching=True,
                max_model_len=length,
                max_num_seqs=num_slots,
                max_logprobs=_MOST_TOP,
                logprobs_mode=_MODES[told],
                seed=0,
                **(whole if on_cpu else of_gpu),
            )
            self.read([Text((self.template.end_id,), follow=True)])  # some models fail at their first token
        except Exception as error:
            what = f"vLLM cannot open this model: {first_line(error)}"
            raise UserError(what, where=str(folder), remedy=remedy) from error

    @property
    def end_id(self) -> int:
        return self.template.end_id

    def sampling(
        self,
        *,
        num_slots: int,
        max_response_tokens: int,
        temperature: float = 1.0,
        max_read_tokens: int | None = None,
    ) -> VllmSampling:
        """num_slots, max_read_tokens: vLLM's scheduler has its own."""
        with suppress(Exception):  # one that has failed may have nothing to drop
            self.abort(list(self._sinks))
        return VllmSampling(self, max_response_tokens, temperature)

    def read(self, texts: Sequence[Text]) -> list[list[Reading]]:
        """As `accord.engine.readings.read`. What is being written meanwhile goes on."""
        found: list[list[Reading]] = [[] for _ in texts]
        waiting = set()
        for i, text in enumerate(texts):
            if len(text.ids) < 2 and not text.follow:
                continue
            params = self._params(
                max_tokens=1,
                temperature=0.0,
                logprobs=text.num_top,
                prompt_logprobs=text.num_top if len(text.ids) > 1 else None,
                detokenize=False,
                ignore_eos=True,
            )

            def take(output: Any, i: int = i, text: Text = text) -> None:
                if output.finished:
                    given = (output.prompt_logprobs or [None])[1:]
                    found[i] = [reading_of(t, of, text.num_top) for t, of in zip(text.ids[1:], given, strict=True)]
                    if text.follow:
                        one = output.outputs[0]
                        found[i].append(reading_of(one.token_ids[0], one.logprobs[0], text.num_top))
                    waiting.discard(i)

            waiting.add(i)
            self.begin(text.ids, params, take)
        while waiting:
            self.turn()
        return found

    def read_in_pieces(self, text: Text, num_tokens: int) -> Iterator[list[Reading]]:
        """In one: vLLM's scheduler takes pieces of its own."""
        yield self.read([text])[0]

    def push(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """From here on it computes with these weights, by their names in the folder's files; all of them are wanted.

        Nothing may be on its way. That it worked is seen by `accord.engine.agreement` alone. Raises UserError.
        """
        assert not self._sinks, "weights are pushed between responses"
        try:
            self._llm.collective_rpc(
                "reload_weights", kwargs={"weights_iterator": iter(weights), "is_checkpoint_format": True}
            )
            if self._packs_head:
                self._llm.apply_model(_pack_head)
        except Exception as error:
            what = f"vLLM did not take the weights: {first_line(error)}"
            raise UserError(
                what, remedy="Its weights are no policy's now: open it again, or sample with torch."
            ) from error
        if not self._llm.reset_prefix_cache():
            raise UserError("vLLM kept what it had read with the weights before", remedy="Open it again.")

    def close(self) -> None:
        """Lets go of its memory. Nothing is written or read with it after that."""
        self._sinks.clear()
        del self._llm
        gc.collect()  # vLLM shuts down once nothing refers to it

    def begin(self, ids: Sequence[int], params: Any, sink: Callable[[Any], None]) -> str:
        """sink: gets what vLLM says of the request. Returns a name for `abort`."""
        name, self._next = str(self._next), self._next + 1
        self._llm.llm_engine.add_request(name, {"type": "token", "prompt_token_ids": list(ids)}, params)
        self._sinks[name] = sink
        return name

    def abort(self, names: Sequence[str]) -> None:
        for name in names:
            self._sinks.pop(name, None)
        if names:
            self._llm.llm_engine.abort_request(list(names))

    def turn(self) -> None:
        """One step of vLLM's."""
        with self._stance():
            outputs = self._llm.llm_engine.step()
        for output in outputs:
            sink = self._sinks.pop(output.request_id, None)
            if sink is not None:
                if not output.finished:
                    self._sinks[output.request_id] = sink
                sink(output)

    def params(self, request: Request, k: int, most: int, temperature: float) -> Any:
        """Of response k to a request. The end of the turn is the only token that ends it."""
        num_top = request.num_top
        assert num_top is None or self.told == "own", "readings are of the model's own distribution"
        if num_top is None and self.tells(request, temperature):
            num_top = 0
        return self._params(
            max_tokens=most,
            temperature=temperature,
            top_p=request.top_p,
            seed=derive_seed(*request.key, k),
            logprobs=num_top,
            stop_token_ids=[self.template.end_id],
            ignore_eos=True,
            detokenize=False,
            output_kind=self._delta,
        )

    def tells(self, request: Request, temperature: float) -> bool:
        """Whether the logprobs that it gives are those that the tokens were drawn with."""
        return temperature > 0 and (self.told == "drawn" or (temperature == 1 and request.top_p == 1))


def _pack_head(model: Any) -> None:
    head = getattr(model, "lm_head", None)
    if head is not None:
        head.quant_method.process_weights_after_loading(head)
