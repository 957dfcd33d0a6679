"""The words in which users state their preferences, and the words in which they introduce themselves."""

from __future__ import annotations

from collections.abc import Mapping

FRAME = "A note from the user about the answers they like: "
INTRODUCTIONS = (
    "I am a nurse and mostly ask in my breaks.",
    "I teach at a primary school.",
    "I drive a delivery van and read answers at stops.",
    "I study geology.",
    "I am retired and have time to try things.",
    "I run a small bakery with my sister.",
    "I have two children and little quiet.",
    "I work at a help desk all day.",
    "I sing in a choir and travel a lot.",
    "I just moved into my first flat.",
    "I write for a local paper.",
    "I am training to be a carpenter.",
    "I share these answers with my book club.",
    "I look after my parents' house at weekends.",
)
WORDINGS: Mapping[str, tuple[str, ...]] = {
    "max_words": (
        "Please stay under {} words.",
        "I never read more than {} words, so keep it within that.",
        "{} words at most, please.",
        "My screen is small: anything over {} words is too long for me.",
    ),
    "word_range": (
        "The right length for me is {} words.",
        "Please aim for {} words, no fewer and no more.",
        "I like answers of {} words.",
        "Anything from {} words suits me; shorter is thin and longer is tiring.",
    ),
    "sentences": (
        "Please answer in exactly {} sentences.",
        "I want {} sentences each time, no more and no fewer.",
        "{} sentences, that is my rule.",
        "Make every answer {} sentences long.",
    ),
    "short_sentences": (
        "Keep every sentence to {} words or fewer.",
        "Long sentences lose me; {} words is the most I can take in one.",
        "No sentence should run over {} words.",
        "I like my sentences short, {} words at the outside.",
    ),
    "bullets": (
        "Bullet points are easiest for me.",
        "Give me the main points as a bulleted list.",
        "I skim, so please use bullet points.",
        "Put things into bullets rather than paragraphs.",
    ),
    "numbered_steps": (
        "When I ask how to do something, number the steps.",
        "For instructions I want step 1, step 2 and so on.",
        "Any how-to should be a numbered list.",
        "I follow instructions by number, so count the steps for me.",
    ),
    "no_lists": (
        "Please write in plain paragraphs, without any lists.",
        "I dislike lists of any kind; just talk to me in prose.",
        "No bullet points or numbered points, ever.",
        "Lists feel like a slideshow, so leave them out.",
    ),
    "table": (
        "If I ask you to compare things, put them in a table.",
        "Comparisons should come as a table.",
        "For this against that, I like a table with rows and columns.",
        "When there are two things to weigh up, draw me a Markdown table.",
    ),
    "heading": (
        "Start with a heading.",
        "I file your answers, so put a title on top of each.",
        "Give every answer a headline of its own first.",
        "The first line should be a heading that says what it is about.",
    ),
    "bold": (
        "Put the most important words in bold.",
        "Use bold type for whatever matters most.",
        "I like the key term in bold.",
        "Make the crucial bit bold so that I can find it again.",
    ),
    "no_markdown": (
        "My reader shows Markdown marks as they are, so please send plain text.",
        "No formatting at all: no stars, no hash signs, no dashes for lists.",
        "Plain text only, please.",
        "I listen to answers read aloud, so leave out all formatting.",
    ),
    "greeting": (
        "Say hello first.",
        "I like it when you greet me before you answer.",
        "A short greeting at the start is only polite.",
        "Begin with a hello or a good morning.",
    ),
    "no_preamble": (
        "Skip the pleasantries and start with the answer itself.",
        "No 'Sure' or 'Great question' at the start, please.",
        "Get to the point in the very first words.",
        "I have no patience for openings such as 'Here are some tips'.",
    ),
    "answer_first": (
        "If it is a yes-or-no question, begin with yes, no or it depends.",
        "Where I can be told yes or no, tell me that first.",
        "On yes-or-no questions the first word should be your verdict.",
        "Questions that take a yes or a no should get it at the very start.",
    ),
    "closing_question": (
        "Finish by asking me something.",
        "I like a question back at the end.",
        "Close with a question so that we can go on talking.",
        "Your last sentence should be a question to me.",
    ),
    "closing_summary": (
        "End with one line that starts with 'In short'.",
        "Please close with a summary that begins 'In short'.",
        "The last line should sum it up and open with the words 'In short'.",
        "I read the end first, so make it a line starting 'In short'.",
    ),
    "name": (
        "My name is {}, and I like to be called by it.",
        "Call me {} when you answer.",
        "I'm {}; please use my name.",
        "Do address me by name, it is {}.",
    ),
    "no_emoji": (
        "No emoji, please.",
        "Emojis annoy me, so leave them out.",
        "I would rather not see any smileys or other emoji.",
        "Please keep your answers free of emoji.",
    ),
    "emoji": (
        "An emoji or two makes me smile, so put one in.",
        "Use at least one emoji.",
        "I like emojis in what I read.",
        "Add an emoji somewhere, it makes things friendlier.",
    ),
    "no_exclamation": (
        "Please do without exclamation marks.",
        "Exclamation marks feel like shouting to me, so avoid them.",
        "Never use an exclamation mark.",
        "I like a calm tone, without a single exclamation mark.",
    ),
    "no_contractions": (
        "Write 'do not' rather than 'don't', and so on.",
        "No contractions, please; English is not my first language.",
        "I prefer the full forms, 'it is' and 'cannot', never the contracted ones.",
        "Please avoid contractions.",
    ),
    "simple_words": (
        "Use short, simple words.",
        "Write so that a ten-year-old can follow.",
        "Please keep the language easy to read.",
        "Long words put me off; plain ones do the job.",
    ),
    "language": (
        "Please answer in {}.",
        "I ask in English, but I want to read the answer in {}.",
        "At home we speak {}, so reply in that language.",
        "I want to learn {}, so always use it when you write to me.",
    ),
    "british_spelling": (
        "Use British spelling.",
        "I am in England, so spell things the British way.",
        "British spelling, please: I stumble over the American one.",
        "Our office style is British English, so spell accordingly.",
    ),
    "example": (
        "Always give me an example, and say that it is one.",
        "I understand things through examples: include a 'for example'.",
        "Please add a 'for instance' to make it concrete.",
        "Without a 'for example' I do not get it.",
    ),
    "pros_and_cons": (
        "When I have to decide, name the pros and the cons.",
        "For decisions, tell me the advantages and the disadvantages.",
        "If I am weighing something up, I need the pros and cons.",
        "Show me both the upsides and the downsides of a choice.",
    ),
    "units": (
        "Give quantities in {} units only.",
        "I only think in {} units.",
        "Please use {} measures and nothing else.",
        "All my tools and scales are {}, so give sizes and weights that way.",
    ),
    "dates": (
        "Write dates like {}.",
        "My calendar wants dates in the form {}.",
        "Please give any date as in {}.",
        "Dates should look like this: {}.",
    ),
    "type_hints": (
        "Python code should have type hints throughout.",
        "I want type annotations on every parameter and return value.",
        "When you write Python, annotate the types.",
        "Code without type hints does not pass our checks, so add them.",
    ),
    "docstrings": (
        "Give every Python function a docstring.",
        "Code should explain itself: a docstring in each function, please.",
        "When you write a function, include a docstring.",
        "I will not keep a function that lacks a docstring.",
    ),
}
SHOWN: Mapping[str, Mapping[str, str]] = {
    "word_range": {"40-70": "40 to 70", "60-90": "60 to 90"},
    "sentences": {"3": "three", "4": "four"},
    "dates": {"iso": "2024-05-31", "day_first": "31 May 2024"},
}
"""How a value is put into a wording, where it differs from the value."""
