"""What every value is drawn with: the scene of one document, and names, addresses and contacts."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from . import pools
from .pools import Pool, Split, made_up_name, word

Json = Any


@dataclass(frozen=True)
class Value:
    """``alt`` is the other JSON type a schema may ask for, used with chance ``alt_share``."""

    json: Json
    text: str
    alt: Json = None
    alt_share: float = 0.0


CURRENCIES = {
    "USD": "$",
    "EUR": "€",
    "GBP": "£",
    "JPY": "¥",
    "INR": "₹",
    "CHF": "CHF ",
    "CAD": "C$",
    "AUD": "A$",
    "SEK": "SEK ",
    "PLN": "PLN ",
}
CURRENCY_WORDS = {"USD": "dollars", "EUR": "euros", "GBP": "pounds", "JPY": "yen", "INR": "rupees"}
MONTHS = (
    "January February March April May June July August September October November December"
).split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()


@dataclass
class Scene:
    """What one document keeps constant: chance, split, currency and writing habits."""

    rng: random.Random
    split: Split = "train"
    currency: str = ""
    money_style: int = 0
    date_style: int = 0
    time_style: int = 0
    domain: str = ""
    facts: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = self.rng
        self.currency = rng.choice(("USD", "USD", "EUR", "EUR", "GBP", *CURRENCIES))
        self.money_style = int(rng.random() * 8)
        self.date_style = int(rng.random() * 12)
        self.time_style = int(rng.random() * 4)
        self.domain = word(rng).lower() if rng.random() < 0.5 else "example"

    def pick(self, pool: Pool) -> str:
        return pool.pick(self.rng, self.split)


def copied(text: str) -> Value:
    return Value(text, text)


def person_name(s: Scene) -> str:
    rng = s.rng
    first = s.pick(pools.FIRST_NAMES) if rng.random() < 0.6 else made_up_name(rng)
    last = s.pick(pools.LAST_NAMES) if rng.random() < 0.5 else made_up_name(rng)
    roll = rng.random()
    if roll < 0.04:
        return f"{first} {rng.choice('ABCDEFGHJKLMNPRSTW')}. {last}"
    if roll < 0.07:
        return f"{first} {last}-{made_up_name(rng)}"
    return first if roll < 0.14 else f"{first} {last}"


def company_name(s: Scene) -> str:
    rng = s.rng
    head = s.pick(pools.COMPANY_WORDS) if rng.random() < 0.4 else made_up_name(rng)
    trade = s.pick(pools.COMPANY_FIELDS) if rng.random() < 0.65 else made_up_name(rng)
    roll = rng.random()
    if roll < 0.08:
        return f"{head} & {made_up_name(rng)}"
    if roll < 0.3:
        return f"{head} {s.pick(pools.COMPANY_SUFFIXES)}"
    if roll < 0.65:
        return f"{head} {trade}"
    if roll < 0.9:
        return f"{head} {trade} {s.pick(pools.COMPANY_SUFFIXES)}"
    return head


def organisation(s: Scene) -> Value:
    return copied(company_name(s) if s.rng.random() < 0.6 else person_name(s))


def email(s: Scene) -> Value:
    rng = s.rng
    known = s.facts.get("name") or s.facts.get("sender") or s.facts.get("customer")
    if known and rng.random() < 0.6 and known.text.isascii():
        user = known.text.lower().replace("'", "").replace(".", "").replace(" ", rng.choice("._-"))
    else:
        user = rng.choice(
            (word(rng), f"{word(rng)}.{word(rng)}", f"{word(rng)}{rng.randint(1, 99)}")
        )
        user = rng.choice((user, user, "info", "sales", "hr", "contact"))
    host = rng.choice((s.domain, word(rng).lower(), "gmail", "mail", "example"))
    return copied(
        f"{user.lower()}@{host}.{rng.choice(('com', 'com', 'org', 'net', 'io', 'de', 'co.uk'))}"
    )


def digits(rng: random.Random, count: int) -> str:
    return str(rng.randint(10 ** (count - 1), 10**count - 1))


def phone(s: Scene) -> Value:
    rng = s.rng
    a, b, c = digits(rng, 3), digits(rng, 3), digits(rng, 4)
    return copied(
        rng.choice(
            (
                f"+{rng.randint(1, 99)} {a} {b} {c}",
                f"({a}) {b}-{c}",
                f"{a}-{b}-{c}",
                f"+1-{a}-{b}-{c}",
                f"0{a} {b}{c}",
                f"+{rng.randint(1, 99)}{a}{b}{c}",
                f"{b}-{c}",
                f"{a}.{b}.{c}",
            )
        )
    )


def city_name(s: Scene) -> str:
    return s.pick(pools.CITIES) if s.rng.random() < 0.55 else made_up_name(s.rng)


def street_name(s: Scene) -> str:
    rng = s.rng
    base = s.pick(pools.STREET_NAMES) if rng.random() < 0.5 else made_up_name(rng)
    number = (
        rng.randint(1, 999) if rng.random() < 0.8 else f"{rng.randint(1, 99)}{rng.choice('abc')}"
    )
    roll = rng.random()
    if roll < 0.75:
        return f"{number} {base} {s.pick(pools.STREET_SUFFIXES)}"
    return f"{base}{rng.choice(('straße', 'weg', 'gasse', 'laan'))} {number}"


def postcode_text(s: Scene) -> str:
    rng = s.rng
    letters = "ABCDEFGHJKLMNPRSTUWXY"
    return rng.choice(
        (
            digits(rng, 5),
            digits(rng, 5),
            digits(rng, 4),
            digits(rng, 6),
            f"{rng.choice(letters)}{rng.choice(letters)}{rng.randint(1, 20)} {rng.randint(1, 9)}"
            f"{rng.choice(letters)}{rng.choice(letters)}",
            f"{digits(rng, 3)} {digits(rng, 2)}",
            f"{digits(rng, 5)}-{digits(rng, 4)}",
        )
    )


def address(s: Scene) -> Value:
    street, city, code = street_name(s), city_name(s), postcode_text(s)
    country = s.pick(pools.COUNTRIES)
    text = s.rng.choice(
        (
            f"{street}, {code} {city}, {country}",
            f"{street}, {city} {code}, {country}",
            f"{street}, {city}, {country}, {code}",
        )
    )
    parts = {"street": street, "city": city, "postal code": code, "country": country}
    return Value(parts, text, text, 0.35)
