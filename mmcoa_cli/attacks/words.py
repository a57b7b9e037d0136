"""What a word is to the text attack: without the punctuation that is attached to it, which stays where it was.

Punctuation is what BERT's tokenizer sets apart: every ASCII sign that is no letter or digit, and Unicode's own classes
of it. Inside a word ("don't", "t-shirt") it belongs to the word.
The stop words are BERT-Attack's: the list that the paper's released code filters by (`filter_words`).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_WORDS = r"""
! " % & ( ) * + , - . / : ; < = > ? @ ^ a about above across after afterwards again against ain all almost alone
along already also although am among amongst an and another any anyhow anyone anything anyway anywhere are aren
aren't around as at b back been before beforehand behind being below beside besides between beyond both but by
can cannot could couldn couldn't d didn didn't doesn doesn't don don't down due during either else elsewhere
empty enough even ever everyone everything everywhere except first for former formerly from hadn hadn't hasn
hasn't haven haven't he hence her here hereafter hereby herein hereupon hers herself him himself his how however
hundred i if in indeed into is isn isn't it it's its itself just latter latterly least ll may me meanwhile
mightn mightn't mine more moreover most mostly must mustn mustn't my myself namely needn needn't neither never
nevertheless next no nobody none noone nor not nothing now nowhere o of off on once one only onto or other
others otherwise our ours ourselves out over per please s same shan shan't she she's should've shouldn shouldn't
some somehow something sometime somewhere such t than that that'll the their theirs them themselves then thence
there thereafter thereby therefore therein thereupon these they this those through throughout thru thus to too
toward towards under unless until up upon used ve was wasn wasn't we were weren weren't what whatever when
whence whenever where whereafter whereas whereby wherein whereupon wherever whether which while whither who
whoever whole whom whose why with within without won won't would wouldn wouldn't y yet you you'd you'll you're
you've your yours yourself yourselves | · ～
"""

STOP_WORDS = frozenset([*_WORDS.split(), "a the"])


@lru_cache(maxsize=2**14)
def parted(word: str, *, whole: bool = False) -> tuple[str, str, str]:
    """The punctuation before a word, the word, and what is behind: "(cat)." is "(", "cat", ")."; of "..." only the
    first is not empty. With `whole` it all counts as the word."""
    if whole:
        return "", word, ""
    ends = [i for i, sign in enumerate(word) if not is_punctuation(sign)]
    if not ends:
        return word, "", ""
    return word[: ends[0]], word[ends[0] : ends[-1] + 1], word[ends[-1] + 1 :]


def replaced(old: str, new: str, *, whole: bool = False) -> str:
    """The word `new` with the punctuation of `old`."""
    before, _, behind = parted(old, whole=whole)
    return before + new + behind


def bare(word: str) -> str:
    """A word without punctuation at its ends; what is nothing else stays."""
    return parted(word)[1] or word


def is_punctuation(sign: str) -> bool:
    """As BERT's tokenizer has it."""
    kind = unicodedata.category(sign)
    return kind.startswith("P") or (sign.isascii() and kind.startswith("S"))
