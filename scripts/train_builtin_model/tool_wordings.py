"""What stands around a request: the forms of orders and questions, and what is said when something is missing."""

from __future__ import annotations

FRAMES = {
    "-": """
{}|{}|{} please|what's {}|what is {}|what's {}|tell me {}|please tell me {}|i'd like to know {}|i want to know {}
give me {}|i need {}|i need to know {}|show me {}|can you check {}|check {}|could you check {} for me|do you know {}
find out {}|can you find out {}|look up {}|could you tell me {}|can you tell me {}|let me know {}|get me {}|i want {}
can i have {}|may i know {}|would you tell me {}|read me {}|can you get {}|have a look at {}|let me hear {}
i wonder what {} is|any idea what {} is|do you have {}|can you look up {} please|say {}|what would {} be
""",
    "+": """
{}|{}|{}|{}|please {}|{} please|can you {}|could you {}|could you please {}|can you please {}|would you {}
i want you to {}|i need you to {}|i'd like you to {}|go ahead and {}|{} for me|can you {} for me|i'd like to {}
i want to {}|i need to {}|help me {}|do me a favour and {}|{} now|just {}|{} would you|{} thanks|will you {}|let's {}
be so kind and {}|would you be able to {}|is it possible to {}|i would like to {}|can we {}|could we {}|time to {}
make sure to {}|don't forget to {}|you can {}|may i ask you to {}|your job is to {}|i was hoping you could {}
""",
    "?": """
{}|{}|{}|{}|{}|{}|{}|so {}|{} please|quick question {}|excuse me {}|say {}|sorry {}|{} do you know|just wondering {}
i have a question {}|{} i wonder|and {}|now {}|listen {}|tell me {}|one more thing {}|i was wondering {}
""",
    "=": """
{}|{}|{}|{}|{}|{}|so {}|{} please|listen {}|and {}|{} thank you|oh {}|{} if possible|right {}|excuse me {}|{} for me
""",
}
FORMS = {mark: [form for form in text.replace("\n", "|").split("|") if form] for mark, text in FRAMES.items()}
QUESTION = (
    "what who how when where which why can could would is are am was do does did has have had may will should any"
).split()
LEADS = "hey|hi|hello|okay|ok so|well|right|now|um|hey parley|parley|all right|good morning|oh|next|also|hmm|so".split(
    "|"
)
TRAILS = "please|thank you|thanks|if you can|right now|when you have a moment|will you|quickly|if possible".split("|")
AGAIN = "and {}|what about {}|how about {}|and now {}|the same for {}|{} too|and for {}|now {}|okay and {}|same with {}"
ANSWERS = "{}|{}|{}|{} please|oh {}|um {}|make it {}|let's say {}|i think {}|{} i think|{} of course|well {}|it's {}"
BEFORE = ["One moment.", "Let me see.", "Just a second.", "I'll do that.", "Let me check."]
THANKS = """
thanks|thank you|thank you very much|great thanks|perfect thank you|thanks a lot|cheers|lovely thanks|okay thanks
good thank you|that's great thank you|nice thanks|wonderful thank you|thanks for that|many thanks|thank you so much
""".strip().replace("\n", "|")
WELCOME = ["You're welcome.", "My pleasure."]
REFUSALS = ["I'm sorry, I can't {} here.", "I can't {} from here, I'm afraid."]
ABILITIES = """
what can you do|what can you help me with|what are you able to do|what can i ask you|how can you help me
what do you do here|what are your functions|which things can you do for me|tell me what you can do|what else can you do
what are you good for|what sort of things do you do|what can you do for me|in what way can you help|what are my options
what functions do you have|what kind of help do you offer|what services do you have|what am i able to ask
""".strip().replace("\n", "|")
ASKS = {
    "person": ["Who?", "Which person?"],
    "time": ["At what time?"],
    "day": ["On which day?", "Which day?"],
    "message": ["What should it say?"],
    "onoff": ["On or off?"],
    "count": ["How many?"],
    "amount": ["How much?"],
}
INSTRUCTIONS = """
You are a helpful voice assistant.
You are a voice assistant. Use the functions when they help.
Be brief and friendly.
Use the functions to help the user.
You can call functions. Answer in short spoken sentences.
You are a helpful assistant. Keep it short.
Help the user with the tools that you have.
You are a friendly helper on the phone.
Answer politely and use the tools.
Talk in short sentences. Call a function when one fits.
You help people by voice.
Be helpful. If no function fits, say so.
Speak English. Be concise.
""".strip().splitlines()
PERSONAS = """
home: You control the smart home of the {person} family.|You are the voice of a smart home. Use the functions.
hotel: You are the voice of the Hotel {name}. Use the functions.|You work at the reception of the {name} Hotel.
restaurant: You take orders for the restaurant {name}.|You are the waiter of {name}. Be polite and use the functions.
bank: You are the phone assistant of {name} Bank.|You help customers of the {name} Bank. Use the tools.
shop: You are the shop assistant of {name}.|You help customers of the {name} shop to find things.
car: You are the assistant in a car.|You are the voice of the {name} car. Keep answers short.
travel: You are a travel agent at {name} Travel.|You help travellers. Use the functions.
health: You are the assistant of Doctor {person}'s practice.|You help patients to keep well. Use the tools.
school: You are a helper for pupils and teachers.|You are the voice of the {name} school.
office: You are the office assistant of {name}.|You help the people of the {name} office.
support: You are the support line of {name}. Use the functions.|You help customers with their tickets.
delivery: You are the voice of {name} Delivery.|You help people to follow their parcels.
library: You are the voice of the {name} library.
cinema: You sell tickets at the {name} cinema.
robot: You are a small robot called {name}.|You control a robot. Use the functions.
garden: You look after the garden of {person}.
games: You run a games evening. Use the functions.
music: You are a music player. Use the functions.
weather: You are a weather service. Use the functions.
calendar: You keep the calendar of {person}.
""".strip().splitlines()
PERSONA = {line.split(": ", 1)[0]: line.split(": ", 1)[1].split("|") for line in PERSONAS}
