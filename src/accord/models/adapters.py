"""LoRA adapters inside a backbone, through peft: several in one, each seen alone.

An `Adapter` is called as the backbone is, and computes it with this adapter and no other; `Bare` computes it with none.
So a policy, its reference, a value model and a reward model can share one copy of the frozen weights, and none of their
users can forget to switch. Which adapter is active matters in the forward pass alone: the graph that it leaves holds
the right parameters, and what computes activations again in the backward pass asks which it was (`switch_of`).

peft puts its layers into the module in place, so the calls and the names of the layers stay. On disk an adapted model
is two folders side by side: model/, the merged ordinary one, and adapter/, which peft opens on top of the base.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from accord.errors import UserError, did_you_mean
from accord.models.compute import aligned
from accord.models.folders import load_module, save_module
from accord.models.lora import Lora, require_peft
from accord.models.sources import fingerprint
from accord.text.template import Template

if TYPE_CHECKING:
    from peft import LoraConfig

ADAPTER = "adapter"  # the folder beside model/
HEAD = "score.weight"
_WEIGHTS, _CONFIG, _BASE = "adapter_model.safetensors", "adapter_config.json", "base.json"
_SWITCH = "_adapter_switch"
_PREFIX = "base_model.model."  # what peft's files put before the names of parameters


class Backbone(Protocol):
    """A decoder without its head."""

    def __call__(self, **kwargs: Any) -> Any: ...

    def get_input_embeddings(self) -> nn.Module: ...


class Bare:
    """The backbone of a module with all its adapters off."""

    name: str | None = None

    def __init__(self, module: PreTrainedModel) -> None:
        self.module = module
        self._backbone: PreTrainedModel = getattr(module, module.base_model_prefix)

    def __call__(self, **kwargs: Any) -> Any:
        switch: _Switch = vars(self._backbone)[_SWITCH]
        switch.to(self.name)
        return self._backbone(**kwargs)

    def get_input_embeddings(self) -> nn.Module:
        return self._backbone.get_input_embeddings()


class Adapter(Bare):
    """The backbone of a module with the adapter `name`. base: the folder of the weights that it adapts."""

    def __init__(self, module: PreTrainedModel, name: str, config: LoraConfig, base: Path) -> None:
        super().__init__(module)
        self.name: str = name
        self.config, self.base = config, base

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """A and B of each layer, by their names in the module."""
        own = (f".lora_A.{self.name}.", f".lora_B.{self.name}.")
        return {name: p for name, p in self.module.named_parameters() if any(part in name for part in own)}

    def on_disk(self, name: str) -> str:
        """What peft's files call a parameter."""
        for matrix in (".lora_A", ".lora_B"):
            name = name.replace(f"{matrix}.{self.name}.", f"{matrix}.")
        return _PREFIX + name

    def copy(self, name: str) -> Adapter:
        """Another adapter in the same backbone, to be trained, that starts as this one."""
        new = _inject(self.module, name, self.config, self.base, seed=0, trained=True)
        with torch.no_grad():
            for target, source in zip(new.parameters.values(), self.parameters.values(), strict=True):
                target.copy_(source)
        return new

    @torch.no_grad()
    def merged(self) -> Iterator[tuple[str, Tensor]]:
        """All weights of the module as they are now, by their names in a folder's files, with this adapter merged into
        them and without any other. Each is made as it is asked for."""
        layers: dict[str, Any] = dict(self.module.named_modules())
        for name, parameter in self.module.named_parameters():
            if ".lora_" in name:
                continue
            path, adapted, _ = name.rpartition(".base_layer.weight")
            weight = parameter.detach()
            if adapted and self.name in layers[path].lora_A:
                layer = layers[path]
                added = layer.lora_B[self.name].weight.float() @ layer.lora_A[self.name].weight.float()
                added = layer.scaling[self.name] * (added.T if layer.fan_in_fan_out else added)
                weight = (weight.float() + added).to(weight.dtype)
            yield name.replace(".base_layer.", "."), weight

    def save(
        self, auto_class: Any, template: Template, folder: Path, masters: Mapping[str, Tensor], **settings: Any
    ) -> None:
        """Writes `folder`, the merged model in fp32, and the PEFT folder beside it.

        masters: fp32, by name; the head is among them when the model has one of its own. settings: entries of the
        merged config.json. The base is read again: what the learner computes with may be rounded.
        """
        from peft import LoraModel

        has_head = HEAD in masters
        options: dict[str, Any] = {"num_labels": 1, "new": (HEAD,)} if has_head else {}
        tensors = {name: masters[name] for name in (*self.parameters, *([HEAD] if has_head else []))}
        with torch.random.fork_rng(devices=[]):  # what these two draw is overwritten
            base = load_module(auto_class, self.base, **options)
            tuner = LoraModel(base, {self.name: self.config}, self.name)
        with torch.no_grad():
            named = dict(base.named_parameters())
            for name, tensor in tensors.items():
                named[name].copy_(tensor)
        merged = cast(PreTrainedModel, tuner.merge_and_unload(progressbar=False))
        for key, value in settings.items():
            setattr(merged.config, key, value)
        save_module(merged, template, folder, {})
        # From the adapter's folder, in a store that may be moved.
        self.save_alone(folder.with_name(ADAPTER), tensors, Path("..") / ".." / self.base.parent.name / self.base.name)

    def save_alone(self, folder: Path, tensors: Mapping[str, Tensor], base: Path) -> None:
        """Writes the PEFT folder alone. tensors: fp32, by name, the head's among them if there is one. base: where the
        weights that it adapts will lie, seen from `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        plain = {self.on_disk(name): tensor.contiguous() for name, tensor in tensors.items()}
        save_file(plain, folder / _WEIGHTS, metadata={"format": "pt"})
        config = self.config.to_dict() | {
            "inference_mode": True,
            "task_type": "SEQ_CLS" if HEAD in tensors else "CAUSAL_LM",
            "modules_to_save": ["score"] if HEAD in tensors else None,
            "base_model_name_or_path": base.as_posix(),
        }
        # Sorted: peft keeps sets, and equal runs should leave equal bytes.
        _write_json(folder / _CONFIG, {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()})
        _write_json(folder / _BASE, {"fingerprint": fingerprint(str(self.base))})


def new_adapter(module: PreTrainedModel, name: str, lora: Lora, base: Path, seed: int) -> Adapter:
    """Freezes the module and gives its backbone an adapter that changes nothing yet (B = 0). A is drawn from `seed`.

    Parameters of other adapters, and a score head, stay as trainable as they are. Raises UserError for a layer that
    is not there and a rank that is larger than a layer.
    """
    require_peft()
    from peft import LoraConfig

    layers = _linear_layers(getattr(module, module.base_model_prefix))
    targets = _targets(layers, lora)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=int(lora.alpha) if lora.alpha.is_integer() else lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=targets,
        fan_in_fan_out=any(isinstance(layer, Conv1D) for target in targets for layer in layers[target]),
    )
    return _inject(module, name, config, base, seed=seed, trained=True)


def check_lora(config: PretrainedConfig, lora: Lora) -> None:
    """Raises UserError for what `new_adapter` would refuse of a model with this config. No weights are made."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)
    _targets(_linear_layers(getattr(module, module.base_model_prefix)), lora)


