"""Closed sets of words that options take: typer completes, lists and checks them; so do the settings they end in."""

from __future__ import annotations

from typing import Literal

Norm = Literal["linf", "l2"]
Precision = Literal["fp32", "tf32", "bf16"]
Tune = Literal["both", "image", "text"]
Towers = Literal["both", "image"]
Contrast = Literal["batch", "class"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine"]
Preset = Literal["paper", "quick"]
Format = Literal["table", "markdown", "latex", "csv", "json", "html"]
Tracker = Literal["tensorboard", "wandb", "trackio"]
Cluster = Literal["slurm", "local"]
