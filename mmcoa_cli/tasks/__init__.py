"""Tasks, by name: what is asked of a model, and the metrics of its answers. A file and a line for each."""

from .base import TASKS, Drawn, Metric, Task, lookup, register
from .classification import CLASSIFICATION
from .features import FEATURES
from .retrieval import RETRIEVAL

for _task in (CLASSIFICATION, RETRIEVAL, FEATURES):
    register(_task)

__all__ = ["TASKS", "Drawn", "Metric", "Task", "lookup", "register"]
