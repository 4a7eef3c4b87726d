"""Tables of the GPUs and the models that mfc knows."""

from __future__ import annotations

from mfc.catalog import gpus, models
from mfc.catalog.parameters import count

from publish.markdown import table

GPU_TITLES = {
    "en": ("GPU", "GiB", "usable", "generation", "formats", "FlashAttention-2", "TFLOP/s", "GB/s", "link", "source"),
    "zh": ("GPU", "GiB", "可用", "架构", "格式", "FlashAttention-2", "TFLOP/s", "GB/s", "互联", "出处"),
}
MODEL_TITLES = {
    "en": ("model", "family", "parameters, 10⁹", "layers", "hidden", "vocabulary", "context"),
    "zh": ("模型", "系列", "参数量（十亿）", "层数", "隐藏维度", "词表", "上下文"),
}


def built_gpus(language: str) -> str:
    """One row for each GPU."""
    rows = [
        (
            gpu.name,
            f"{'≈ ' if gpu.assumed else ''}{gpu.memory_bytes / 2**30:.1f}",
            f"{gpu.cuda_bytes / 2**30:.1f}" if gpu.cuda_bytes else "",
            gpu.generation,
            " ".join(kind for kind in ("bf16", "fp16", "fp8") if getattr(gpu, kind)) or "fp32",
            "✓" if gpu.flash_attention else "",
            f"{gpu.tflops.get('bf16', gpu.tflops['fp16']) if gpu.bf16 else gpu.tflops['fp16']:g}",
            f"{gpu.memory_bandwidth / 1e9:g}",
            gpu.link.kind,
            gpu.source,
        )
        for gpu in gpus.all_gpus()
    ]
    return table(GPU_TITLES[language], rows)


def built_models(language: str) -> str:
    """One row for each model."""
    rows = [
        (
            f"`{model.id}`",
            model.architecture.family,
            f"{count(model.architecture).total / 1e9:.2f}",
            str(model.architecture.layers),
            str(model.architecture.hidden),
            str(model.architecture.vocab),
            str(model.architecture.max_positions or ""),
        )
        for model in models.all_models()
    ]
    return table(MODEL_TITLES[language], rows)
