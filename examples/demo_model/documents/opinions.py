"""Sentences that carry an opinion, put together from things and what can be said of them."""

from __future__ import annotations

THINGS = (
    "food|service|staff|room|place|music|price|menu|waiter|atmosphere|view|"
    "battery|screen|sound|quality|design|"
    "delivery|packaging|support|size|color|camera|fabric|taste|location|"
    "breakfast|bed|app|update|interface|story|"
    "acting|film|book|experience|visit|product|value|performance|handle|manual|"
    "material|dessert|coffee|team"
).split("|")
WORDS = {
    "positive": (
        "great|excellent|wonderful|fantastic|amazing|perfect|superb|lovely|"
        "delicious|brilliant|outstanding|good|very good|"
        "really nice|beautiful|impressive|friendly|fast|reliable|comfortable|solid|"
        "awesome|better than expected|"
        "a pleasure|worth every cent|flawless|helpful|stunning|charming|top"
    ).split("|"),
    "negative": (
        "terrible|awful|horrible|bad|very bad|poor|disappointing|rude|slow|dirty|"
        "broken|cold|bland|overpriced|useless|"
        "cheap and ugly|unacceptable|disgusting|noisy|a joke|a disaster|"
        "worse than expected|a waste of money|defective|"
        "unreliable|uncomfortable|annoying|faulty|boring|the worst"
    ).split("|"),
    "neutral": (
        "okay|fine|average|acceptable|nothing special|so-so|as expected|ordinary|"
        "neither good nor bad|mediocre|standard|"
        "not bad, not great|decent but unremarkable|passable"
    ).split("|"),
}
FRAMES = (
    "The {thing} was {word}.",
    "The {thing} is {word}.",
    "I found the {thing} {word}.",
    "{Word}!",
    "{Word} {thing}.",
    "In my view the {thing} was {word}.",
    "My verdict: {word}.",
    "Honestly, the {thing} was {word}.",
)
WHOLE = {
    "positive": "I loved it.|I love it!|"
    "Highly recommended.|We were delighted.|I enjoyed every minute.|"
    "We will come back.|"
    "Five stars from me.|I am very happy with it.|It works like a charm.|"
    "Best purchase ever.|I could not be happier.|"
    "Thank you so much!|It exceeded my expectations.|Everyone loved it.|"
    "What a wonderful evening.|I like it a lot.",
    "negative": "I hated it.|I hate it.|Never again.|Avoid it.|I want my money back.|"
    "It stopped working after a week.|"
    "It broke on the first day.|We left angry.|I regret buying it.|"
    "What a waste of time.|I am very unhappy with it.|"
    "It does not work.|Nobody helped us.|Stay away.|I was really let down.|"
    "I do not like it at all.",
    "neutral": "It was okay.|It does what it should.|I have no strong opinion.|"
    "Some things were good, "
    "others were not.|"
    "It is what it is.|No complaints, no praise.|I might try it again.|"
    "It has its ups and downs.|Not sure yet.|"
    "It is all right for the price.",
}


def opinions() -> dict[str, str]:
    """For each sentiment its sentences, separated by ``|``."""
    table = {}
    for sentiment, words in WORDS.items():
        said = WHOLE[sentiment].split("|") * 12
        for thing in THINGS:
            for n, word in enumerate(words):
                frame = FRAMES[(n + len(thing)) % len(FRAMES)]
                said.append(frame.format(thing=thing, word=word, Word=word.capitalize()))
        table[sentiment] = "|".join(said)
    return table
