"""Trace one training step: the real transformers classes, PEFT's adapters and a torch optimizer, on fake tensors.

The model is built on the meta device, its parameters are swapped for fake CPU tensors, the optimizer makes its states,
then one step runs under the tracker. Nothing is computed: a 70B model takes seconds and no memory to speak of.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import peft
import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.initialization import no_init_weights

from mfc.errors import SpecError
from mfc.simulate.cuda import DEVICE, followed
from mfc.simulate.setup import Setup
from mfc.simulate.tracker import Peak, Tracker
from mfc.strategy import Lora

DTYPES = {2: torch.bfloat16, 4: torch.float32}
VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
STATES = ("weights", "buffers", "optimizer")


@dataclass(frozen=True, slots=True)
class Trace:
    """What a step held. Sizes are bytes; parameters are numbers.

    `peaks` by phase: "forward", "loss forward", "loss backward", "layer N" (backward, N from the bottom; the top one
    begins with the final norm), "embedding", "optimizer". `states` are weights, buffers and optimizer states.
    """

    peaks: Mapping[str, Peak]
    states: Mapping[str, int]
    saved: int  # what the forward pass leaves for the backward pass
    depth: int
    parameters: int  # without adapters
    trainable: int
    events: tuple[tuple[int, int], ...]  # as Tracker.events
    begins: int  # where in them the step begins; before are weights, buffers and optimizer states

    @property
    def peak(self) -> int:
        """Bytes at the peak of the step: what torch.cuda.max_memory_allocated would show, less workspaces."""
        return max(peak.size for peak in self.peaks.values())


def trace(setup: Setup) -> Trace:
    """Trace one step. Raises SpecError when the libraries refuse the model or the adapters."""
    with _refusals(), warnings.catch_warnings(), followed(setup.kernel):
        warnings.simplefilter("ignore")
        transformers.utils.logging.set_verbosity_error()
        with torch.device("meta"), no_init_weights():
            model, parameters = _build(setup)
        with FakeTensorMode(allow_non_fake_inputs=True):
            _fake(model)
            model.train()
            if setup.checkpointing:
                model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
                if setup.lora:
                    model.enable_input_require_grads()
            gc.collect()
            return _run(model, parameters, setup)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What the libraries cannot build or run is no fault of mfc's: their own words, as an error of the spec."""
    try:
        yield
    except (ValueError, LookupError, AttributeError, TypeError, ImportError, RuntimeError, AssertionError) as error:
        said = " ".join(str(error).split())[:400]
        libraries = f"transformers {transformers.__version__} or PEFT {peft.__version__}"
        raise SpecError(f"error: not simulated: {libraries} cannot run it: {type(error).__name__}: {said}") from error


def _build(setup: Setup) -> tuple[Any, int]:
    """The model with its adapters, and its parameters without them."""
    attention = "eager" if setup.kernel == "eager" else "sdpa"
    dtype = DTYPES[setup.weights]
    config = transformers.AutoConfig.for_model(**setup.config)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    model.tie_weights()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if setup.lora:
        model = peft.get_peft_model(model, _adapters(setup, setup.lora), autocast_adapter_dtype=setup.adapter == 4)
    if setup.lora and setup.adapter != 4:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(DTYPES[setup.adapter])
    return model, parameters


def _adapters(setup: Setup, lora: Lora) -> peft.LoraConfig:
    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=setup.targets if isinstance(setup.targets, str) else list(setup.targets),
        modules_to_save=list(lora.modules_to_save) or None,
        use_rslora=lora.variant == "rslora",
        use_dora=lora.variant == "dora",
        task_type="CAUSAL_LM",
    )


def _fake(model: Any) -> None:
    """Swap meta tensors for fake ones of the active mode; tied ones stay tied."""
    made: dict[int, Any] = {}
    kept = []  # an id may be used again once its tensor dies
    for module in model.modules():
        for name, old in module._parameters.items():
            if old is not None:
                new = torch.empty(old.shape, dtype=old.dtype, device=DEVICE)
                kept.append(old)
                module._parameters[name] = made.setdefault(id(old), torch.nn.Parameter(new, old.requires_grad))
        for name, old in module._buffers.items():
            if old is not None:
                kept.append(old)
                module._buffers[name] = made.setdefault(id(old), torch.empty(old.shape, dtype=old.dtype, device=DEVICE))


