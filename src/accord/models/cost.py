"""What a decoder of given dimensions costs: parameters, operations and bytes. Pure, so that it is known before a run.

Memory, in bytes a parameter, e being the size of a number in the compute dtype (2 or 4):

    trained          4 masters + 8 moments of Adam + 4 gradients, + 2 for the copy that bfloat16 computes on
    frozen           e
    adapters         as trained, for the adapters' parameters alone, over a frozen base

Activations that a training pass keeps for its backward, in bytes a token and layer (d hidden, f inner, q and k widths
of all query and all key heads, H heads, T keys that attention computes for a token, C keys that it copies for it):

    two norms        4 e d                 what goes in and what comes out
                     2 d (4 + 2 e)         where they are not ours: in fp32, normalised before and after the weight
    attention        2 e q + 2 e k C       queries and output, keys and values
                     e (q + k)             where queries and keys have norms: what goes into these
                     H T (4 + e)           softmax in fp32, and what multiplies the values (in fp32 the same numbers)
    MLP              3 e f                 gate, up, their product (2 e f without a gate)
                     4 e f                 where it is not ours: the activated gate, too

Norms and MLPs are ours, with gradients of `accord.models.elementwise`, where they are as Llama's.

The language-model head keeps N rows of probabilities, e V bytes each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accord.errors import UserError

_NAMES: Mapping[str, tuple[str, ...]] = {  # what architectures call their dimensions
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "vocabulary": ("vocab_size",),
}
_UNGATED = ("opt", "gpt2", "gpt_neo", "gpt_neox", "gptj", "codegen", "bloom", "falcon", "mpt", "phi", "starcoder2")
_OTHER_NORMS = ("gemma", "olmo2", "cohere", "stablelm")  # LayerNorm, or rounded elsewhere
_NORMED_KEYS = ("qwen3",)
_OTHER_MLPS = ("gemma", "phi3")  # another activation; gate and up in one matrix


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes of a decoder. head: the width of one attention head. experts: MLPs a layer, of which a token uses
    `experts_used`. tied: the language-model head is the embedding. context: the most tokens that the model takes.
    gated: the MLP has three matrices, and not two. own_norms, own_mlp: they are computed by Accord's functions.
    normed_keys: queries and keys have norms, whose parameters are left out."""

    layers: int
    hidden: int
    inner: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    tied: bool = True
    context: int | None = None
    experts: int = 1
    experts_used: int = 1
    gated: bool = True
    own_norms: bool = True
    own_mlp: bool = True
    normed_keys: bool = False

    @property
    def layer_parameters(self) -> int:
        """Of one layer, biases left out."""
        attention = 2 * self.hidden * self.head * (self.heads + self.key_heads)
        router = self.hidden * self.experts if self.experts > 1 else 0
        return attention + self._mlp * self.experts + router + 2 * self.hidden

    @property
    def _mlp(self) -> int:
        """Parameters of one MLP."""
        return (3 if self.gated else 2) * self.hidden * self.inner

    @property
    def embedding_parameters(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def policy_parameters(self) -> int:
        return self.scalar_parameters - self.hidden + (0 if self.tied else self.embedding_parameters)

    @property
    def scalar_parameters(self) -> int:
        """Of a reward or value model: the backbone and a head of one row."""
        return self.layers * self.layer_parameters + self.hidden + self.embedding_parameters + self.hidden

    def adapter_parameters(self, rank: int, targets: Sequence[str] | str = "all-linear") -> int:
        """Of a low-rank adapter: rank * (in + out) for each matrix that it changes."""
        shapes = self._matrices()
        chosen = shapes.values() if isinstance(targets, str) else [shapes[t] for t in targets if t in shapes]
        return self.layers * sum(rank * (rows + columns) for rows, columns in chosen)

    def _matrices(self) -> dict[str, tuple[int, int]]:
        d, q, k, f = self.hidden, self.heads * self.head, self.key_heads * self.head, self.inner
        attention = {"q_proj": (d, q), "k_proj": (d, k), "v_proj": (d, k), "o_proj": (q, d)}
        return {**attention, "gate_proj": (d, f), "up_proj": (d, f), "down_proj": (f, d)}

    def forward_flops(self, tokens: int, width: int, head_rows: int) -> float:
        """Of one forward pass over `tokens` in rows of `width` places, with `head_rows` rows of the vocabulary's head.

        Two operations a parameter and token, 4 q T for scores and weighted values in each layer, 2 d V for each row of
        the head. A training pass takes three times as many.
        """
        unused = self._mlp * (self.experts - self.experts_used)
        layer = 2 * (self.layer_parameters - unused) + 4 * self.heads * self.head * width
        return float(tokens * self.layers * layer + 2 * head_rows * self.embedding_parameters)

    def activation_bytes(self, places: int, width: float, head_rows: int, number: int, keys: float = 1.0) -> int:
        """What a training pass over so many places keeps until its backward. width: the places that each attends over,
        in the mean. number: bytes of the dtype. keys: those that are copied for each place."""
        d, q, k, f = self.hidden, self.heads * self.head, self.key_heads * self.head, self.inner * self.experts_used
        norms = 2 * d * (2 * number if self.own_norms else 4 + 2 * number)
        mlp = (2 if not self.gated else 3 if self.own_mlp else 4) * number * f
        normed = number * (q + k) if self.normed_keys else 0
        attention = normed + 2 * number * (q + round(k * keys)) + number * self.heads * round(width)
        token = norms + attention + mlp
        return places * self.layers * token + head_rows * self.vocabulary * number

    def passing_bytes(self, places: int, width: float, head_rows: int, number: int, keys: float = 1.0) -> int:
        """What a pass needs for a moment at most: of one layer's MLP or attention scores, or of a chunk of the head."""
        attention = round(3 * self.heads * width + 2 * self.key_numbers * (keys - 1)) * number
        layer = places * max(3 * number * self.inner, attention)
        chunk = min(head_rows, 512) * self.vocabulary * number
        return layer + places * self.hidden * (8 + number) + chunk

    def cache_bytes(self, places: int, number: int) -> int:
        """Keys and values of so many places of the sampler's cache."""
        return 2 * self.layers * places * self.key_numbers * number

    @property
    def key_numbers(self) -> int:
        """Of a token's keys in a layer."""
        return self.key_heads * self.head


def trained_bytes(parameters: int, number: int) -> int:
    """Masters, moments and gradients of what is trained, and the copy that is computed on when it is not fp32."""
    return parameters * (16 + (number if number < 4 else 0))


def dimensions_of(config: Mapping[str, Any], where: str = "") -> Dimensions:
    """From the content of a config.json. Raises UserError when a size that every decoder has is not in it."""
    config = {**config, **(config.get("text_config") or {})}

    def size(field: str) -> int:
        for name in _NAMES[field]:
            if isinstance(config.get(name), int) and config[name] > 0:
                return int(config[name])
        what = f"the model's config has no {_NAMES[field][0]!r}, so its size is not known"
        raise UserError(what, where=where, remedy="Use --no-estimates (check) or --force (run) to do without.")

    hidden, heads = size("hidden"), size("heads")
    experts = int(config.get("num_local_experts") or config.get("num_experts") or 1)
    kind = str(config.get("model_type") or "")
    inner = config.get("intermediate_size") or config.get("n_inner") or config.get("ffn_dim") or 4 * hidden
    return Dimensions(
        layers=size("layers"),
        hidden=hidden,
        inner=int((config.get("moe_intermediate_size") if experts > 1 else None) or inner),
        heads=heads,
        key_heads=int(config.get("num_key_value_heads") or heads),
        head=int(config.get("head_dim") or hidden // heads),
        vocabulary=size("vocabulary"),
        tied=bool(config.get("tie_word_embeddings", True)),
        context=config.get("max_position_embeddings"),
        experts=experts,
        experts_used=int(config.get("num_experts_per_tok") or 1) if experts > 1 else 1,
        gated=kind not in _UNGATED,
        own_norms=kind not in _UNGATED and not kind.startswith(_OTHER_NORMS),
        normed_keys=kind.startswith(_NORMED_KEYS),
        own_mlp=experts == 1 and config.get("hidden_act", "silu") == "silu" and not kind.startswith(_OTHER_MLPS),
    )
