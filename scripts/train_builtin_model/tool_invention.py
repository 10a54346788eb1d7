"""Functions that nobody wrote: a verb or a property, a thing, and parameters, thrown together anew each time.

The library can be learned by heart, these cannot: only their name and description tell what they do.
"""

from __future__ import annotations

import random

from .grammar import Pattern
from .tool_library import Ask, Function, Param
from .tool_values import invented

# Verbs, each with others that a user or a description may use for the same.
VERBS = [
    line.split(",")
    for line in """
calibrate,adjust
clean,wash
inspect,examine,check
open,unlock
close,shut
start,launch,run
stop,halt,switch off
reset,restart
refill,fill up,top up
empty,drain
paint,colour
repair,fix,mend
move,shift
lift,raise
lower,let down
rotate,turn
lock,secure
test,try out
measure,gauge
heat,warm up
cool,chill
load,fill
unload,clear out
label,mark
scan,read in
archive,file away,store
approve,confirm
reject,decline
publish,release
hide,cover
assign,hand over
rent,hire
sell,offer
sort,order
count,number
pack,wrap
polish,shine
tune,fine tune
feed,nourish
charge,power up
log,record
pause,hold
resume,continue
copy,duplicate
connect,link
disconnect,unplug
summon,call over
dismiss,send away
water,sprinkle
bless,praise
tag,flag
freeze,block
spin,twirl
park,leave
register,sign up
""".strip().splitlines()
]
THINGS = """
pump valve engine hatch crane belt conveyor greenhouse aquarium telescope antenna drone rover submarine elevator
turbine generator boiler furnace kiln loom press mill mixer drill lathe saw welder forklift trolley wagon tram ferry
barge buoy lighthouse anchor net cage stable coop hive kennel barn silo trough fountain pond pool slide swing carousel
stage curtain spotlight microphone amplifier organ drum easel statue vault safe locker drawer cabinet shelf crate
barrel bottle jar tray ticket badge ledger contract form survey ballot petition voucher coupon booking draft report
chart diagram poster banner leaflet magazine catalogue playlist podcast channel campaign newsletter invoice shipment
container pallet parcel order batch sample probe sensor beacon camera scanner printer router server cluster database
queue cache firewall certificate branch patch build pipeline dashboard widget avatar quest potion spell sword shield
dragon castle village tournament squad league stadium track lane court pitch tent caravan cabin cottage lodge chalet
lawn hedge orchard vineyard meadow bridge tunnel gate fence ramp staircase chimney roof gutter sink tap shower bathtub
mirror lantern candle bell clock compass globe puzzle kite balloon robot puppet flux zorb gizmo gadget
""".split()
KINDS = """
main spare north south east west upper lower old new red blue green small big inner outer front back left right second
portable solar steam night backup
""".split()
PROPERTIES = """
level:percent|pressure:bar|speed:metres a second|weight:kilos|height:metres|length:metres|width:centimetres|age:years
temperature:degrees|voltage:volts|load:percent|capacity:litres|depth:metres|price:euros|value:euros|score:points
distance:kilometres|volume:litres|power:watts|humidity:percent|cost:euros|balance:points|progress:percent|stock:pieces
""".strip().replace("\n", "|")
WORDS = "status owner colour location mode name supplier operator condition destination sponsor keeper captain".split()
POOLS = {"status": "status", "colour": "colour", "location": "place", "mode": "mood", "condition": "adj"}
MODES = (
    "slow fast quiet eco turbo gentle silent normal strong weak manual auto day night summer winter short long".split()
)
GROUPS = ["city", "person", "room", "day", "company", "team", "country", "street", "product", "topic"]
BEHIND = {
    "city": "in {x}",
    "person": "for {x}",
    "room": "in the {x}",
    "day": "on {x}",
    "company": "of {x}",
    "team": "of {x}",
    "country": "in {x}",
    "street": "in {x}",
    "product": "with the {x}",
    "topic": "about {x}",
}

PARTS = {
    "city": ("city", "in {city}"),
    "person": ("person", "for {person}"),
    "day": ("day", "on {day}"),
    "time": ("time", "at {time}"),
    "people": ("n(2,20)", "for {people} people"),
    "minutes": ("n(2,90)", "for {minutes} minutes"),
    "weeks": ("n(2,40)", "for {weeks} weeks"),
    "price": ("n(5,900)", "for {price} euros"),
    "count": ("n(2,60)", "{count} times"),
    "colour": ("colour", "in {colour}"),
    "size": ("enum(small,medium,large)", "in size {size}"),
    "priority": ("enum(low,normal,high)", "with {priority} priority"),
    "street": ("street", "at {street}"),
    "owner": ("person", "owned by {owner}"),
    "name": ("brand", "called {name}"),
    "items": ("list(food)", "with {items}"),
    "reason": ("topic", "because of {reason}"),
    "message": ("message", "and say {message}"),
}


