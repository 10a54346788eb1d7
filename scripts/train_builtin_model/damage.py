"""What happens to a user's words before the model sees them: a transcriber's light damage, or good spelling."""

from __future__ import annotations

import random
import re

from .grammar import Piece, join
from .number_words import NUMBER_WORDS

# Words that a small transcriber confuses: the left one was said, one of the right ones was written.
NEAR_WORDS = {
    line.split(":")[0]: [near.strip() for near in line.split(":")[1].split(",")]
    for line in """
a: the, uh
an: and, in
and: in, an
are: or, our, her
can: kin, could, can't
capital: capitol, couple, cap it all
color: collar, caller
colour: color, collar
could: can, good
count: account, can't
day: they, date
do: due, to, did
does: is, dust
for: four, from
four: for
give: gave
goes: those
have: of, has
hear: here
hello: hollow, hal oh
hey: hay, a
hi: high
how: how's, who, hell
i'm: i am, am
in: and, an
is: as, his, it's
it: at, that
joke: joe, choke, jokes
kitchen: picture, kitten, chicken, key chain
know: no, now
lights: light, lied, likes, lie its
like: light
long: along
make: may, made
many: any, men he
me: we, be, in
month: months, man
my: by, mine
name: main, names
of: off, a, have
on: and, an
one: on, won
opposite: opposites, apposite
or: are
parley: partly, parlor, barley, pearly, particularly
planet: plan it, planets
play: plate, plays
please: police, pleas
say: said, saying
sound: sounds, sand
spell: spelled, smell
story: stories, store e
tell: tale, until, tall
that: at, the
the: a, of the, to
there: their
thing: think
time: times, type
to: two, too, the
turn: term, turned
two: to, too
up: of
want: won
weather: whether
what: but, want, one
what's: what is, watts, once
where: were, wear
which: witch
who: who's, how
will: well
with: wit
word: world, words
would: what, good
you: he, your, we, ya
your: you're, you, or
""".strip().splitlines()
}
FILLERS = ["um", "uh", "well", "so", "like", "hm", "okay", "and", "oh"]


def spoken(pieces: list[Piece], rng: random.Random, amount: float) -> str:
    """The words as a small transcriber writes them: lower case, no punctuation, a few dropped or mangled.

    `amount` is the chance per word of each kind of damage; slot values are never dropped.
    """
    words: list[str] = []
    for piece in pieces:
        for word in re.sub(r"[^a-z' ]", "", piece.text.lower().replace("-", " ")).split():
            chance = rng.random()
            if piece.fixed or amount == 0:
                words.append(word)
            elif chance < amount:
                continue
            elif chance < 2 * amount and word in NEAR_WORDS:
                words.append(rng.choice(NEAR_WORDS[word]))
            elif chance < 2.3 * amount:
                words += [rng.choice(FILLERS), word]
            else:
                words.append(word)
    return " ".join(words) or join(pieces).lower()


def written(pieces: list[Piece], rng: random.Random) -> str:
    """The words as somebody types them: capitals, a final mark, sometimes digits."""
    text = join(pieces)
    if rng.random() < 0.5:
        text = re.sub(r"[a-z]+", lambda found: NUMBER_WORDS.get(found[0], found[0]), text)
    text = re.sub(r"\bi\b(?=[ ']|$)", "I", text)
    if rng.random() < 0.9:
        text = text[:1].upper() + text[1:]
    if text[-1:].isalnum() and rng.random() < 0.85:
        text += "?" if QUESTION.match(text) else "."
    return text


QUESTION = re.compile(
    r"(?:\w+ )?(?:what|who|how|when|where|which|why|can|could|would|will|do|does|did|is|are|have)\b", re.IGNORECASE
)
