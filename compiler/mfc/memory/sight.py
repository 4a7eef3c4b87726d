"""Which pictures a step sees, and whether gradients reach the tower that sees them."""

from __future__ import annotations

from mfc.catalog.architecture import Architecture
from mfc.catalog.parameters import Adapter, adapters
from mfc.memory.formats import Formats, formats
from mfc.memory.inputs import Inputs, Sight
from mfc.memory.mining import mined
from mfc.memory.stack import Stack
from mfc.memory.tower import blocks
from mfc.strategy import Strategy


def passive(form: Formats) -> Formats:
    """Formats of layers in which nothing trains: no copies of weights, and no inputs kept for their gradients."""
    width = form.element
    return form._replace(
        full=False,
        weights=width,
        trained=width,
        master=0,
        stream=width,
        fp32_autocast=False,
        casts_base=False,
        fp32_edges=False,
        adapter_matches=False,
    )


def look(architecture: Architecture, strategy: Strategy, stack: Stack, form: Formats) -> Sight | None:
    """What a strategy makes of pictures; None where there are none. `form`: the formats of the language model."""
    vision, pixels = architecture.vision, strategy.image_max_pixels
    if vision is None or pixels is None or not strategy.pictures:
        return None
    tower, projector = strategy.learns("vision"), strategy.learns("projector")
    adapted = strategy.method in ("lora", "qlora")
    if tower == "frozen":
        form = passive(form)
    elif tower == "whole" and adapted:
        form = formats(strategy._replace(method="full", lora=None, quantization=None), stack)
    # PEFT hooks embeddings where checkpointing is on and the model is not quantised; transformers 5 those of towers too
    hooked = vision.hooked and stack.hooks_towers and adapted and strategy.quantization is None
    graph = tower != "frozen" or (hooked and strategy.gradient_checkpointing)
    chosen: tuple[Adapter, ...] = ()
    if strategy.lora is not None and tower == "adapters":
        chosen = adapters(
            architecture,
            strategy.lora,
            fused_experts=stack.fused_experts,
            expert_adapters=stack.expert_adapters,
            freeze_parts=strategy.unadapted,
        )
    kernel: str = strategy.attention
    given = Inputs(
        architecture=blocks(vision)[0],
        formats=form._replace(stream=form.element),  # a convolution embeds patches: autocast runs it in 16 bit
        stack=stack,
        lora=strategy.lora if chosen else None,
        tokens=float(strategy.pictures * vision.patches(pixels)),
        length=vision.span(pixels),
        kernel="eager" if kernel != "flash" and not vision.fused else kernel,
        checkpointing=strategy.gradient_checkpointing and (stack.checkpoints_frozen or tower != "frozen"),
        offloads=stack.checkpoint_offload,
        lean=False,
        kbit=strategy.quantization is not None and strategy.quantization.kind in ("nf4", "fp4"),
        dequantised=False,
        tiled=False,
        holds_streams=False,
    )
    pixel = 2.0 if strategy.deepspeed else 4.0  # the Trainer casts a batch to DeepSpeed's own type only
    return Sight(
        vision=vision,
        given=given,
        tokens=float(strategy.pictures * vision.tokens(pixels)),
        adapters=chosen,
        graph=graph,
        trains=tower != "frozen" or projector != "frozen",
        projector=projector == "whole",
        pixel=pixel,
        mined=mined(vision, pixels, strategy.pictures, form.element, pixel) if vision.mining else None,
    )
