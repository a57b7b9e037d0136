"""Reports: the index's results as rows, beside the paper's numbers, in the formats people and programs read."""
