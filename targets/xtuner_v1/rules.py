"""What XTuner V1 derives, cannot say, and needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mfc.catalog.stored import bare
from mfc.rules.engine import Value, advise, derive, require
from mfc.rules.words import listed

if TYPE_CHECKING:
    from mfc.catalog.architecture import Architecture
    from mfc.problem import Model, Problem
    from mfc.spec.models import Spec
    from mfc.strategy import Strategy

CONTRACT = "xtuner-v1-1.0.1"
_CONFIG = "XTuner v1.0.1 xtuner/v1/datasets/config.py"

# Chat templates by how a model's name begins (xtuner/v1/data_proto/templates). Qwen 2 and 3 both write ChatML; models
# that others made of them, reasoning distills above all, have templates of their own.
TEMPLATES = (
    (r"(code)?qwen(1\.5|2|2\.5|3)-", "qwen3"),
    (r"gpt-oss", "gpt-oss"),
    (r"deepseek-v3(-base|-0324)?$", "deepseek-v3"),
)
FORMATS = {"sft": "messages", "pretrain": "text"}
NEVER = -1  # as an interval of its checkpoints
STEPS = 500  # between checkpoints, where the spec leaves it open: mfc usually means each epoch, which V1 cannot say


def knows(what: str) -> list[str]:
    """One of the contract's lists: families, templates."""
    from mfc.target import contracts

    names: list[str] = contracts.load(CONTRACT)["x-knows"][what]
    return names


@require("XTuner v1.0.1 xtuner/v1/model/__init__.py, get_model_config_from_hf", blames="target")
def family(architecture: Architecture, model: Model) -> str | None:
    """The family is one that XTuner V1 has model code for."""
    if architecture.vision is not None:
        return "trains images by configs of their own, which mfc does not write"
    if architecture.family not in knows("families"):
        return f"has no model code for {architecture.family}; it knows {listed(knows('families'), 'and')}"
    return "trains whole weights, not quantised ones" if model.quantized is not None else None


@derive("template", "XTuner v1.0.1 xtuner/v1/data_proto/templates")
def template(model: Model, task: str) -> Value:
    """Chats are written in the template of the model; plain text has none."""
    if task != "sft":
        return Value(None, "texts are taken as they are")
    own = [bare(name.rstrip("/").rpartition("/")[2].lower()) for name in model.known_as]
    for pattern, name in TEMPLATES:
        if any(re.match(pattern, each) for each in own):
            return Value(name, f"by its name, {model.name} was trained with it")
    return Value("", f"XTuner V1 has none for {model.name}: to compile, set targets.xtuner-v1.template")


@require("XTuner v1.0.1 xtuner/v1/data_proto/templates, CHAT_TEMPLATE_MAP", blames="target")
def chat_template(template: str | None, task: str) -> str | None:
    """The chat template is one that XTuner V1 has."""
    if template is not None and task != "sft":
        return f"takes no chat template for task {task}: leave data.template out"
    if not template or template in knows("templates"):  # an unknown one can be planned, not compiled
        return None
    return f"has no chat template {template}; there are {listed(knows('templates'), 'and')}"


@require(_CONFIG + ": JsonlDataset", blames="target")
def data_rows(spec: Spec, task: str) -> str | None:
    """Data are JSON lines of messages, for pretraining of one text each, one file after the other."""
    if len({one.weight for one in spec.data.train}) > 1:
        return "takes a part of each file, not a share of the mix: leave data.train[].weight out, or mix the files"
    wanted = FORMATS.get(task, "messages")
    for one in spec.data.train:
        form = wanted if one.format == "auto" else one.format
        if form != wanted:
            return f"reads {wanted} rows for task {task}, not {form}"
        if one.hub or not str(one.path).endswith(".jsonl"):
            return f"reads files of JSON lines (.jsonl), not {one.hub or one.path}"
    return None


@require("XTuner v1.0.1 xtuner/v1/train/trainer.py", blames="target")
def evaluation(spec: Spec) -> str | None:
    """There is no loss on a held-out set, and no adapter to start from."""
    if spec.model.adapter is not None:
        return "knows no adapters: merge it into the model first"
    if spec.model.revision is not None:
        return "loads no revision: download it, and give the folder as model.id"
    return None if spec.data.eval in (None, "none") else "does not evaluate while it trains: set data.eval: none"


@require("XTuner v1.0.1 xtuner/v1/train/trainer.py: total_epoch is an integer", blames="target")
def whole_epochs(spec: Spec) -> str | None:
    """Epochs are whole."""
    epochs = spec.train.epochs
    return f"trains whole epochs, not {epochs:g}; train.max_steps may say it" if epochs and epochs % 1 else None


@require("XTuner v1.0.1 xtuner/v1/train/trainer.py: one pack after the other, global_batch_size / ranks of them")
def one_row_at_a_time(micro_batch: int) -> str | None:
    """A GPU works on one row at a time."""
    return (
        None
        if micro_batch == 1
        else f"XTuner V1 takes rows one at a time, not {micro_batch}; a longer pack does the same"
    )


@require("XTuner v1.0.1 xtuner/v1/train/cli: chunk is its command line's own choice; it needs no package")
def own_loss_is_chunked(loss: str, problem: Problem) -> str | None:
    """Left open, the loss is XTuner V1's own, which never holds all logits."""
    if loss == "fused" or "loss" in problem.pins:
        return None
    return "XTuner V1 cuts the loss into chunks by itself; strategy.loss: plain holds all logits"


@require("XTuner v1.0.1 xtuner/v1/train/trainer.py: checkpoint_interval counts optimizer steps", blames="target")
def saves_by_steps(save_every: int | str) -> str | None:
    """Checkpoints are counted in optimizer steps."""
    return (
        "counts steps between checkpoints, not epochs: give run.save_every their number"
        if save_every == "epoch"
        else None
    )


@advise("XTuner v1.0.1 xtuner/v1/datasets/pt_tokenize_fn/text.py reads `content`")
def texts_are_called_content(strategy: Strategy) -> str | None:
    """Rows of text have another name in XTuner V1."""
    if strategy.task != "pretrain":
        return None
    return "XTuner V1 reads each text from the field content (or messages[0].content), not text: rename it in the file"


@advise("XTuner v1.0.1 xtuner/v1/config/optim.py: one group of all parameters")
def norms_decay(weight_decay: float) -> str | None:
    """Norms and biases decay like all else."""
    if not weight_decay:
        return None
    return "XTuner V1 lets norms and biases decay too, which transformers' Trainer does not"


RULES = (
    family,
    template,
    chat_template,
    data_rows,
    evaluation,
    whole_epochs,
    one_row_at_a_time,
    own_loss_is_chunked,
    saves_by_steps,
    texts_are_called_content,
    norms_decay,
)
