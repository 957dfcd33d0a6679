"""The texts of the `persona` task: request topics, request wordings, and the tips that answer a request."""

from __future__ import annotations

from collections.abc import Mapping

KINDS: Mapping[str, tuple[str, ...]] = {
    "meal": (
        "boil the rice with beans and some salt",
        "add fresh herbs and a squeeze of lemon",
        "roast the carrots until the edges turn brown",
        "serve it warm with bread on the side",
        "keep the leftovers in the fridge for lunch",
    ),
    "trip": (
        "book the morning train two weeks before departure",
        "pack light and leave room for a coat",
        "walk the old town before the crowds arrive",
        "keep one afternoon free for a long rest",
        "save a map on your phone for later",
    ),
    "sleep": (
        "go to bed at the same hour daily",
        "keep the room dark and a little cool",
        "leave the phone in another room at night",
        "drink no coffee after the middle of lunch",
        "read a calm book before the lights go",
    ),
    "budget": (
        "write down every cost for one whole month",
        "put some money aside on the first day",
        "cancel the services that you no longer use",
        "compare prices before you buy a large thing",
        "keep a small reserve for a broken fridge",
    ),
    "plants": (
        "water the pots only when the soil is dry",
        "place the herbs near a window with sun",
        "cut dead leaves so that new ones grow",
        "feed the roots a little every second week",
        "move young plants outside after the last frost",
    ),
    "study": (
        "study in short blocks with a real break",
        "test yourself from memory before you read again",
        "explain the idea aloud to somebody at home",
        "mix old topics with new ones every day",
        "sleep well because memory settles in the night",
    ),
    "fitness": (
        "start with a brisk walk of twenty minutes",
        "add light weights when the walk feels easy",
        "stretch both legs slowly after each hard session",
        "rest one day between two long hard runs",
        "note your progress on paper once a week",
    ),
    "letter": (
        "open with the reason why you are writing",
        "keep each paragraph to a single clear thought",
        "name the date by which you need news",
        "thank the reader for the time they gave",
        "read it aloud once before you send it",
    ),
    "party": (
        "invite the guests three weeks before the date",
        "choose a place that fits the whole group",
        "prepare the cold dishes on the day before",
        "make a list of songs that people know",
        "ask two helpers to clean up with you",
    ),
    "repair": (
        "switch the power off before you touch anything",
        "take a photo of how the parts fit",
        "clean every contact with a dry soft cloth",
        "replace the seal when it looks worn out",
        "test the machine twice before you close it",
    ),
    "gift": (
        "think of what they mentioned in the past month",
        "pick something small that will be used often",
        "wrap it in plain paper with a ribbon",
        "add a card with two honest warm lines",
        "keep the receipt in case it does not fit",
    ),
    "weather": (
        "warm air rises and cools as it climbs",
        "cool air holds less water so clouds form",
        "drops grow heavy and fall down as rain",
        "wind moves the clouds over land and sea",
        "sun dries the ground and it starts again",
    ),
    "interview": (
        "read about the company on the evening before",
        "prepare three short stories about your past work",
        "arrive ten minutes early and breathe out slowly",
        "ask the team what a good week is",
        "send a short note of thanks next day",
    ),
    "pet": (
        "feed the animal at fixed hours each day",
        "let it come to you before you stroke",
        "brush the coat gently once in a week",
        "keep its water bowl clean and always full",
        "visit the vet once a year for checks",
    ),
}
"""Kind of request -> the tips that answer it, eight or nine words each."""

WORDINGS = (
    "Give me advice on {}.",
    "How should I handle {}?",
    "What do you suggest about {}?",
    "I need help with {}.",
    "Tell me something useful about {}.",
    "What matters most for {}?",
)
TOPICS: Mapping[str, tuple[str, ...]] = {
    "meal": ("a quick dinner", "a meal for guests", "a cheap lunch", "cooking for two"),
    "trip": ("a weekend trip", "a city visit", "a train journey", "a first holiday"),
    "sleep": ("sleeping better", "waking up tired", "a restless night", "falling asleep"),
    "budget": ("saving money", "a tight budget", "monthly costs", "spending less"),
    "plants": ("potted plants", "a small garden", "growing herbs", "a dry balcony"),
    "study": ("studying for a test", "learning a language", "remembering facts", "a hard course"),
    "fitness": ("getting fit", "starting to run", "exercise at home", "a stiff back"),
    "letter": ("a formal letter", "writing to a client", "a complaint", "a short email"),
    "party": ("a birthday party", "a farewell dinner", "a garden party", "a team event"),
    "repair": ("a broken lamp", "a leaking machine", "fixing a radio", "an old fridge"),
    "gift": ("a birthday gift", "a present for a teacher", "a small surprise", "a wedding gift"),
    "weather": ("how rain forms", "why clouds appear", "the water cycle", "a rainy season"),
    "interview": ("a job interview", "a first meeting", "applying for work", "a hiring talk"),
    "pet": ("a new kitten", "a shy dog", "keeping a pet", "an old cat"),
}
