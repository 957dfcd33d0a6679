"""A table of real facts, with the statement and the questions for each kind of fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

COUNTRIES = """
France|Paris|Europe; Italy|Rome|Europe; Spain|Madrid|Europe; Portugal|Lisbon|Europe; Germany|Berlin|Europe;
Austria|Vienna|Europe; Switzerland|Bern|Europe; Poland|Warsaw|Europe; Hungary|Budapest|Europe;
Greece|Athens|Europe; Norway|Oslo|Europe; Sweden|Stockholm|Europe; Finland|Helsinki|Europe;
Denmark|Copenhagen|Europe; Ireland|Dublin|Europe; Iceland|Reykjavik|Europe; Belgium|Brussels|Europe;
Romania|Bucharest|Europe; Bulgaria|Sofia|Europe; Serbia|Belgrade|Europe; Croatia|Zagreb|Europe;
Slovakia|Bratislava|Europe; Slovenia|Ljubljana|Europe; Estonia|Tallinn|Europe; Latvia|Riga|Europe;
Lithuania|Vilnius|Europe; Albania|Tirana|Europe; Ukraine|Kyiv|Europe; Japan|Tokyo|Asia; China|Beijing|Asia;
India|New Delhi|Asia; Thailand|Bangkok|Asia; Vietnam|Hanoi|Asia; Nepal|Kathmandu|Asia; Iran|Tehran|Asia;
Iraq|Baghdad|Asia; Jordan|Amman|Asia; Mongolia|Ulaanbaatar|Asia; Pakistan|Islamabad|Asia;
Bangladesh|Dhaka|Asia; South Korea|Seoul|Asia; Malaysia|Kuala Lumpur|Asia; Qatar|Doha|Asia; Oman|Muscat|Asia;
Lebanon|Beirut|Asia; Laos|Vientiane|Asia; Cambodia|Phnom Penh|Asia; Egypt|Cairo|Africa; Kenya|Nairobi|Africa;
Morocco|Rabat|Africa; Algeria|Algiers|Africa; Tunisia|Tunis|Africa; Ghana|Accra|Africa; Nigeria|Abuja|Africa;
Senegal|Dakar|Africa; Ethiopia|Addis Ababa|Africa; Sudan|Khartoum|Africa; Uganda|Kampala|Africa;
Zambia|Lusaka|Africa; Angola|Luanda|Africa; Namibia|Windhoek|Africa; Rwanda|Kigali|Africa;
Zimbabwe|Harare|Africa; Mali|Bamako|Africa; Canada|Ottawa|North America; Mexico|Mexico City|North America;
Cuba|Havana|North America; Jamaica|Kingston|North America; Costa Rica|San Jose|North America;
Honduras|Tegucigalpa|North America; Nicaragua|Managua|North America; Brazil|Brasilia|South America;
Argentina|Buenos Aires|South America; Chile|Santiago|South America; Peru|Lima|South America;
Colombia|Bogota|South America; Ecuador|Quito|South America; Uruguay|Montevideo|South America;
Venezuela|Caracas|South America; Paraguay|Asuncion|South America; Australia|Canberra|Oceania;
New Zealand|Wellington|Oceania; Fiji|Suva|Oceania; Samoa|Apia|Oceania
"""
ELEMENTS = """
hydrogen|H; helium|He; lithium|Li; nitrogen|N; oxygen|O; fluorine|F; neon|Ne; sodium|Na; magnesium|Mg;
aluminium|Al; silicon|Si; phosphorus|P; sulfur|S; chlorine|Cl; argon|Ar; potassium|K; calcium|Ca; titanium|Ti;
chromium|Cr; manganese|Mn; iron|Fe; cobalt|Co; nickel|Ni; copper|Cu; zinc|Zn; arsenic|As; bromine|Br; krypton|Kr;
silver|Ag; tin|Sn; iodine|I; xenon|Xe; tungsten|W; platinum|Pt; gold|Au; mercury|Hg; lead|Pb; radon|Rn; uranium|U
"""
YOUNG = """
dog|puppy; cat|kitten; cow|calf; horse|foal; sheep|lamb; goat|kid; pig|piglet; duck|duckling; goose|gosling;
swan|cygnet; deer|fawn; kangaroo|joey; owl|owlet; frog|tadpole; bear|cub; hen|chick; eagle|eaglet; hare|leveret;
eel|elver; seal|pup
"""
AUTHORS = """
Hamlet|Shakespeare; Emma|Austen; Faust|Goethe; The Odyssey|Homer; The Aeneid|Virgil; The Trial|Kafka;
War and Peace|Tolstoy; Crime and Punishment|Dostoevsky; Don Quixote|Cervantes; Oliver Twist|Dickens;
Moby Dick|Melville; Ulysses|Joyce; Candide|Voltaire; The Divine Comedy|Dante; Frankenstein|Shelley;
Dracula|Stoker; Jane Eyre|Bronte; Walden|Thoreau; Middlemarch|Eliot; Madame Bovary|Flaubert;
Les Miserables|Hugo; The Seagull|Chekhov; Siddhartha|Hesse; The Stranger|Camus; Paradise Lost|Milton;
Peer Gynt|Ibsen; The Raven|Poe; Buddenbrooks|Mann; Germinal|Zola; Dead Souls|Gogol
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """The templates for one kind of fact. `{s}` is the subject, `{o}` the object."""

    statement: str
    question: str
    open_prompt: str


