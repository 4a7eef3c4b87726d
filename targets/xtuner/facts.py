"""What XTuner 0.2.0 knows by name: families, chat templates, data maps, DeepSpeed presets.

The lists themselves are in the contract (schemas/contracts/xtuner-0.2.0.json, `x-knows`), read from XTuner; here is how
a model or a data set is matched to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mfc import rows
from mfc.target.templates import Listed

if TYPE_CHECKING:
    from mfc.problem import Model
    from mfc.spec.models import DatasetSpec

CONTRACT = "xtuner-0.2.0"

# Families whose code is on the Hub beside the weights: XTuner always trusts it.
REMOTE_CODE = frozenset({"baichuan", "chatglm", "internlm", "internlm2", "internlm3", "minicpm", "minicpm3", "qwen"})

# Families whose attention XTuner replaces by one that takes packed samples and split sequences. The classes named in
# xtuner/model/modules/dispatch for Phi-3, Cohere and Qwen2-MoE are not those that transformers 4.48 builds.
DISPATCHED = frozenset({"internlm", "internlm2", "internlm3", "llama", "mistral", "mixtral", "qwen2"})

# Lines of models that XTuner's own configs have in no size, by how their names begin.
_BY_NAME: tuple[tuple[str, str], ...] = (
    (r"code-?llama-.*instruct", "code_llama_chat"),
    (r"(meta-)?llama-3(\.[123])?-\d+b-instruct|llama-3\.1-nemotron-.*instruct", "llama3_chat"),
    (r"tinyllama-.*chat|stablelm-(2-)?zephyr", "zephyr"),
    (r"deepseek-coder-v2-.*instruct|deepseek-v2\.5", "deepseek_v2"),
    (r"deepseek-v2-chat", "deepseek_v2"),
    (r"mistral-7b-instruct", "mistral"),
    (r"qwen2(\.5)?-(coder-|math-)?[\d.]+b-(a14b-)?instruct|codeqwen1\.5-.*chat", "qwen_chat"),
    (r"yi-.*chat", "qwen_chat"),  # ChatML as well
    (r"internlm(2-math|3-.*instruct)", "internlm2_chat"),
    (r"phi-3(\.5)?-(mini|medium|moe)-.*instruct", "phi3_chat"),
    (r"(gemma|gemma-1\.1|codegemma)-[27]b-it", "gemma"),
    (r"c4ai-command-r-|aya-", "cohere_chat"),
    (r"minicpm-2b", "minicpm"),
)

# The map from each layout of rows to XTuner's own.
OWN = "mfc_rows"  # written beside the config, for layouts that XTuner has no function for
# XTuner's alpaca_map_fn ends an instruction without input in an empty line, as no other framework does.
MAPS = {
    "messages": "xtuner.dataset.map_fns:openai_map_fn",
    "text": "xtuner.dataset.map_fns:pretrain_map_fn",
}
OWN_MAPS = {form: f"{OWN}:{form}_map_fn" for form in ("messages", "alpaca", "text", "sharegpt", "preference")}
_FORMATS = {"pretrain": ("text",), "sft": ("messages", "alpaca", "sharegpt")}  # other tasks: preference
FILE_TYPES = {"json": "json", "jsonl": "json", "parquet": "parquet", "csv": "csv", "arrow": "arrow", "txt": "text"}

# The token whose output becomes the reward: what XTuner's own configs take (configs/reward_model).
_REWARD_TOKENS = {"internlm2": 92527}
_LLAMA_3_VOCAB, _LLAMA_3_REWARD = 128256, 128002


def knows(what: str) -> Any:
    """One of the contract's lists: templates, dataset_maps, deepspeed, families."""
    from mfc.target import contracts

    return contracts.load(CONTRACT)["x-knows"][what]


@lru_cache
def _listed() -> Listed:
    return Listed(templates())


