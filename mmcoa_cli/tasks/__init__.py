"""Tasks: what is asked of a model, and the metrics of its answers."""