def thing(rng: random.Random) -> str:
    """The name of a thing, sometimes with a kind, sometimes a word that does not exist."""
    if rng.random() < 0.12:
        return invented(rng)
    name = rng.choice(THINGS)
    return f"{rng.choice(KINDS)} {name}" if rng.random() < 0.3 else name


def plural(name: str) -> str:
    """`box` as `boxes`."""
    if name.endswith(("ch", "sh", "s", "x")):
        return name + "es"
    return name[:-1] + "ies" if name.endswith("y") and name[-2] not in "aeiou" else name + "s"


def invent(rng: random.Random, about: str | None = None) -> Function:
    """A function about a thing."""
    about = about or thing(rng)
    made = rng.choices(
        [plain_action, number_action, mode_action, named_action, rich_action, switch_action, question, word_question],
        [2, 4, 3, 3, 8, 1, 4, 3],
    )[0](about, rng)
    return made


def siblings(function: Function, rng: random.Random, count: int) -> list[Function]:
    """Other functions, most of them about the same thing."""
    found = [function]
    for _ in range(count):
        made = invent(rng, function.about if rng.random() < 0.6 else None)
        if all(made.differs(other) for other in found):
            found.append(made)
    return found[1:]


def made_of(
    name: str, does: list[str], params: list[Param], asks: list[str], replies: list[str], *, about: str
) -> Function:
    """A function of its parts; the mark stands before each ask."""
    function = Function("invented", (name.replace(" ", "_"),), tuple(does), tuple(params), about=about)
    function.asks = [Ask(ask[0], "", Pattern(ask[2:], {})) for ask in asks]
    function.replies = {"": replies}
    return function


def behind(rng: random.Random) -> tuple[list[Param], str, str]:
    """Perhaps a second parameter: itself, how it is said, and how it is described."""
    if rng.random() < 0.55:
        return [], "", ""
    group = rng.choice(GROUPS)
    return [Param((group,), group, True)], " " + BEHIND[group].replace("x", group), f" for a {group}"


def plain_action(about: str, rng: random.Random) -> Function:
    """`polish the statue`."""
    verb, *others = rng.choice(VERBS)
    said = rng.choice([verb, verb, *others])
    more, where, told = behind(rng)
    asks = [f"+ {said} the {about}{where}", f"+ {verb} the {about}{where}", f"? the {about}{where} please {said} it"]
    if more:
        asks.append(f"+ {said} the {about}")
    does = [f"{verb} the {about}", f"{rng.choice([verb, *others])} the {about}{told}"]
    return made_of(f"{verb} {about}", does, more, asks, [f"I did that: {verb} the {about}{where}."], about=about)


def number_action(about: str, rng: random.Random) -> Function:
    """`set the pressure of the pump to forty`."""
    prop, _, unit = rng.choice(PROPERTIES.split("|")).partition(":")
    verb = rng.choice(["set", "change", "adjust"])
    number = Param((prop, "value", "target"), rng.choice(["n(2,99)", "n(2,400)", "n(5,950,5)"]), True)
    slot = f"{{{prop}}}"
    asks = [
        f"+ (set|put|bring|change) the {prop} of the {about} to {slot} [{unit}]",
        f"+ set the {about} to {slot} {unit}",
        f"? the {about} (should have|needs) a {prop} of {slot} [{unit}]",
        f"? {prop} of the {about} {slot} [{unit}]",
        f"? i want the {about} at {slot} {unit}",
        f"+ (set|change) the {prop} of the {about}",
    ]
    does = [f"{verb} the {prop} of the {about}", f"{verb} the {about}'s {prop} in {unit}"]
    return made_of(
        f"set {about} {prop}", does, [number], asks, [f"The {prop} of the {about} is {slot} {unit} now."], about=about
    )


def mode_action(about: str, rng: random.Random) -> Function:
    """`switch the turbine to eco`."""
    modes = rng.sample(MODES, rng.randint(2, 4))
    word = rng.choice(["mode", "setting", "program", "level", "style"])
    asks = [
        f"+ (set|put|switch|change) the {about} to {{{word}}} [{word}]",
        f"? the {about} (on|in) {{{word}}} {word}",
        f"? i (want|need) the {about} in {{{word}}} {word}",
        f"+ (use|take) the {{{word}}} {word} for the {about}",
        f"+ change the {word} of the {about}",
    ]
    param = Param((word,), f"enum({','.join(modes)})", True)
    does = [f"set the {word} of the {about}", f"choose the {word} for the {about}"]
    return made_of(f"set {about} {word}", does, [param], asks, [f"The {about} is set to {{{word}}}."], about=about)