def _targets(layers: Mapping[str, list[nn.Linear | Conv1D]], lora: Lora) -> list[str]:
    """The names of the layers that get an adapter. Raises UserError for a layer that is not there, and a rank that is
    larger than one."""
    targets = sorted(layers) if lora.targets == "all-linear" else list(lora.targets)
    for target in targets:
        if target not in layers:
            raise UserError(
                f"the model has no linear layer called {target!r}",
                where="lora.targets",
                remedy=did_you_mean(target, layers),
            )
        smallest = min(min(layer.weight.shape) for layer in layers[target])
        if lora.rank > smallest:
            shape = " x ".join(str(size) for size in layers[target][0].weight.shape)
            raise UserError(
                f"rank {lora.rank} is larger than the layer {target!r} ({shape})",
                where="lora.rank",
                remedy=f"Use a rank of at most {smallest}.",
            )
    return targets


def open_adapter(module: PreTrainedModel, name: str, folder: Path, base: Path) -> tuple[Adapter, Tensor]:
    """A reward model's adapter and score head [1, d], as `save` wrote them, frozen, in a module of the same base."""
    require_peft()
    from peft import LoraConfig

    config = LoraConfig.from_pretrained(str(folder))
    config.modules_to_save, config.task_type, config.inference_mode = None, None, False
    adapter = _inject(module, name, config, base, seed=0, trained=False)
    tensors = load_file(folder / _WEIGHTS)
    with torch.no_grad():
        for own, parameter in adapter.parameters.items():
            parameter.copy_(tensors.pop(adapter.on_disk(own)))
    head = aligned(tensors.pop(_PREFIX + HEAD))
    assert not tensors, f"{folder} holds more than an adapter and a head: {sorted(tensors)}"
    return adapter, head


