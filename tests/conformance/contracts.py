"""Which contract is extracted where. `python -m tests.conformance.contracts` rewrites all the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mfc.catalog import models

from tests.conformance.environments import environment

REPOSITORY = Path(__file__).parents[2]
CONTRACTS = {
    "deepspeed-0.16.9": "llamafactory-0.9.4",
    "deepspeed-0.18.4": "llamafactory-0.9.5",
    "deepspeed-0.19.8": "deepspeed-0.19.8",
    "llamafactory-0.9.4": "llamafactory-0.9.4",
    "llamafactory-0.9.5": "llamafactory-0.9.5",
    "xtuner-0.2.0": "xtuner-0.2.0",
    "unsloth-2026.10.9": "unsloth-2026.10.9",
    "accelerate-1.15.0": "deepspeed-0.19.8",
    "axolotl-0.19.0": "axolotl-0.19.0",
    **{f"trl-{command}-1.16.0": "deepspeed-0.19.8" for command in ("sft", "dpo", "kto", "grpo", "reward")},
}
LIGER = REPOSITORY / "compiler" / "mfc" / "target" / "liger.json"
LIGER_VERSION, LIGER_IN = "0.8.5", "ms-swift-4.6.0"
MODELSCOPE = REPOSITORY / "compiler" / "mfc" / "catalog" / "modelscope.json"
TEMPLATES = REPOSITORY / "targets" / "llamafactory" / "templates.json"
LLAMAFACTORY_VERSIONS = tuple(name.split("-")[1] for name in CONTRACTS if name.startswith("llamafactory"))


def contract_file(contract: str) -> Path:
    return REPOSITORY / "schemas" / "contracts" / f"{contract}.json"


def extracted(contract: str) -> str:
    """The text of one contract, read anew from the installed framework."""
    name, *command, _ = contract.split("-")
    if name == "accelerate":
        script = REPOSITORY / "targets" / "contract" / "launch_config.py"
        return environment(CONTRACTS[contract]).run(["python", script]).stdout
    return _script(name, CONTRACTS[contract], *(command or ["contract"]))


def extracted_templates() -> str:
    """The text of `templates.json`: per LLaMA-Factory version, its templates and the models whose default each is."""
    versions = {
        version: json.loads(_script("llamafactory", f"llamafactory-{version}", "templates"))
        for version in LLAMAFACTORY_VERSIONS
    }
    return json.dumps(versions, indent=1, ensure_ascii=False) + "\n"


def extracted_liger() -> Any:
    """What the installed Liger patches, by function."""
    script = REPOSITORY / "targets" / "contract" / "liger.py"
    return json.loads(environment(LIGER_IN).run(["python", script]).stdout)


def extracted_modelscope() -> str:
    """The text of `modelscope.json`: what ModelScope calls the models of the catalogue, as ms-swift lists them."""
    listed = json.loads(_script("ms_swift", LIGER_IN, "ids"))
    listed |= {
        hub.replace("/Meta-Llama-3.1", "/Llama-3.1"): scope for hub, scope in listed.items()
    }  # Meta renamed them
    known = {each for row in models.rows() for each in models.ids(row)}
    return json.dumps({hub: listed[hub] for hub in sorted(listed) if hub in known}, indent=1) + "\n"


def committed(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _script(target: str, where: str, what: str) -> str:
    return environment(where).run(["python", REPOSITORY / "targets" / target / "contract" / "extract.py", what]).stdout


if __name__ == "__main__":
    for name in CONTRACTS:
        contract_file(name).write_text(extracted(name), encoding="utf-8")
    TEMPLATES.write_text(extracted_templates(), encoding="utf-8")
    MODELSCOPE.write_text(extracted_modelscope(), encoding="utf-8")
