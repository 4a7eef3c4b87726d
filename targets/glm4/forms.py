"""The forms that GLM-4's fine-tuning demo has had: where it lies, what it trains, what its YAML asks for.

Source: the history of github.com/THUDM/GLM-4. A form is called after the month since which its YAML is what it is.
"""

from __future__ import annotations

from typing import NamedTuple

from mfc.target.versions import nearest


class Form(NamedTuple):
    """One form of the demo. Versions of transformers are those that its own code runs with."""

    commit: str  # the last that has this form
    folder: str  # in the checkout
    families: tuple[str, ...]  # model types that its `from_pretrained` loads
    combines: bool  # the YAML has to say `combine` and `freezeV`
    swanlab: bool  # it may say `swanlab`
    adapters_fp32: bool  # the PEFT that it asks for casts adapters (peft/mapping.py: from 0.12 on)
    checkpoints: bool  # the script turns gradient checkpointing on itself, whatever the YAML says
    transformers: str  # what it was released beside: the oldest that its requirements allow, or a later one
    oldest: str
    below: str  # the first that breaks it
    deepspeed: str


# transformers 5 drops arguments of training that the forms of the YAML and mfc write (5.23: warmup_ratio).
# 2024.07: finetune.py passes `empty_init` to the model, which only its remote code takes, and reads chat templates as
# lists in lists, which transformers 4.46 no longer gives. 2024.12: checkpointing is the YAML's (52cd14c). 2025.04: the
# folder is `finetune`, and models are loaded without remote code (9c0e421).
FORMS = {
    "2025.04": Form(
        commit="3f79b543647b792aa167c712cd327475ec423f7b",
        folder="finetune",
        families=("glm", "glm4"),
        combines=True,
        swanlab=True,
        adapters_fp32=True,
        checkpoints=False,
        transformers="4.57.6",
        oldest="4.51.3",
        below="5",
        deepspeed="0.19.8",
    ),
    "2024.12": Form(
        commit="ed56f7266eb585358feffd01e8d406533991306d",
        folder="finetune_demo",
        families=("chatglm", "glm"),
        combines=True,
        swanlab=False,
        adapters_fp32=True,
        checkpoints=False,
        transformers="4.48.0",
        oldest="4.46",
        below="5",
        deepspeed="0.16.9",
    ),
    "2024.07": Form(
        commit="0b80c79b8c04ccbf78490211fb848e4a1b8c716e",
        folder="finetune_demo",
        families=("chatglm",),
        combines=False,
        swanlab=False,
        adapters_fp32=False,
        checkpoints=True,
        transformers="4.42.4",
        oldest="4.40",
        below="4.46",
        deepspeed="0.16.9",
    ),
}
VERSIONS = tuple(FORMS)
TOKENS = 151_339  # the script writes GLM-4's own token ids, up to <|observation|>, into every row


def form(version: str) -> Form:
    """The form of a version; of an unknown one, that of the newest before it."""
    return FORMS[nearest(version, VERSIONS)]
