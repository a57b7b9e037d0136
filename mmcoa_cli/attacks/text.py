"""`text`: BERT-Attack on every class prompt (Eq. 4); images stay clean."""

from __future__ import annotations

from .base import Attack, Texts
from .settings import BertAttackSettings


def adv_prompts(texts: Texts) -> list[str]:
    """t' = argmax KL(softmax(g(t)) || softmax(g(t'))) over the candidates of a masked LM, for each prompt."""
    from .bert_attack import attack_texts

    return attack_texts(texts, texts.settings)


TEXT = Attack(
    "text",
    title="BERT-Attack on the class prompts, or on the captions",
    source="Li et al., 2020; arXiv 2404.19287, Eq. 4",
    settings=BertAttackSettings,
    version=2,
    needs=("clean",),
    prompts=adv_prompts,
    masked_lm=True,
    usual=True,
)
