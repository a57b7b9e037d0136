"""Tasks, by name: what is asked of a model, and the metrics of its answers. A file and a line for each."""

from .base import TASKS, Metric, Task, lookup, register
from .classification import CLASSIFICATION

for _task in (CLASSIFICATION,):
    register(_task)

__all__ = ["TASKS", "Metric", "Task", "lookup", "register"]
