"""Which of a few languages a text is written in, by its function words alone: no model, and nothing to download.

Short words that hold sentences together are a third of any text, and few of them are the same in two languages. A text
of a few words may have none: then nothing can be said.
"""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

Language = Literal["Dutch", "English", "French", "German", "Italian", "Portuguese", "Spanish"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
_FEWEST: Final = 2  # function words, for anything to be said

_FUNCTION_WORDS: Final[dict[Language, str]] = {
    "Dutch": (
        "de het een en van ik je dat die niet is met voor zijn op er maar om hij ook als dan wat nog bij uit kan naar "
        "heb wij ze wordt door meer veel hoe deze dit geen zo worden zou moet heeft onze mijn tot"
    ),
    "English": (
        "the and of to a in is you that it he was for on are with as his they be at this have from or one had by but "
        "not what all were we when your can there an which their if will how do would my been who has its"
    ),
    "French": (
        "le la les un une des du de et est je tu il elle nous vous que qui dans pour pas ne sur avec ce cette au aux "
        "sont plus mais ou se par votre mon ma être avez très bien comme tout c'est d'une l'on peut leur"
    ),
    "German": (
        "der die das und ist ich nicht ein eine einen zu den dem des mit sich auf für sie es im von auch an als wie "
        "wir ihr oder aber bei nach so man nur sind kann wird werden haben hat dass zum zur über mein noch aus"
    ),
    "Italian": (
        "il lo la gli le un una e è di che non per con sono mi ti si ho ha del della dei delle nel nella da al alla "
        "questo questa come ma più anche io tu noi voi molto può essere così perché i"
    ),
    "Portuguese": (
        "o a os as um uma e é de que não para com em do da dos das no na se por mais eu você ele ela nós como mas ao "
        "isso este esta seu sua são muito também foi ser pode meu minha está"
    ),
    "Spanish": (
        "el la los las un una y es de que no para con en del se por más yo tú usted él ella nosotros como pero al lo "
        "esto este esta su sus son muy también fue ser puede mi está hay"
    ),
}
_WORDS: Final = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")


def language_of(text: str) -> Language | None:
    """The language that has the most function words in the text; None where two have as many, or hardly any is found.

    >>> language_of("Je ne sais pas, mais le film est très long."), language_of("1984")
    ('French', None)
    """
    words = [word.replace("\u2019", "'") for word in _WORD.findall(text.casefold())]
    found = {language: sum(word in own for word in words) for language, own in _WORDS.items()}
    first, second = sorted(found, key=lambda language: -found[language])[:2]
    return first if found[first] >= _FEWEST and found[first] > found[second] else None
