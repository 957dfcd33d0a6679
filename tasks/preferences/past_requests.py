"""Earlier requests of the users, which are in neither split, and the sentences of their answers.

They carry no tag: no preference that depends on the request can be checked on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENGLISH = "English"


@dataclass(frozen=True, slots=True)
class PastRequest:
    """A request, and for each language the title and the sentences of an answer."""

    text: str
    titles: Mapping[str, str]
    tips: Mapping[str, tuple[str, ...]]


CLOSING_QUESTIONS = {
    ENGLISH: "Shall we go on?",
    "Spanish": "¿Qué te parece?",
    "French": "Qu'en penses-tu ?",
    "German": "Was denkst du darüber?",
    "Italian": "Che cosa ne pensi?",
}
PAST_REQUESTS = (
    PastRequest(
        "Any ideas for a quick and healthy breakfast?",
        {
            ENGLISH: "Quick breakfast",
            "Spanish": "Desayuno rápido",
            "French": "Petit déjeuner rapide",
            "German": "Schnelles Frühstück",
            "Italian": "Colazione veloce",
        },
        {
            ENGLISH: (
                "Oats with fruit are quick.",
                "Soak them in milk at night.",
                "Eggs keep you full for long.",
                "Boil a few on Sunday.",
                "Plain yogurt goes well with nuts.",
                "Keep bread in the freezer.",
                "Toast it while you dress.",
                "Put cheese or beans on it.",
                "Drink a glass of water first.",
                "Leave sweet drinks for later.",
                "An apple fits in any bag.",
                "Set the table the night before.",
            ),
            "Spanish": (
                "La avena con fruta es muy rápida.",
                "Déjala en leche toda la noche.",
                "Los huevos te quitan el hambre.",
                "El pan con queso también es bueno.",
                "Bebe primero un vaso de agua.",
            ),
            "French": (
                "Les flocons avec des fruits sont rapides.",
                "Laisse les flocons dans le lait la nuit.",
                "Les œufs calent bien le matin.",
                "Le pain avec du fromage est bon aussi.",
                "Bois d'abord un verre d'eau.",
            ),
            "German": (
                "Haferflocken mit Obst gehen sehr schnell.",
                "Lass sie über Nacht in der Milch.",
                "Eier machen lange satt.",
                "Auch Brot mit Käse ist gut.",
                "Trink zuerst ein Glas Wasser.",
            ),
            "Italian": (
                "I fiocchi con la frutta sono veloci.",
                "Lasciali nel latte tutta la notte.",
                "Le uova ti saziano a lungo.",
                "Anche il pane con il formaggio va bene.",
                "Bevi prima un bicchiere di acqua.",
            ),
        },
    ),
    PastRequest(
        "I feel tired in the afternoon. Any advice?",
        {
            ENGLISH: "Tired afternoons",
            "Spanish": "Tardes cansadas",
            "French": "Coup de fatigue",
            "German": "Müde am Nachmittag",
            "Italian": "Pomeriggi stanchi",
        },
        {
            ENGLISH: (
                "Go out into the light.",
                "Walk for ten minutes after lunch.",
                "Eat less bread at noon.",
                "Drink water before you feel dry.",
                "Have no coffee after three.",
                "Open the window for a while.",
                "Stand up when the phone rings.",
                "Do the hard tasks in the morning.",
                "Go to bed at the same time.",
                "Keep the phone out of bed.",
                "A short nap can help too.",
                "See a doctor if it lasts.",
            ),
            "Spanish": (
                "Sal un rato a la luz.",
                "Camina diez minutos después de comer.",
                "Come menos pan al mediodía.",
                "Bebe agua antes de tener sed.",
                "No tomes café por la tarde.",
            ),
            "French": (
                "Sors un peu à la lumière.",
                "Marche dix minutes après le repas.",
                "Mange moins de pain à midi.",
                "Bois de l'eau avant la soif.",
                "Évite le café dans la soirée.",
            ),
            "German": (
                "Geh kurz an das Licht.",
                "Lauf nach dem Essen zehn Minuten.",
                "Iss am Mittag weniger Brot.",
                "Trink Wasser vor dem Durst.",
                "Lass den Kaffee am Abend weg.",
            ),
            "Italian": (
                "Esci un poco alla luce.",
                "Cammina dieci minuti dopo il pranzo.",
                "Mangia meno pane a mezzogiorno.",
                "Bevi acqua prima della sete.",
                "Evita il caffè alla sera.",
            ),
        },
    ),
    PastRequest(
        "I want to read more. Do you have any tips?",
        {ENGLISH: "Read more"},
        {
            ENGLISH: (
                "Read ten pages each night.",
                "Keep a book in your bag.",
                "Put one by the bed too.",
                "Drop a book that bores you.",
                "Join a group that reads.",
                "Ask a friend for a good one.",
                "Leave your phone in the hall.",
                "Short tales are a fine start.",
                "Listen to books while you cook.",
                "Note each book that you end.",
                "The town library costs little.",
                "Set a small goal each month.",
            )
        },
    ),
    PastRequest(
        "My desk is always a mess. Help me, please.",
        {ENGLISH: "A clear desk"},
        {
            ENGLISH: (
                "Clear the whole desk once.",
                "Wipe it and take a photo.",
                "Put back only daily things.",
                "Give each thing one place.",
                "Put loose papers in one tray.",
                "Empty the tray on Friday.",
                "Keep a bin close by.",
                "Hang cables under the top.",
                "Scan notes that you must keep.",
                "Clear up five minutes at night.",
                "Buy no more pens for a year.",
                "One lamp and one cup will do.",
            )
        },
    ),
)
