"""Makes the engine of a given name. Torch is imported only where a torch engine is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from inspector.errors import EngineError
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.engines.protocols import FLOAT32, Engine, Precision
from inspector.vision.networks.torch_extra import ensure_torch, has_torch

ENGINES = ("onnxruntime", "openvino", "torch", "torch-channels-last", "torch-cuda")

NO_INT8 = (
    "Passes in int8 are not offered: where they were tried they were slower than bfloat16 and less exact. Set "
    'engine.precision to "bfloat16" or "float32".'
)


def create_engine(name: str, cache: Path, threads: int = 0, precision: str = FLOAT32) -> Engine:
    """The engine of that name; `auto` is torch-cuda where a GPU is usable, else onnxruntime.

    `auto` never takes openvino: which of the two is faster depends on the processor, and a person who has measured it
    names it. `cache` keeps exported graphs, `threads` 0 means all cores. `precision`: of products that are enrolled;
    only openvino has another than float32. Raises EngineError, TorchMissing.
    """
    if name == "auto":
        name = "torch-cuda" if _has_usable_gpu() else "onnxruntime"
    if precision == "int8":
        raise EngineError(NO_INT8)
    if name == "openvino":
        from inspector.vision.engines.openvino_engine import create_openvino_engine

        return create_openvino_engine(cache, threads, cast(Precision, precision))
    if precision != FLOAT32:
        raise EngineError(f'The engine {name} computes in {FLOAT32} only; {precision} needs engine.name = "openvino".')
    if name == "onnxruntime":
        return OnnxEngine(cache, threads)
    if name in ENGINES:
        ensure_torch(f"The engine {name}", "Or set engine.name to onnxruntime.")
        from inspector.vision.engines.torch_engine import create_torch_engine

        return create_torch_engine(name, threads)
    raise EngineError(f"There is no engine {name!r}; choose one of auto, {', '.join(ENGINES)}.")


def _has_usable_gpu() -> bool:
    # The device file is checked first: importing torch would cost a machine without a GPU seconds and memory.
    if not Path("/dev/nvidiactl").exists() or not has_torch():
        return False
    import torch

    return torch.cuda.is_available()
