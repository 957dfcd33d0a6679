"""Checks of words: language, opening and ending, form of address, marks, spelling, ease of reading."""

from __future__ import annotations

import re

from mipo_bench.tasks.preferences.checks.response_text import ResponseText

CODES = {"Spanish": "es", "French": "fr", "German": "de", "Italian": "it"}
EASY_LIX = 30
"""LIX below 30 is very easy to read, as in books for children (Björnsson 1968)."""
_GREETING = re.compile(r"\W*(hello|hi|hey|greetings|dear|good (morning|afternoon|evening|day))\b", re.IGNORECASE)
_PREAMBLE = re.compile(
    r"\W*((?:sure|certainly|of course|absolutely|definitely)\b|great question|good question|(that'?s|what) a\b|thank|"
    r"i'?d be (happy|glad)|i('m| am) (happy|glad|sorry)|happy to|glad to|hello\b|hi\b|hey\b|as an? (ai|language)|"
    r"(here|below|following)('s|\u2019s| is| are)\b|to answer|let'?s|let me|okay|ok\b)",
    re.IGNORECASE,
)
_VERDICT = re.compile(
    r"[\W_]*(?:[A-Z]\w+,\s*)?(?:(?:yes|no)(?=\W*$|[*_]*[,.;:!\u2013\u2014]|\s[-\u2013\u2014]\s)|it depends\b)",
    re.IGNORECASE,
)
_CONTRACTION = re.compile(
    r"\b[a-z]+(?:n['\u2019]t|['\u2019](?:re|ve|ll|d|m))\b|\b(?:it|that|there|what|who|here|he|she|let|where|how)['\u2019]s\b",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(r"\b(for example|for instance|e\.\s?g\.|as an example|an example (is|would be))", re.IGNORECASE)
_PROS = re.compile(r"\b(pros?|advantages?|benefits?|upsides?|in favou?r)\b", re.IGNORECASE)
_CONS = re.compile(r"\b(cons?|disadvantages?|drawbacks?|downsides?|against)\b", re.IGNORECASE)
_OUR = re.compile(
    r"((dis|multi|un)?colou?r(?!ado|ation)|(un|dis)?favou?r|flavou?r|neighbou?r|(dis)?honou?r(?!ary|arium|ific)|rumou?r|"
    r"labou?r(?!ator|ious)|humou?r(?!ous|ist)|(mis)?behaviou?r|harbou?r|vapou?r(?!i)|odou?r(?!ous|i)|savou?r|parlou?r|"
    r"armou?r|endeavou?r|saviou?r|mou?ld(?!ova)|smou?lder)\w*"
)
_PAIRS = """
    centre/center theatre/theater fibre/fiber litre/liter sombre/somber calibre/caliber metre/meter
    kilometre/kilometer centimetre/centimeter millimetre/millimeter lustre/luster grey/gray greyish/grayish
    plough/plow tyre/tire kerb/curb aluminium/aluminum pyjamas/pajamas sceptical/skeptical cosy/cozy
    jewellery/jewelry catalogue/catalog dialogue/dialog defence/defense offence/offense analyse/analyze
    paralyse/paralyze travelling/traveling travelled/traveled traveller/traveler marvellous/marvelous
    woollen/woolen modelling/modeling labelled/labeled cancelled/canceled levelled/leveled levelling/leveling
    skilful/skillful fulfil/fulfill enrol/enroll mum/mom doughnut/donut moustache/mustache draught/draft
    manoeuvre/maneuver yoghurt/yogurt
"""
_BOTH = {"tire", "tires", "tired", "curb", "curbs", "draft", "drafts", "dialog", "meter", "meters", "yogurt", "yogurts"}
"""American spellings that are also British words, if of another sense (to tire, a gas meter): they prove nothing."""
_BRITISH, _AMERICAN = (
    frozenset(pair.split("/")[side] + ending for pair in _PAIRS.split() for ending in ("", "s", "d")) - _BOTH
    for side in (0, 1)
)
_ISE = re.compile(
    r"\b(organ|real|recogn|apolog|special|custom|priorit|minim|maxim|optim|emphas|memor|categor|final|util|standard|"
    r"symbol|neutral|general|personal|visual|summar|stabil|moistur|energ|harmon|modern|local|critic)is(e|ed|es|ing|ation)\b",
    re.IGNORECASE,
)
_YZE = re.compile(r"\b(anal|paral|catal)yz(e|ed|es|ing)\b", re.IGNORECASE)


def british_spelling(response: ResponseText, _: str) -> bool:
    """At least one British spelling and no American one. "-ize" is right in both and proves nothing."""
    low = [word.lower() for word in response.words]
    ours = ["our" in word or "mou" in word for word in low if _OUR.fullmatch(word)]
    british = sum(ours) + sum(word in _BRITISH for word in low) + len(_ISE.findall(response.prose))
    american = ours.count(False) + sum(word in _AMERICAN for word in low) + len(_YZE.findall(response.prose))
    return british > 0 and american == 0


def language(response: ResponseText, value: str) -> bool:
    """The prose is in this language."""
    return response.language == CODES[value]


def name(response: ResponseText, value: str) -> bool:
    """The response calls the user by name."""
    return bool(re.search(rf"\b{re.escape(value)}\b", response.prose))


def greeting(response: ResponseText, _: str) -> bool:
    """The first paragraph begins with a greeting."""
    return bool(_GREETING.match(response.opening))


def no_preamble(response: ResponseText, _: str) -> bool:
    """The first paragraph does not begin with "Sure", "Great question", "Here are ..." and the like."""
    return bool(response.opening) and not _PREAMBLE.match(response.opening)


def answer_first(response: ResponseText, _: str) -> bool:
    """The response begins with "Yes", "No" or "It depends", if need be after the user's name."""
    return bool(_VERDICT.match(response.opening))


def closing_question(response: ResponseText, _: str) -> bool:
    """The last sentence is a question to the user, and not one within a quotation."""
    return _without_emoji(response.ending).rstrip(" *_)").endswith("?")


def closing_summary(response: ResponseText, _: str) -> bool:
    """The last paragraph, or the last sentence, begins with "In short"."""
    last = response.blocks[-1].text if response.blocks else ""
    return any(re.match(r"\W*in short\b", text, re.IGNORECASE) for text in (response.ending, last))


def no_emoji(response: ResponseText, _: str) -> bool:
    """No emoji. The signs ©, ® and ™ are none."""
    return _emoji_count(response.text) == 0


def emoji(response: ResponseText, _: str) -> bool:
    """At least one emoji."""
    return _emoji_count(response.text) > 0


def no_exclamation(response: ResponseText, _: str) -> bool:
    """No exclamation mark in the prose; `!=` and code are left out."""
    return not re.search(r"!(?!=)", response.prose)


def no_contractions(response: ResponseText, _: str) -> bool:
    """No "don't", "it's" and the like; a possessive such as "the dog's" is allowed."""
    return not _CONTRACTION.search(response.prose)


def simple_words(response: ResponseText, _: str) -> bool:
    """LIX below 30: words per sentence plus the percentage of words of more than six letters."""
    words, sentences = response.words, len(response.sentences)
    long = sum(len(word) > 6 for word in words)
    return sentences > 0 and len(words) / sentences + 100 * long / len(words) < EASY_LIX


def example(response: ResponseText, _: str) -> bool:
    """There is an example that is called one: "for example", "for instance", "e.g."."""
    return bool(_EXAMPLE.search(response.prose))


def pros_and_cons(response: ResponseText, _: str) -> bool:
    """Both sides are named: pros or advantages, and cons or drawbacks."""
    return bool(_PROS.search(response.prose) and _CONS.search(response.prose))


def _emoji_count(text: str) -> int:
    from emoji import emoji_list

    return sum(found["emoji"] not in "©®™" for found in emoji_list(text))


def _without_emoji(text: str) -> str:
    from emoji import replace_emoji

    return replace_emoji(text, "")
