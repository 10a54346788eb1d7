"""The rules that instructions may hold: each method draws one."""

from __future__ import annotations

import csv
import random
import re

from .chat import Chat
from .grammar import Intent, join, with_article
from .instructions_book import FOLDER, Book, Exchange
from .instructions_facts import Facts
from .instructions_rules import Asking, Rule, sentence, with_prefix, with_suffix

ENGLISH_ONLY = "I'm sorry, I only speak English."
GREETING = re.compile(
    r"^(Hello|Hi\b|Hey|Good (morning|evening|afternoon|night|day)|You're welcome|My pleasure|Goodbye|Bye"
    r"|I'm (doing|fine)|Very well|Sleep well|Yes, I can hear|Yes, I'm listening)"
)
KNOWLEDGE = (
    "capital",
    "opposite",
    "animal",
    "planet",
    "colour_of",
    "sum",
    "trivia",
    "joke",
    "riddle",
    "story",
    "spell",
)
PLAIN = ("capital", "opposite", "planet", "colour_of", "sum", "joke", "riddle", "spell")
"""Of these, what no single topic that instructions allow is about."""

NOT_PARLEY = re.compile(r"Parley(?! project)|assistant")
ABOUT_NAMES = re.compile(r"\bname|\bcall|who am i|Nice to meet", re.IGNORECASE)
ABOUT_LANGUAGE = re.compile(r"English|translate|language", re.IGNORECASE)
SERIOUS = re.compile(r"helpline|emergency|doctor|ambulance|trust", re.IGNORECASE)
JOKING = re.compile(r"joke|funny|laugh|riddle", re.IGNORECASE)


