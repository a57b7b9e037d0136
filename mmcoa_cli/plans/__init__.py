"""`mmcoa reproduce`: what a table or figure of the paper needs, how long that takes here, and doing it."""