@lru_cache
def templates() -> Mapping[str, tuple[str, ...]]:
    """XTuner's chat templates, each with the models that its own configs use it for."""
    used = knows("templates_used")
    return {name: tuple(model for model, template in used.items() if template == name) for name in knows("templates")}


def find_template(model: Model) -> tuple[str, str]:
    """The chat template of a model and why it is that one; an empty name when nothing says."""
    own = [name.rstrip("/").rpartition("/")[2].lower() for name in model.known_as]
    if match := _listed().match(model.known_as):
        return match.found, f"what XTuner's own configs have for {match.listed}"
    if model.instruct is False:
        return "default", f"{model.name} is a base model; most of XTuner's own configs for those have it"
    for pattern, template in _BY_NAME:
        if any(re.match(pattern, name) for name in own):
            return template, f"by its name, {model.name} was trained with it"
    return "", f"XTuner has none that is known to be that of {model.name}: to compile, set targets.xtuner.template"


def find_reward_token(model: Model) -> int | None:
    """The token id that XTuner's own configs use for a family's rewards."""
    architecture = model.architecture
    if architecture.family == "llama" and architecture.vocab == _LLAMA_3_VOCAB:
        return _LLAMA_3_REWARD
    return _REWARD_TOKENS.get(architecture.family)


def layouts(task: str) -> tuple[str, ...]:
    """The layouts of rows that a task can train on; the first is what `auto` means."""
    return _FORMATS.get(task, ("preference",))


def rows_map(one: DatasetSpec, task: str, system: str | None) -> str:
    """The map for the rows of a data set: XTuner's own, unless they have other names, or a system prompt."""
    form = rows.layout(one, task)
    own = bool(system) or {"columns", "roles"} & {*rows.options(one)}
    return OWN_MAPS[form] if own else MAPS.get(form, OWN_MAPS[form])


def file_type(path: str) -> str | None:
    """The reader of `datasets` for a file; None for a folder, which it looks into by itself."""
    ending = PurePosixPath(path).suffix.removeprefix(".")
    return FILE_TYPES.get(ending) if ending else None


NEVER = -1  # as an interval of mmengine's: hooks/hook.py, every_n_train_iters
ANSWER = 600  # tokens that EvaluateChatHook generates at most


def steps_of_epoch(gradient_accumulation: int) -> int:
    """Micro-steps between checkpoints that the spec wants after each epoch: XTuner's own 500, in optimizer steps."""
    return -(-500 // gradient_accumulation) * gradient_accumulation


def preset(layout: tuple[str, str, str], precision: str, bf16: bool, numbers: tuple[Any, ...]) -> str | None:
    """The shipped DeepSpeed config that says exactly this, or None.

    `layout` is sharding and what is offloaded (optimizer, parameters), `bf16` whether the GPU has it: a preset's "auto"
    takes it then. What a preset leaves out are DeepSpeed's own defaults (runtime/zero/config.py), here as `numbers` in
    the order of DEFAULTS; None where the layout has no such number.
    """
    alike = all(number in (None, default) for number, default in zip(numbers, DEFAULTS.values(), strict=True))
    same = precision == ("bf16" if bf16 else "fp16") and alike
    return PRESETS.get(layout) if same else None


PRESETS = {
    ("zero1", "none", "none"): "deepspeed_zero1",
    ("zero2", "none", "none"): "deepspeed_zero2",
    ("zero2", "cpu", "none"): "deepspeed_zero2_offload",
    ("zero3", "none", "none"): "deepspeed_zero3",
    ("zero3", "cpu", "cpu"): "deepspeed_zero3_offload",
}
DEFAULTS: Mapping[str, Any] = {
    "reduce_bucket_elements": 500_000_000,
    "allgather_bucket_elements": 500_000_000,
    "prefetch_bucket_elements": 50_000_000,
    "persistence_threshold_elements": 100_000,
    "max_live_elements": 1_000_000_000,
    "sub_group_elements": 1_000_000_000,
    "overlap_comm": True,
    "pin_memory": True,
}
