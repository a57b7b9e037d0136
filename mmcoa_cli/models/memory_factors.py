"""How much memory computing takes beside what is there and what is held, as measured."""

PASSING = 1.4  # 512 images of which a ViT held 224 MB took 307 MB; the rest is there for a moment
MOMENTS = 3  # of each trained weight there are, beside it, its gradient and what the optimizer knows of it