def named_action(about: str, rng: random.Random) -> Function:
    """`assign the locker to Maria`."""
    verb, *others = rng.choice(VERBS)
    group = rng.choice(GROUPS)
    where = BEHIND[group].replace("x", group)
    said = rng.choice([verb, *others])
    number = rng.random() < 0.4
    params = [Param((group,), group, True)] + ([Param(("count", "number"), "n(2,60)", False)] if number else [])
    asks = [
        f"+ {said} the {about} {where}",
        f"+ {verb} a {about} {where}",
        f"? a {about} {where} has to be there {said} one" if rng.random() < 0.2 else f"+ {verb} the {about} {where}",
        f"+ {verb} the {about}",
    ]
    if number:
        asks += [f"+ {said} {{count}} {plural(about)} {where}", f"+ {verb} {{count}} of the {plural(about)} {where}"]
    does = [f"{verb} a {about}", f"{rng.choice([verb, *others])} a {about} for a {group}"]
    return made_of(f"{verb} {about}", does, params, asks, [f"I did that: {verb} the {about} {where}."], about=about)


def rich_action(about: str, rng: random.Random) -> Function:
    """`rent a crane for Maria in Rome for nine days`: two to four parameters, named in any order."""
    verb, *others = rng.choice(VERBS)
    chosen = rng.sample(list(PARTS), rng.randint(2, 4))
    needed = rng.randint(1, len(chosen))
    params = [Param((name,), PARTS[name][0], at < needed) for at, name in enumerate(chosen)]
    asks = []
    for _ in range(5):
        named = chosen[: rng.randint(needed, len(chosen))]
        rng.shuffle(named)
        if "message" in named:
            named.append(named.pop(named.index("message")))
        said = f"{rng.choice([verb, *others])} {rng.choice(['a', 'the', 'a'])} {about}"
        tail = " ".join(PARTS[name][1] for name in named)
        asks.append(rng.choice(["+ ", "+ ", "+ "]) + f"{said} {tail}")
    named = chosen[:needed]
    asks.append(f"? a {about} {' '.join(PARTS[name][1] for name in named)} please {verb} it")
    if needed > 1:
        asks.append(f"+ {verb} a {about} {PARTS[chosen[0]][1]}")
    asks.append(f"+ {verb} a {about}")
    does = [f"{verb} a {about}", f"{rng.choice([verb, *others])} a {about}"]
    replies = [f"I did that: {verb} the {about} {PARTS[chosen[0]][1]}."]
    return made_of(f"{verb} {about}", does, params, asks, replies, about=about)


def switch_action(about: str, rng: random.Random) -> Function:
    """`switch the fountain on`."""
    verb = rng.choice(["switch", "turn", "control"])
    asks = [
        f"+ (switch|turn|put) the {about} {{on}}",
        f"+ (switch|turn) {{on}} the {about}",
        f"? [the] {about} {{on}}",
        f"? i want the {about} {{on}}",
        f"+ (switch|turn) the {about}",
    ]
    does = [f"switch the {about} on and off", f"{verb} the {about}"]
    return made_of(
        f"{verb} {about}", does, [Param(("on", "power"), "onoff", True)], asks, [f"The {about} is {{on}}."], about=about
    )


def question(about: str, rng: random.Random) -> Function:
    """`get the depth of the pond`."""
    prop, _, unit = rng.choice(PROPERTIES.split("|")).partition(":")
    more, where, told = behind(rng)
    asks = [
        f"- the {prop} of the {about}{where}",
        f"? how (much|high) is the {prop} of the {about}{where}",
        f"? what {prop} does the {about}{where} have",
        f"- the {about} {prop}{where}",
    ]
    if more:
        asks.append(f"- the {prop} of the {about}")
    does = [f"tell the {prop} of the {about}", f"get the {prop} of the {about}{told}"]
    reply = f"The {prop} of the {about}{where} is {{value}} {unit}."
    made = made_of(f"get {about} {prop}", does, more, asks, [reply], about=about)
    made.fields = (Param(("value", prop, "result"), rng.choice(["n(2,99)", "n(2,900)", "f(1,60)"]), False),)
    return made


def word_question(about: str, rng: random.Random) -> Function:
    """`find the owner of the castle`."""
    prop = rng.choice(WORDS)
    more, where, told = behind(rng)
    asks = [
        f"- the {prop} of the {about}{where}",
        f"? (what|which|who) is the {prop} of the {about}{where}",
        f"? (what|which) {prop} does the {about}{where} have",
    ]
    if more:
        asks.append(f"- the {prop} of the {about}")
    does = [f"tell the {prop} of the {about}", f"look up the {prop} of the {about}{told}"]
    made = made_of(
        f"get {about} {prop}", does, more, asks, [f"The {prop} of the {about}{where} is {{value}}."], about=about
    )
    made.fields = (Param(("value", prop, "result"), POOLS.get(prop, "person"), False),)
    return made