def _run(model: Any, parameters: int, setup: Setup) -> Trace:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    tracker = Tracker()
    for parameter in model.parameters():
        tracker.note(parameter, "weights")
    for buffer in model.buffers():
        tracker.note(buffer, "buffers")
    optimizer = _optimizer(setup, trained)
    inner = model.get_base_model() if setup.lora else model
    layers = decoder_layers(inner)
    with _phases(tracker, inner, layers, trained), tracker:
        tracker.phase = "setup"
        _first_step(optimizer, trained, tracker)
        begins = len(tracker.events)
        for _ in range(2 if setup.accumulates else 1):
            tracker.phase = "forward"
            before = tracker.total
            outputs = _forward(model, setup)
            loss = outputs.loss
            if not setup.keeps_outputs:
                del outputs
            saved = tracker.total - before
            tracker.phase = "loss backward"
            loss.backward()
            tracker.settle()
            outputs = loss = None
        tracker.phase = "optimizer"
        tracker.mark("")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        gc.collect()
    peaks = {phase: peak for phase, peak in tracker.peaks.items() if phase not in ("", "setup")}
    return Trace(
        peaks=peaks,
        states={kind: tracker.parts[kind] for kind in STATES},
        saved=saved,
        depth=len(layers),
        parameters=parameters,
        trainable=sum(parameter.numel() for parameter in trained),
        events=tuple(tracker.events),
        begins=begins,
    )


def _optimizer(setup: Setup, trained: list[Any]) -> Any:
    if setup.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=1e-4, foreach=setup.foreach)
    return torch.optim.AdamW(trained, lr=1e-4, fused=not setup.foreach, foreach=setup.foreach)


def _first_step(optimizer: Any, trained: list[Any], tracker: Tracker) -> None:
    """Make the optimizer's states, which every later step finds."""
    for parameter in trained:
        parameter.grad = torch.empty_like(parameter)
    tracker.label((parameter.grad for parameter in trained), "gradients")
    optimizer.step()
    for state in optimizer.state.values():
        tracker.label(state.values(), "optimizer")
    optimizer.zero_grad(set_to_none=True)
    gc.collect()


def _forward(model: Any, setup: Setup) -> Any:
    ids = torch.zeros(setup.sequences, setup.length, dtype=torch.long, device=DEVICE)
    given = {"input_ids": ids, "labels": ids.clone(), "use_cache": False}
    if setup.kernel == "masked":
        given["attention_mask"] = torch.ones_like(ids)
    elif setup.kernel == "blocks":
        dtype = torch.bfloat16 if setup.autocast or setup.weights == 2 else torch.float32
        given["attention_mask"] = torch.zeros(
            setup.sequences, 1, setup.length, setup.length, dtype=dtype, device=DEVICE
        )
    if not setup.autocast:
        return model(**given)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        outputs = model(**given)
    if outputs.logits.dtype != torch.float32:
        outputs.logits = outputs.logits.float()
    return outputs


def decoder_layers(model: Any) -> list[Any]:
    """The language model's layers, bottom first. Raises SpecError when the class keeps them in an unusual way."""
    depth = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth:
            return list(module)
    raise SpecError(f"{type(model).__name__}: its decoder layers are not in one list, so moments cannot be told apart")


@contextlib.contextmanager
def _phases(tracker: Tracker, model: Any, layers: list[Any], trained: list[Any]) -> Iterator[None]:
    """Hooks that set the tracker's phase where the program passes from one moment of the step to the next."""

    def enter(phase: str) -> Any:
        def set_phase(*_: Any) -> None:
            tracker.phase = phase

        return set_phase

    def on_gradient(tensor: Any, phase: str) -> None:
        if isinstance(tensor, torch.Tensor) and tensor.requires_grad and tensor.grad_fn is not None:
            tensor.register_hook(enter(phase))

    def before_head(_: Any, inputs: tuple[Any, ...]) -> None:
        if tracker.phase == "forward":
            tracker.phase = "loss forward"
            on_gradient(inputs[0], f"layer {len(layers) - 1}")

    def after_layer(index: int) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            if tracker.phase == "forward":  # not when a checkpointed layer runs again
                on_gradient(output[0] if isinstance(output, tuple) else output, f"layer {index}")

        return hook

    def after_embedding(_: Any, __: Any, output: Any) -> None:
        on_gradient(output, "embedding")

    handles = [
        model.get_output_embeddings().register_forward_pre_hook(before_head),
        model.get_input_embeddings().register_forward_hook(after_embedding),
        *(layer.register_forward_hook(after_layer(index)) for index, layer in enumerate(layers)),
        *(p.register_post_accumulate_grad_hook(lambda q: tracker.label([q.grad], "gradients")) for p in trained),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
