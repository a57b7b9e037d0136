"""mmcoa: the adversarial robustness of vision-language models, from the command line."""

__version__ = "0.1.0"
