"""Who speaks in the demonstration corpus, what they say, and how each emotion sounds: plain tables.

The emotions follow the directions that the literature reports for acted speech, and no more: Juslin & Laukka
(2003), "Communication of emotions in vocal expression and music performance", Psychological Bulletin 129(5),
770-814, summary of cue patterns; Scherer (2003), "Vocal communication of emotion: a review of research
paradigms", Speech Communication 40, 227-256. Voice quality, which both hold important, is left out: espeak-ng
has no control for it. The sizes of the shifts are ours, chosen to make the task neither trivial nor hopeless.
"""

# ruff: noqa: RUF001 - Greek is written in Greek letters, some of which look like Latin ones

from dataclasses import dataclass


@dataclass(frozen=True)
class Cues:
    """How an emotion differs from the neutral voice of the same speaker.

    Attributes:
        rate: speech rate as a ratio.
        pitch: mean pitch in semitones.
        span: pitch range as a ratio.
        loudness: decibels.
    """

    rate: float
    pitch: float
    span: float
    loudness: float


EMOTIONS: dict[str, Cues] = {
    "neutral": Cues(rate=1.00, pitch=0.0, span=1.00, loudness=0.0),
    # Both: fast, high intensity, high and variable F0.
    "anger": Cues(rate=1.15, pitch=3.0, span=1.70, loudness=6.5),
    # Both: medium to high intensity, high and variable F0, and rather fast.
    "happiness": Cues(rate=1.12, pitch=5.0, span=1.70, loudness=2.0),
    # Both: fast, high F0. Juslin & Laukka: little F0 variability, and low intensity except in panic.
    "fear": Cues(rate=1.28, pitch=6.0, span=0.55, loudness=-3.0),
    # Both: slow, low intensity, low F0 with little variability.
    "sadness": Cues(rate=0.78, pitch=-2.5, span=0.55, loudness=-7.0),
}


@dataclass(frozen=True)
class Speaker:
    """One voice, in one language.

    Attributes:
        name: unique, as in ``it1``.
        language: a key of `SENTENCES`.
        voice: espeak-ng's language, with a variant or without.
        gender: ``female`` or ``male``.
        pitch: semitones above the variant's own pitch, so that no two speakers share one.
    """

    name: str
    language: str
    voice: str
    gender: str
    pitch: float


SPEAKERS: tuple[Speaker, ...] = (
    Speaker("it1", "Italian", "it+f1", "female", 0.0),
    Speaker("it2", "Italian", "it+m3", "male", 1.5),
    Speaker("de1", "German", "de+f2", "female", -1.0),
    Speaker("de2", "German", "de+m1", "male", 0.0),
    Speaker("fr1", "French", "fr+f3", "female", 0.5),
    Speaker("fr2", "French", "fr+m7", "male", -1.0),
    Speaker("es1", "Spanish", "es+f4", "female", -1.5),
    Speaker("es2", "Spanish", "es+m2", "male", 1.0),
    Speaker("el1", "Greek", "el+Annie", "female", 1.0),
    Speaker("el2", "Greek", "el+m4", "male", -0.5),
    Speaker("fa1", "Persian", "fa+f5", "female", 0.0),
    Speaker("fa2", "Persian", "fa", "male", 2.0),
    Speaker("ar1", "Arabic", "ar+linda", "female", -2.0),
    Speaker("ar2", "Arabic", "ar+Mario", "male", 0.5),
)

SENTENCES: dict[str, dict[str, str]] = {
    "Italian": {
        "kitchen": "La finestra della cucina è aperta.",
        "market": "Domani vado al mercato con mia sorella.",
        "bus": "L'autobus parte alle otto.",
        "book": "Il libro è sul tavolo.",
    },
    "German": {
        "kitchen": "Das Fenster in der Küche ist offen.",
        "market": "Morgen gehe ich mit meiner Schwester zum Markt.",
        "bus": "Der Bus fährt um acht Uhr ab.",
        "book": "Das Buch liegt auf dem Tisch.",
    },
    "French": {
        "kitchen": "La fenêtre de la cuisine est ouverte.",
        "market": "Demain je vais au marché avec ma sœur.",
        "bus": "Le bus part à huit heures.",
        "book": "Le livre est sur la table.",
    },
    "Spanish": {
        "kitchen": "La ventana de la cocina está abierta.",
        "market": "Mañana voy al mercado con mi hermana.",
        "bus": "El autobús sale a las ocho.",
        "book": "El libro está sobre la mesa.",
    },
    "Greek": {
        "kitchen": "Το παράθυρο της κουζίνας είναι ανοιχτό.",
        "market": "Αύριο πάω στην αγορά με την αδερφή μου.",
        "bus": "Το λεωφορείο φεύγει στις οκτώ.",
        "book": "Το βιβλίο είναι πάνω στο τραπέζι.",
    },
    "Persian": {
        "kitchen": "پنجره‌ی آشپزخانه باز است.",
        "market": "فردا با خواهرم به بازار می‌روم.",
        "bus": "اتوبوس ساعت هشت حرکت می‌کند.",
        "book": "کتاب روی میز است.",
    },
    "Arabic": {  # with vowel signs: espeak-ng reads the bare consonants otherwise
        "kitchen": "نافِذةُ المَطبَخِ مَفتوحة.",
        "market": "غَدًا أَذهَبُ إلى السّوقِ مَعَ أُختي.",
        "bus": "تُغادِرُ الحافِلةُ في السّاعةِ الثّامِنة.",
        "book": "الكِتابُ على الطّاوِلة.",
    },
}
"""Everyday sentences without emotional content, the same four in every language: language, id, text."""