class Makers:
    """Draws rules."""

    def __init__(self, book: Book, chat: Chat) -> None:
        self.book = book
        self.chat = chat
        self.facts = Facts(book)
        with (FOLDER / "styles.tsv").open(encoding="utf-8", newline="") as file:
            self.styles = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        self.knowledge = [intent for intent in chat.intents if intent.name.startswith(KNOWLEDGE)]

    def name(self, rng: random.Random) -> Rule:
        """The assistant has another name."""
        me = self.book.name(rng)
        own = self._about_name(me, f"I'm {me}.")
        return Rule("who", [self.book.say("name", rng, me=me)], own, 0.5, me=me, unfit=NOT_PARLEY)

    def persona(self, rng: random.Random) -> Rule:
        """The assistant has a role, perhaps a place of work, perhaps a name."""
        slots = self.book.slots(rng)
        section = rng.choices(["role_named", "role_only_named", "role_plain", "place_plain"], [5, 3, 2, 2])[0]
        me = self.book.name(rng) if section.endswith("named") else "Parley"
        role = self.book.raw("role", rng)
        place = self.book.raw("place", rng, **slots) if section in ("role_named", "place_plain") else ""
        title = f"the {role} of {place}" if place else article(role)
        own = self._about_name(me, f"I'm {me}, {title}.")
        work = f"I work at {place}." if place else "I don't know where I work, I'm afraid."
        own += [
            lambda rng: Exchange(self.book.raw("ask_role", rng, role=role), f"I'm {title}.", sentence(role)[:-1]),
            lambda rng: Exchange(self.book.raw("ask_place", rng), work, place or "Unknown"),
            lambda rng: Exchange(self.book.raw("ask_is_role", rng, role=role), f"Yes, I'm {title}.", "Yes", (role,)),
        ]
        if place:
            own.append(
                lambda rng: Exchange(
                    self.book.raw("ask_is_place", rng, place=place), f"Yes, this is {place}.", "Yes", (place,)
                )
            )
        clause = self.book.say(section, rng, me=me, role=role, place=place)
        return Rule("who", [clause], own, 0.75, me=me, unfit=NOT_PARLEY)

    def _about_name(self, me: str, who: str) -> list[Asking]:
        """Questions about a name, the plain one thrice as often as each other."""

        def asked(rng: random.Random) -> Exchange:
            user = self.book.raw("ask_name", rng)
            reply = f"My name is {me}." if "name" in user and rng.random() < 0.9 else who
            return Exchange(user, reply, me)

        def other(rng: random.Random) -> Exchange:
            name = "Parley" if me != "Parley" and rng.random() < 0.35 else self.book.name(rng)
            if name == me:
                return asked(rng)
            return Exchange(self.book.raw("ask_is_other", rng, other=name), f"No, I'm {me}.", "No", (name,))

        def same(rng: random.Random) -> Exchange:
            return Exchange(self.book.raw("ask_is_name", rng, me=me), f"Yes, I'm {me}.", "Yes", (me,))

        def hello(rng: random.Random) -> Exchange:
            return Exchange(self.book.raw("hello_name", rng, me=me), "Hello! How can I help you?", "Hello", (me,))

        return [asked, asked, asked, other, same, hello]

    def one_word(self, rng: random.Random) -> Rule:
        """Answers of one word, or of a few, which is the same."""
        section = "one_word" if rng.random() < 0.75 else "few_words"
        return Rule("form", [self.book.say(section, rng)], one_word=True)

    def yes_no(self, rng: random.Random) -> Rule:
        """Only yes and no; what cannot be answered so gets a no, a greeting a yes."""
        own: list[Asking] = [
            lambda rng: Exchange(self.book.raw("yes_question", rng), "Yes.", "Yes"),
            lambda rng: Exchange(self.book.raw("no_question", rng), "No.", "No"),
        ]

        def change(rng: random.Random, user: str, reply: str) -> str:
            return "Yes." if reply.startswith("Yes") or GREETING.match(reply) else "No."

        return Rule("form", [self.book.say("yes_no", rng)], own, 0.8, yes_no=True, unfit=SERIOUS, change=change)

    def constant(self, rng: random.Random) -> Rule:
        """The same answer to everything."""
        text = self.line(rng).rstrip(".") if rng.random() < 0.4 else self.book.word(rng)
        own: list[Asking] = [lambda rng: Exchange(self.ordinary_question(rng), "Yes.")]
        return Rule(
            "form", [self.book.say("constant", rng, x=text)], own, 0.4, yes_no=True, unfit=SERIOUS,
            change=lambda rng, user, reply: sentence(text),
        )  # fmt: skip

    def echo(self, rng: random.Random) -> Rule:
        """The user's words again."""
        return Rule(
            "form", [self.book.say("echo", rng)], yes_no=True, unfit=SERIOUS,
            change=lambda rng, user, reply: sentence(user),
        )  # fmt: skip

    def prefix(self, rng: random.Random) -> Rule:
        """Something is said before every answer."""
        word = self.book.word(rng)
        if rng.random() < 0.25:
            word = word[:1].upper() + word[1:]
        return Rule("form", [self.book.say("prefix", rng, x=word)], prefix=word)

    def suffix(self, rng: random.Random) -> Rule:
        """Something is said after every answer."""
        word = self.book.word(rng)
        if rng.random() < 0.25:
            word = word[:1].upper() + word[1:]
        return Rule("form", [self.book.say("suffix", rng, x=word)], suffix=word)

    def style(self, rng: random.Random) -> Rule:
        """A character or a mood, which shows in a fixed mark."""
        row = rng.choice(self.styles)
        style = rng.choice(row["names"].split("|"))
        prefix, suffix = row["prefix"], row["suffix"]
        if row["kind"] == "mood":
            return Rule("form", [self.book.say("mood", rng, mood=style)], prefix=prefix, suffix=suffix)
        if rng.random() < 0.6:
            return Rule("form", [self.book.say("style", rng, style=style)], prefix=prefix, suffix=suffix)
        me = self.book.name(rng)
        own = self._about_name(me, f"I'm {me}, {article(style)}.")
        clause = self.book.say("style_named", rng, style=style, me=me)
        return Rule("form", [clause], own, 0.4, me=me, unfit=NOT_PARLEY, prefix=prefix, suffix=suffix)

    def address(self, rng: random.Random) -> Rule:
        """The user is called something in every answer."""
        user = self.book.raw("honorific", rng, **self.book.slots(rng))
        own: list[Asking] = [lambda rng: Exchange(self.book.raw("ask_user", rng), f"You are {user}.", user)]
        return Rule(
            "address", [self.book.say("address", rng, user=user)], own, 0.15, suffix=f", {user}", unfit=ABOUT_NAMES
        )

    def user_name(self, rng: random.Random) -> Rule:
        """The instructions tell the user's name."""
        user = self.book.slots(rng)["first" if rng.random() < 0.7 else "full"]
        own: list[Asking] = [
            lambda rng: Exchange(self.book.raw("ask_user", rng), f"Your name is {user}.", user),
            lambda rng: Exchange(self.book.raw("user_hello", rng), f"Hello, {user}! How can I help you?", user),
        ]
        unfit = re.compile(f"{ABOUT_NAMES.pattern}|^.* // (Hello|Hi |Good )", re.IGNORECASE)
        return Rule("address", [self.book.say("user_name", rng, user=user)], own, 0.65, unfit=unfit)

    def language(self, rng: random.Random) -> Rule:
        """Another language is wanted; the model says first that it has only English."""
        tongue = self.book.raw("tongue", rng)
        clause = self.book.say("language", rng, language=tongue)
        own = self.languages(tongue)
        return Rule("language", [clause], own, 0.25, first=ENGLISH_ONLY, unfit=ABOUT_LANGUAGE)

    def no_language(self, rng: random.Random) -> Rule:
        """Nothing about languages is in the instructions, or that English is spoken; users ask for others."""
        clauses = [self.book.say("english", rng)] if rng.random() < 0.4 else []
        return Rule("language", clauses, self.languages(None), 0.6)

    def languages(self, tongue: str | None) -> list[Asking]:
        """Users who want another language, or speak one, as far as a transcriber can write it."""

        def asked(rng: random.Random) -> Exchange:
            wanted = tongue if tongue and rng.random() < 0.5 else self.book.raw("tongue", rng)
            user = self.book.raw("ask_language", rng, language=wanted)
            return Exchange(user, ENGLISH_ONLY, "English", (wanted,))

        def foreign(rng: random.Random) -> Exchange:
            return Exchange(self.book.raw("foreign", rng), ENGLISH_ONLY, "English")

        return [asked, asked, foreign]

    def forbid(self, rng: random.Random) -> Rule:
        """Something must not be talked about."""
        if rng.random() < 0.35:
            own: list[Asking] = [
                lambda rng: Exchange(
                    self.book.raw("ask_joke", rng),
                    "I'm sorry, I can't tell jokes.",
                    "Sorry",
                    ("jokes", "joke", "funny", "laugh"),
                )
            ]
            return Rule("topic", [self.book.say("forbid_jokes", rng)], own, 0.55, unfit=JOKING)
        topic = "the weather" if rng.random() < 0.12 else self.topic(rng)
        weather = next((intent for intent in self.chat.intents if intent.name == "weather"), None)

        def asked(rng: random.Random) -> Exchange:
            user = self.book.raw("ask_topic", rng, topic=topic)
            if topic == "the weather" and weather and rng.random() < 0.6:
                user = self._question(rng, weather)
            return Exchange(user, f"I'm sorry, I can't talk about {topic}.", "Sorry", (topic,))

        return Rule(
            "topic", [self.book.say("forbid", rng, topic=topic)], [asked, asked, self._other_topic(topic)], 0.6,
            unfit=about(topic),
        )  # fmt: skip

    def topic(self, rng: random.Random) -> str:
        """Something to talk about."""
        return self.book.raw("topic", rng, **self.book.slots(rng))

    def _other_topic(self, topic: str) -> Asking:
        """A topic that the instructions do not name: the model says that it knows little."""

        def asked(rng: random.Random) -> Exchange:
            other = topic
            while other == topic:
                other = self.topic(rng)
            user = self.book.raw("ask_topic", rng, topic=other)
            return Exchange(user, f"I don't know much about {other}, I'm afraid.", "Unknown", (other,))

        return asked

    def only(self, rng: random.Random) -> Rule:
        """One topic, and no other."""
        topic = self.book.raw("activity", rng, **self.book.slots(rng))
        decline = f"I'm sorry, I can only talk about {topic}."

        def off(rng: random.Random) -> Exchange:
            if rng.random() < 0.3:
                return Exchange(self.book.raw("ask_topic", rng, topic=self.topic(rng)), decline, "Sorry")
            return Exchange(self.ordinary_question(rng, PLAIN), decline, "Sorry")

        def on(rng: random.Random) -> Exchange:
            user = self.book.raw("ask_topic", rng, topic=topic)
            return Exchange(user, f"Gladly. What would you like to know about {topic}?", "Gladly", (topic,))

        unfit = re.compile(r" // (?!" + GREETING.pattern[1:] + ")")
        return Rule("topic", [self.book.say("only", rng, topic=topic)], [off, off, on], 0.85, unfit=unfit)

    def ordinary_question(self, rng: random.Random, names: tuple[str, ...] = KNOWLEDGE) -> str:
        """A question about what the model knows otherwise, from the intents whose names begin so."""
        return self._question(rng, rng.choice([intent for intent in self.knowledge if intent.name.startswith(names)]))

    def _question(self, rng: random.Random, intent: Intent) -> str:
        row = self.chat.sources.draw(intent.rows, rng) if intent.rows else {}
        return join(rng.choice(intent.turns[0].asks).expand(rng, {"me": "parley"} | row))

    def if_asked(self, rng: random.Random) -> Rule:
        """A fixed answer to questions about something."""
        topic = self.topic(rng)
        text = sentence(self.line(rng))
        clause = quoted(self.book.say("if_asked", rng, topic=topic, y="\0"), text, rng)
        own: list[Asking] = [
            lambda rng: Exchange(self.book.raw("ask_topic", rng, topic=topic), text, None, (topic,)),
            lambda rng: Exchange(self.book.raw("ask_topic", rng, topic=topic), text, None, (topic,)),
            self._other_topic(topic),
        ]
        return Rule("topic", [clause], own, 0.7, unfit=about(topic))

    def line(self, rng: random.Random) -> str:
        """Something that instructions want to be said."""
        slots = self.book.slots(rng)
        slots |= {"role": self.book.raw("role", rng), "word": self.book.raw("word", rng, **slots)}
        return self.book.say("y_reply", rng, day="Monday", **slots)

    def greet(self, rng: random.Random) -> Rule:
        """A fixed greeting."""
        slots = self.book.slots(rng)
        text = sentence(self.book.raw("greeting_text", rng, place=self.book.raw("place", rng, **slots), **slots))
        clause = quoted(self.book.say("greet", rng, y="\0"), text, rng)
        own: list[Asking] = [lambda rng: Exchange(self.book.raw("user_hello", rng), text)]

        def opening(rng: random.Random) -> list[Exchange]:
            return [own[0](rng)] if rng.random() < 0.75 else []

        return Rule("topic", [clause], own, 0.12, opening=opening, unfit=re.compile(r" // (Hello|Hi\b|Hey|Good )"))

    def ask_first(self, rng: random.Random) -> Rule:
        """The user's name is asked for before anything else."""
        user = self.book.person(rng)

        def opening(rng: random.Random) -> list[Exchange]:
            hello = rng.random() < 0.5
            first = self.book.raw("user_hello", rng) if hello else self.ordinary_question(rng)
            asked = "Hello! May I ask your name first?" if hello else "May I ask your name first?"
            told = self.book.raw("tell_user", rng, user=user)
            return [
                Exchange(first, asked),
                Exchange(told, f"Nice to meet you, {user}! How can I help you?", None, (user,)),
            ]

        own: list[Asking] = [lambda rng: Exchange(self.book.raw("ask_user", rng), f"Your name is {user}.", user)]
        clause = self.book.say("ask_user_first", rng)
        return Rule("topic", [clause], own, 0.2, opening=opening, unfit=ABOUT_NAMES)

    def trigger(self, rng: random.Random) -> Rule:
        """One word is answered with another."""
        slots = self.book.slots(rng)
        word, reply = self.book.raw("trigger_word", rng, **slots), self.book.raw("trigger_reply", rng, **slots)
        shown = rng.choice(["{}", "{}", '"{}"', "'{}'"])
        clause = self.book.say("trigger", rng, t=shown.format(word), y=shown.format(reply))
        own: list[Asking] = [
            lambda rng: Exchange(self.book.raw("trigger_ask", rng, t=word), sentence(reply), sentence(reply), (word,))
        ]
        return Rule("topic", [clause], own, 0.6, unfit=about(word))

    def hide(self, rng: random.Random) -> Rule:
        """A secret that must not be told."""
        secret = self.book.raw("secret", rng, **self.book.slots(rng))
        own: list[Asking] = [
            lambda rng: Exchange(
                self.book.raw("ask_secret", rng, secret=secret), "I'm sorry, I can't tell you that. It's a secret.",
                "Sorry", (secret, "password", "secret", "code"),
            )
        ]  # fmt: skip
        return Rule("topic", [self.book.say("hide", rng, secret=secret)], own, 0.65)

    def wish(self, rng: random.Random) -> tuple[Exchange, Rule]:
        """What a user wishes during the conversation, and the rule that holds from then on."""
        kind = rng.choice(["one", "one", "brief", "prefix", "prefix", "suffix", "me", "me", "you"])
        word = self.book.word(rng)
        if kind == "one":
            return Exchange(self.book.raw("wish_one", rng), "Okay", "Okay"), Rule("form", [], one_word=True)
        if kind == "brief":
            return Exchange(self.book.raw("wish_brief", rng), "All right, I'll keep it short."), Rule("form", [])
        if kind == "prefix":
            said = Exchange(self.book.raw("wish_prefix", rng, x=word), with_prefix("All right.", word), None, (word,))
            return said, Rule("form", [], prefix=word)
        if kind == "suffix":
            said = Exchange(self.book.raw("wish_suffix", rng, x=word), with_suffix("All right.", word), None, (word,))
            return said, Rule("form", [], suffix=word)
        if kind == "me":
            me = self.book.name(rng)
            said = Exchange(self.book.raw("wish_me", rng, x=me), f"All right, I'm {me} now.", me, (me,))
            return said, Rule("who", [], self._about_name(me, f"I'm {me}."), 0.7, me=me, unfit=NOT_PARLEY)
        user = join(self.book.sections["honorific"][0].expand(rng, {}))
        said = Exchange(self.book.raw("wish_you", rng, x=user), f"All right, {user}.", None, (user,))
        own: list[Asking] = [lambda rng: Exchange(self.book.raw("ask_user", rng), f"You are {user}.", user)]
        return said, Rule("address", [], own, 0.2, suffix=f", {user}", unfit=ABOUT_NAMES)


def article(noun: str) -> str:
    """A noun with its article."""
    return with_article(noun)


def about(topic: str) -> re.Pattern[str]:
    """Finds exchanges that touch a topic, by its last word."""
    return re.compile(re.escape(topic.rsplit(maxsplit=1)[-1].rstrip("s")), re.IGNORECASE)


def quoted(clause: str, text: str, rng: random.Random) -> str:
    """Puts a text that is to be said in its place, in one of the ways in which people write that."""
    bare = text.rstrip(".") if text.endswith(".") else text
    if clause.endswith("\0"):
        shown = rng.choice([f'"{text}"', f'"{text}"', f'"{bare}".', f"'{text}'", f": {text}", text])
        return clause.replace("\0", shown).replace(" : ", ": ").replace(":: ", ": ")
    return clause.replace("\0", rng.choice([f'"{bare}"', f'"{text}"', f"'{bare}'"]))
