"""Names that nobody has, one maker for each kind of thing."""

from __future__ import annotations

import random
from collections.abc import Callable

ONSETS = "b bl br c ch cl d dr f fl g gl gr h j k kl kr l m n p pl pr qu r s sh sk sl st sv t th tr v w y z zh".split()
VOWELS = "a e i o u a e i o u ai ee oo ou ay ie oa y".split()
CODAS = ["", "", "", "n", "r", "l", "m", "s", "th", "nd", "rk", "ll", "x", "g", "nt"]
COMMON = (
    "cat law can park in the on light wine tree water road time house and card man stone of for green say plan he see "
    "her bell king will sand hall to son bay marry all art come in burger loft win ton mill or no well but is hill "
    "rest by part an fire more than line at low born field hand over sea way do ray pit so new ship one ice when pair"
).split()
FIRST = (
    "Anna Ben Carlos Dmitri Elena Farid Greta Hugo Ingrid Jonas Kofi Lena Marco Nadia Olaf Petra Quentin Rosa Sven "
    "Tomas Ursula Viktor Wanda Xavier Yuki Zora Alan Brenda Colin Doris Edgar Fiona Gareth Hilda Ivor Joyce Keith "
    "Lionel Mavis Nigel Otto Pearl Rupert Sybil Trevor Una Vince Wilma Aisha Bilal Chen Deepak Emeka Fatima Goran"
).split()
LAST = (
    "Smith Brown Walker Fischer Novak Rossi Garcia Silva Kowalski Jensen Hansen Murphy Kelly Okafor Mensah Tanaka Sato "
    "Kim Park Wang Singh Patel Khan Haddad Cohen Petrov Ivanova Popescu Papadakis Virtanen Lindqvist Dubois Moreau "
    "Fletcher Thatcher Cooper Marsh Holloway Pemberton Ashworth Blackwood Crabtree Dunmore Eastwick Farnham Grimshaw"
).split()
ADJECTIVES = (
    "silent golden last broken hidden crimson endless wooden northern burning frozen crooked secret midnight velvet "
    "hollow restless paper distant lonely electric forgotten silver second perfect yellow blue little great dark"
).split()
NOUNS = (
    "river garden mirror winter crown shadow letter island storm tower stranger lantern orchard promise clock harbour "
    "bridge forest daughter soldier train summer piano moon wolf machine kitchen ladder dancer empire road key stone"
).split()
TRADES = (
    "Systems Motors Foods Airlines Bank Energy Software Industries Records Pictures Pharma Robotics Insurance "
    "Logistics Studios Brewery Steel Shoes Holdings Telecom"
).split()


def syllables(rng: random.Random, count: int) -> str:
    """A pronounceable word, such as brainoth."""
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(count)) + rng.choice(CODAS)


def word(rng: random.Random) -> str:
    """An invented word with a capital."""
    return syllables(rng, rng.choice([1, 2, 2, 3])).capitalize()


def first_name(rng: random.Random, names: list[dict[str, str]]) -> str:
    """A first name from the table of names."""
    return rng.choice(names)["name"] if names else rng.choice(FIRST)


def salad(rng: random.Random) -> str:
    """Two or three common words, as a transcriber writes a name that it does not know."""
    return " ".join(rng.sample(COMMON, rng.choice([2, 2, 3])))


def person(rng: random.Random) -> str:
    """A first name and a family name, or more of them."""
    first = rng.choice(FIRST) if rng.random() < 0.6 else word(rng)
    last = rng.choice(LAST) if rng.random() < 0.5 else word(rng)
    title = rng.choice([""] * 8 + ["Doctor ", "Professor ", "Sir ", "Captain ", "Saint ", "King ", "Queen "])
    return f"{title}{first} {last}" if rng.random() < 0.85 else f"{title or 'Lord '}{word(rng)}"


