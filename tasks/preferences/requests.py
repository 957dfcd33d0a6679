"""Ordinary requests from twenty fields, each tagged with what can be checked on its answer.

how_to      asks for a procedure             yes_no    can be answered with yes, no or it depends
comparison  asks to compare two things       decision  asks which way to go
quantity    the answer needs measures        date      the answer needs a date
spelling    the answer needs words that are spelled differently in Britain and America
code        asks for a Python function
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mipo_bench.tasks.splits import is_held_out


@dataclass(frozen=True, slots=True)
class Request:
    """A request, its field, and its tags."""

    field: str
    text: str
    tags: tuple[str, ...]

    @property
    def held_out(self) -> bool:
        """Whether the request belongs to the evaluation split. About half of them do."""
        return is_held_out("preferences-request", self.text, one_in=2)


_TEXTS: Mapping[str, str] = {
    "cooking": """
        How do I cook rice so that it does not stick? | how_to
        How do I make a simple tomato soup for four people? | how_to quantity
        How much flour and water do I need for a loaf of bread? | quantity
        Can I freeze cooked pasta? | yes_no
        What is the difference between baking soda and baking powder? | comparison
        At what oven temperature should I roast a chicken? | quantity
        Should I buy a gas stove or an electric one? | decision comparison
        What can I do with bread that has gone hard? |""",
    "gardening": """
        How do I grow tomatoes in a pot on a balcony? | how_to
        How far apart and how deep should I plant potatoes? | quantity
        Is it too late to plant tulips in December? | yes_no
        Compare growing herbs from seed with buying small plants. | comparison
        Which flowers give a garden the most color from spring to autumn? | spelling
        How do I get rid of moss in a lawn? | how_to
        How much space does an apple tree need? | quantity""",
    "travel": """
        How do I pack for a week with one small bag? | how_to
        Is the night train a good way to see Europe? | yes_no
        Should we go to the mountains or to the sea this summer? | decision comparison
        How tall is the Eiffel Tower, and how tall is Big Ben? | quantity comparison
        How far is it from London to Paris? | quantity
        On what date does the cherry blossom season usually start in Tokyo? | date
        What should I know before my first flight? |
        What is worth seeing in the center of Vienna? | spelling""",
    "home": """
        How do I fix a dripping tap? | how_to
        How do I hang a heavy mirror on a plaster wall? | how_to
        Which paint colors make a small bedroom look larger? | spelling
        Should I rent or buy a carpet cleaner? | decision
        How high should I hang a picture above a sofa? | quantity
        Can I paint over wallpaper? | yes_no
        Compare wooden floors with tiles for a kitchen. | comparison""",
    "money": """
        How do I make a monthly budget? | how_to
        Is it a good idea to pay off a loan early? | yes_no decision
        Compare a savings account with a fixed deposit. | comparison
        How do I talk to my boss about a raise? | how_to
        Should I lend money to a friend? | yes_no decision
        What should I check before I sign a phone contract? |""",
    "history": """
        When did the Berlin Wall fall? Give me the exact date. | date
        When did the first people land on the moon? I need the day. | date
        On what day was the Declaration of Independence adopted? | date
        When did the Titanic sink, and why? Please include the date. | date
        Who was Marie Curie? |
        On what date did the First World War end? | date
        When was Nelson Mandela born, and when was he freed? Full dates, please. | date
        Compare life in ancient Athens with life in Sparta. | comparison""",
    "science": """
        Why is the sky blue? |
        What is the difference between weather and climate? | comparison
        At what temperature does water boil on a high mountain? | quantity
        How do vaccines work? |
        Why do leaves change color in autumn? | spelling
        How heavy is the air in an ordinary room? | quantity
        What makes a rainbow show its colors in that order? | spelling""",
    "sleep": """
        How do I get back to sleep when I wake up at night? | how_to
        Is a short nap after lunch good for me? | yes_no
        How cool should a bedroom be at night? | quantity
        Compare getting up early with staying up late. | comparison
        Should I track my sleep with a watch? | yes_no decision
        What can I do about a snoring neighbor in the next room? | spelling""",
    "sport": """
        How do I start running when I am not fit? | how_to quantity
        How do I learn to do a pull-up? | how_to
        Is swimming better for the back than cycling? | yes_no comparison
        How long is a marathon? | quantity
        Should I join a gym or train at home? | decision comparison
        How much water should I drink on a long hike? | quantity
        When were the first modern Olympic Games opened? Give the date. | date""",
    "code": """
        Write a Python function that returns the larger of two numbers. | code
        Write a Python function that counts the vowels in a word. | code
        Write a Python function that turns a list of words into one sentence. | code
        Write a short Python function that checks whether a number is even. | code
        Write a Python function that adds up the digits of a number. | code
        Write a Python function that reverses a string. | code
        Write a Python function that gives the average of a list of numbers. | code
        Write a Python function that removes the spaces from a text. | code
        Show me a Python function that converts hours into minutes. | code
        Show me a Python function that finds the shortest word in a list. | code
        Write a small Python function that says whether a year is a leap year. | code""",
    "computers": """
        How do I make a strong password that I can remember? | how_to
        Compare a tablet with a laptop for taking notes. | comparison
        Should I repair my old laptop or get a new one? | decision comparison
        How do I back up the photos on my phone? | how_to
        Is it safe to use the wifi in a café? | yes_no
        How do I organize thousands of photos? | how_to spelling
        What is the cloud, really? |""",
    "languages": """
        How do I learn twenty new words a day? | how_to
        Can I learn a language just by watching films? | yes_no
        Compare learning alone with taking a class. | comparison
        Is it worth learning Latin today? | yes_no decision
        How do I stop being afraid of speaking? | how_to
        Which words are spelled differently in Britain and in America? | spelling""",
    "music": """
        How do I tune a guitar without a device? | how_to
        Is forty too old to start the piano? | yes_no
        Compare the violin with the viola. | comparison
        Should I buy or rent a first cello? | decision
        On what date was Mozart born, and when did he die? | date
        What is a fugue? |
        When did Beethoven's Ninth Symphony have its first performance? Give the date. | date""",
    "pets": """
        How do I teach a puppy to sit? | how_to
        Can cats drink milk? | yes_no
        Compare having a cat with having a dog. | comparison
        Should I get a second guinea pig? | yes_no decision
        How much should a grown Labrador weigh? | quantity
        Why does my cat behave badly when guests come, and how can I change its behavior? | spelling
        How large must a tank for ten small fish be? | quantity""",
    "work": """
        How do I write a polite reminder? | how_to
        Should I take a job with more pay and a longer commute? | decision yes_no
        How do I run a meeting that ends on time? | how_to
        Compare working from home with working in an office. | comparison
        Is it fine to apply for a job without all the skills? | yes_no
        How can I organize my desk and my day better? | spelling
        What should I say when I leave a job? |""",
    "transport": """
        How do I change the tire of a bicycle? | how_to spelling
        Is it worth buying a used car with many miles on it? | yes_no decision
        Compare a folding bike with a normal one. | comparison
        How much air pressure and tread do car tires need? | quantity spelling
        Should I take the bus or the bike to work? | decision comparison
        How fast does a high-speed train go? | quantity""",
    "family": """
        How do I get a toddler to brush their teeth? | how_to
        Should a child of ten have a phone? | yes_no decision
        How do I plan a birthday party for eight children? | how_to
        Compare board games with video games for a family evening. | comparison
        Is it normal that twins fight a lot? | yes_no
        What can we do on a rainy Sunday? |
        How do I teach a child to be fair and to honor a promise? | spelling how_to""",
    "astronomy": """
        How far away is the moon? | quantity
        How do I find the North Star? | how_to
        Is there water on Mars? | yes_no
        Compare the planets Mars and Venus. | comparison
        When is the next leap day? Give me the date. | date
        How big and how heavy is Jupiter? | quantity
        What are the colors of stars, and what do they mean? | spelling
        On which date is the longest day of this year in the north? | date""",
    "craft": """
        How do I sew on a button? | how_to
        How do I mix gray, brown and skin tones from three paints? | how_to spelling
        Compare watercolors with oil paint for a beginner. | comparison spelling
        How much wool do I need for a scarf? | quantity
        Should I knit or crochet my first blanket? | decision comparison
        How do I fold a paper crane? | how_to
        Is it hard to learn pottery? | yes_no""",
    "customs": """
        On what date is Saint Patrick's Day, and what do people do? | date
        How do I write a card to someone who is ill? | how_to
        Is it rude to arrive late at a dinner? | yes_no
        When is New Year's Eve, and why do people make noise? Name the date. | date
        Should I bring flowers or wine to a dinner? | decision comparison
        Compare a big wedding with a small one. | comparison
        What does a good neighbor do, and what not? | spelling
        On which date do people in the United States celebrate Independence Day? | date
        What is the date of Bastille Day, and what is its history? | date""",
}
REQUESTS = tuple(
    Request(field, text.strip(), tuple(tags.split()))
    for field, lines in _TEXTS.items()
    for text, tags in (line.rsplit("|", 1) for line in lines.strip().splitlines())
)
TAGS_OF: Mapping[str, tuple[str, ...]] = {request.text: request.tags for request in REQUESTS}