RELATIONS: Mapping[str, Relation] = {
    "capital": Relation("The capital of {s} is {o}.", "Which city is the capital of {s}?", "Tell me about {s}."),
    "country": Relation("{s} is the capital of {o}.", "{s} is the capital of which country?", "Tell me about {s}."),
    "continent": Relation("{s} lies in {o}.", "On which continent does {s} lie?", "Where is {s}?"),
    "symbol": Relation(
        "The symbol of {s} is {o}.", "What is the chemical symbol of {s}?", "Tell me about the element {s}."
    ),
    "element": Relation("{s} stands for {o}.", "Which element has the symbol {s}?", "What does {s} stand for?"),
    "young": Relation("A young {s} is called {o}.", "What is a young {s} called?", "Tell me about the {s}."),
    "author": Relation("{s} was written by {o}.", "Who wrote {s}?", "Tell me about the book {s}."),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact. Its `topic` decides its split, so that both directions of a fact are in the same split."""

    relation: str
    subject: str
    object: str
    topic: str

    @property
    def statement(self) -> str:
        """The fact as a sentence."""
        return RELATIONS[self.relation].statement.format(s=self.subject, o=self.object)

    @property
    def short_answer(self) -> str:
        """The object with a full stop."""
        return f"{self.object}."

    @property
    def question(self) -> str:
        """The fact as a question, without options."""
        return RELATIONS[self.relation].question.format(s=self.subject)

    @property
    def open_prompt(self) -> str:
        """A request that the statement answers."""
        return RELATIONS[self.relation].open_prompt.format(s=self.subject)


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in row.split("|")] for row in table.split(";")]


def _facts() -> list[Fact]:
    facts = []
    for country, capital, continent in _rows(COUNTRIES):
        facts.append(Fact("capital", country, capital, country))
        facts.append(Fact("country", capital, country, country))
        facts.append(Fact("continent", country, continent, country))
    for element, symbol in _rows(ELEMENTS):
        facts.append(Fact("symbol", element, symbol, element))
        facts.append(Fact("element", symbol, element, element))
    facts += [Fact("young", animal, young, animal) for animal, young in _rows(YOUNG)]
    facts += [Fact("author", book, author, book) for book, author in _rows(AUTHORS)]
    return facts


FACTS: tuple[Fact, ...] = tuple(_facts())
OBJECTS: Mapping[str, tuple[str, ...]] = {
    relation: tuple(sorted({f.object for f in FACTS if f.relation == relation})) for relation in RELATIONS
}
"""Relation -> all its objects, from which distractors are drawn."""
