from tests.pipeline.packages import packages

__all__ = ["packages"]
