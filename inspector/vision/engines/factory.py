"""Makes the engine of a given name. Torch is imported only where a torch engine is wanted."""

from __future__ import annotations

from pathlib import Path

from inspector.errors import EngineError
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.engines.protocols import Engine
from inspector.vision.networks.torch_extra import ensure_torch, has_torch

ENGINES = ("onnxruntime", "torch", "torch-channels-last", "torch-cuda")


def create_engine(name: str, cache: Path, threads: int = 0) -> Engine:
    """The engine of that name; `auto` is torch-cuda where a GPU is usable, else onnxruntime.

    `cache` keeps exported graphs, `threads` 0 means all cores. Raises EngineError, TorchMissing.
    """
    if name == "auto":
        name = "torch-cuda" if _has_usable_gpu() else "onnxruntime"
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
