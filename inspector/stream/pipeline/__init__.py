"""The only place where stages, queues and adapters are joined."""

from inspector.stream.pipeline.pipeline import Adapters, Pipeline

__all__ = ["Adapters", "Pipeline"]
