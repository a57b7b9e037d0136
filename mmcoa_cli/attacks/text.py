"""`text`: BERT-Attack on every class prompt (Eq. 4); images stay clean."""

from __future__ import annotations

from .base import Attack, Texts
from .settings import BertAttackSettings


def adv_prompts(texts: Texts) -> list[str]:
    """t' = argmax KL(softmax(g(t)) || softmax(g(t'))) over the candidates of a masked LM, for each prompt."""
    from ..models.token_rows import cut_by
    from .bert_attack import attack_prompts, prepare

    if texts.mlm is None:
        raise ValueError("the text attack takes its words from a masked LM")
    is_cut = cut_by(texts.victim)
    target = prepare(texts.prompts, texts.names, mlm=texts.mlm, settings=texts.settings, is_cut=is_cut)
    return attack_prompts(texts.victim.embed_texts, target)


TEXT = Attack(
    "text",
    title="BERT-Attack on the class prompts",
    source="Li et al., 2020; arXiv 2404.19287, Eq. 4",
    settings=BertAttackSettings,
    version=2,
    needs=("clean",),
    prompts=adv_prompts,
    masked_lm=True,
    usual=True,
)