def adapts(folder: Path, base: Path) -> bool:
    """Whether the model in `folder` (model/ of an artifact) was saved with an adapter of the very weights of `base`."""
    record = folder.with_name(ADAPTER) / _BASE
    return record.is_file() and json.loads(record.read_text())["fingerprint"] == fingerprint(str(base))


@contextmanager
def dropout(module: nn.Module, seed: int) -> Iterator[None]:
    """The adapters' dropout, if they have any, is on within. The masks are drawn from `seed`."""
    drops = [m for name, m in module.named_modules() if "lora_dropout" in name and isinstance(m, nn.Dropout)]
    if not drops:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            for drop in drops:
                drop.train()
            yield
        finally:
            for drop in drops:
                drop.eval()


class _Switch:
    """Which adapter of a backbone is active: kept by the backbone, so that all who share it see the same one.

    peft's own set_adapter also freezes all other adapters, which may be in training, too.
    """

    def __init__(self, backbone: nn.Module) -> None:
        from peft.tuners.lora import LoraLayer

        self._layers = [layer for layer in backbone.modules() if isinstance(layer, LoraLayer)]
        self.active: tuple[str | None, ...] = ()

    def to(self, name: str | None) -> None:
        if self.active != (name,):
            self.active = (name,)
            for layer in self._layers:
                layer._active_adapter = [name] if name else []


def switch_of(backbone: nn.Module) -> _Switch | None:
    """None: it has no adapters."""
    found: _Switch | None = vars(backbone).get(_SWITCH)
    return found


def _inject(module: PreTrainedModel, name: str, config: LoraConfig, base: Path, *, seed: int, trained: bool) -> Adapter:
    from peft import inject_adapter_in_model

    keep = {known for known, p in module.named_parameters() if p.requires_grad and _stays_trained(known)}
    with torch.random.fork_rng(devices=[]):  # peft draws from the global generator
        torch.manual_seed(seed)
        inject_adapter_in_model(config, module, name)
    vars(module).pop("peft_config", None)  # or peft warns of a second adapter
    module.eval()  # a new adapter's dropout is on
    adapter = Adapter(module, name, config, base)
    backbone: nn.Module = getattr(module, module.base_model_prefix)
    vars(backbone)[_SWITCH] = _Switch(backbone)
    if trained:
        keep |= set(adapter.parameters)
    for known, parameter in module.named_parameters():
        parameter.requires_grad_(known in keep)
    return adapter


def _stays_trained(name: str) -> bool:
    return ".lora_" in name or name == HEAD


def _linear_layers(backbone: nn.Module) -> dict[str, list[nn.Linear | Conv1D]]:
    """By the last part of their names; inside a layer that has an adapter already, the original one."""
    found: dict[str, list[nn.Linear | Conv1D]] = {}
    for name, layer in backbone.named_modules():
        if isinstance(layer, (nn.Linear, Conv1D)) and ".lora_" not in name:
            found.setdefault(name.removesuffix(".base_layer").rpartition(".")[2], []).append(layer)
    return found


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