def title(rng: random.Random) -> str:
    """The title of a work that perhaps does not exist."""
    adjective, noun, other = rng.choice(ADJECTIVES), rng.choice(NOUNS), rng.choice(NOUNS)
    return rng.choice(
        [
            f"the {adjective} {noun}",
            f"the {noun} of {word(rng)}",
            f"the {noun} and the {other}",
            f"{rng.choice(FIRST)} and the {adjective} {noun}",
            f"{adjective} {noun}",
            f"a {noun} for {rng.choice(FIRST)}",
            f"return to {word(rng)}",
            f"{word(rng)}",
            f"the {noun} in the {other}",
            f"my {adjective} {noun}",
        ]
    )


def country(rng: random.Random) -> str:
    """A country that does not exist."""
    ending = rng.choice(["", "", "ia", "land", "istan", "ovia", "onia", "mark", "aria", "os"])
    name = syllables(rng, rng.choice([1, 2, 2, 3])).capitalize()
    return name + ending if name[-1] not in "aeiouy" or ending[:1] not in "aeio" else name


def city(rng: random.Random) -> str:
    """A town that does not exist."""
    ending = rng.choice(["", "ton", "ville", "burg", "ford", "mouth", "stad", "grad", "ham", "bury", "dorf", "port"])
    return rng.choice(["", "", "", "", "New ", "Saint ", "Upper ", "Port "]) + word(rng) + ending


def event(rng: random.Random) -> str:
    """A war, a treaty or a race of which nobody has heard."""
    noun = rng.choice("war uprising earthquake flood championship expedition revolt congress marathon trial".split())
    return rng.choice(
        [
            f"the battle of {word(rng)}",
            f"the {word(rng)} {noun}",
            f"the treaty of {city(rng)}",
            f"the siege of {city(rng)}",
            f"the great {noun} of {word(rng)}",
            f"the {rng.choice(ADJECTIVES)} revolution",
        ]
    )


def _named(*forms: str) -> Callable[[random.Random], str]:
    """A maker that puts an invented word into one of some forms."""

    def make(rng: random.Random) -> str:
        return rng.choice(forms).format(word(rng), rng.choice(NOUNS), rng.choice(ADJECTIVES), rng.choice(TRADES))

    return make


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "person": person,
    "book": title,
    "film": title,
    "show": title,
    "song": title,
    "painting": title,
    "country": country,
    "city": city,
    "event": event,
    "band": _named("the {0}s", "{0}", "the {2} {1}s", "{0} and the {1}s", "{2} {1}"),
    "game": _named("{0}", "{0} quest", "the legend of {0}", "{2} {1} two", "{0} racing"),
    "river": _named("the {0}", "the river {0}", "the {0} river"),
    "mountain": _named("Mount {0}", "{0} peak", "the {0} mountains", "{0}", "the {0} pass"),
    "water": _named("Lake {0}", "the {0} sea", "the gulf of {0}", "{0} falls", "{0} bay"),
    "island": _named("{0} island", "the island of {0}", "{0}", "the {0} islands"),
    "landmark": _named("the {0} tower", "{0} castle", "the {0} bridge", "{0} cathedral", "{0} park"),
    "company": _named("{0}", "{0} {3}", "{0} and sons", "the {0} group", "{2} {1} {3}"),
    "product": _named("a {0} phone", "the new {0}", "a {2} {1}", "a {0} ticket", "a used {0}"),
    "team": _named("{0} united", "the {0} {1}s", "{0} city", "{0} rovers", "F C {0}"),
    "medicine": _named("{0}ol", "{0}cillin", "{0}ine", "{0} drops", "{0} tablets"),
    "dish": _named("{0} soup", "{0} stew", "{0} cake", "{2} dumplings", "{0} pie"),
    "beast": _named("{0}", "{0} bird", "{0} fish", "{0} lizard", "{2} {0}"),
    "chemical": _named("{0}ium", "{0}ide", "{0}ol", "{0} acid", "{0}ine"),
    "term": _named("the {0} effect", "a {0}", "{0} theory", "{0}ism", "{0}ology", "the law of {0}", "an {2} {1} drive"),
    "rareword": _named("{0}", "{0}ness", "{0}ous", "{0}ify", "{0}ation"),
    "object": _named("the {0} machine", "a {0} valve", "the {0} engine", "{0} glass"),
}
