"""The attacks: `image` (PGD), `text` (BERT-Attack on class prompts), and `multimodal`, which is both at once."""
