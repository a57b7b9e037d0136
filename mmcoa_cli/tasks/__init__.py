"""Tasks, by name: what is asked of a model, and the metrics of its answers. A file and a line for each."""

from .base import TASKS, Metric, Task, lookup, register
from .classification import Classification

for _task in (Classification(),):
    register(_task)

__all__ = ["TASKS", "Metric", "Task", "lookup", "register"]
