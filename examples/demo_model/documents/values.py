"""Values of every field kind: what the JSON answer says, and how a document writes it.

``VALUES[sort](scene)`` draws one value. The JSON side is what a schema for the field would hold
(dates in ISO form, amounts as numbers); the text side is one of the ways people write it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

from . import pools
from .pools import Pool, blend, made_up_name, word
from .scene import (
    CURRENCIES,
    CURRENCY_WORDS,
    MONTHS,
    NUMBER_WORDS,
    WEEKDAYS,
    Scene,
    Value,
    address,
    city_name,
    company_name,
    copied,
    digits,
    email,
    organisation,
    person_name,
    phone,
    postcode_text,
    street_name,
)


def day(s: Scene) -> Value:
    rng = s.rng
    if rng.random() < 0.1:
        return copied(
            rng.choice(
                (
                    f"next {rng.choice(WEEKDAYS)}",
                    rng.choice(WEEKDAYS),
                    "tomorrow",
                    "today",
                    f"{rng.choice(MONTHS)} {rng.randint(1, 28)}",
                )
            )
        )
    d = date(1990, 1, 1) + timedelta(days=int(rng.random() ** 0.6 * 16000))
    month, style = MONTHS[d.month - 1], s.date_style
    if style in (0, 1, 2):
        text = d.isoformat()
    elif style in (3, 4):
        text = f"{d.day} {month} {d.year}"
    elif style in (5, 6):
        text = f"{month} {d.day}, {d.year}"
    elif style == 7:
        text = f"{month[:3]} {d.day}, {d.year}"
    elif style == 8:
        text = f"{d.day:02d}.{d.month:02d}.{d.year}"
    elif style == 9:
        text = f"{d.month:02d}/{d.day:02d}/{d.year}"
    elif style == 10:
        ending = "th" if 10 < d.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(d.day % 10, "th")
        text = f"{d.day}{ending} of {month} {d.year}"
    else:
        text = f"{WEEKDAYS[d.weekday()]}, {month} {d.day}, {d.year}"
    return Value(d.isoformat(), text)


def clock(s: Scene) -> Value:
    rng = s.rng
    hour, minute = rng.randint(0, 23), rng.choice((0, 0, 15, 30, 45, rng.randint(0, 59)))
    half, ampm = (hour - 1) % 12 + 1, "am" if hour < 12 else "pm"
    if s.time_style < 2:
        text = f"{hour:02d}:{minute:02d}"
    elif s.time_style == 2:
        text = f"{half}{ampm}" if minute == 0 else f"{half}:{minute:02d}{ampm}"
    else:
        text = f"{half}:{minute:02d} {ampm.upper()}"
    return Value(f"{hour:02d}:{minute:02d}", text)


def money(s: Scene, low: float = 2, high: float = 5) -> Value:
    """An amount of 10**low to 10**high cents or so, written in the document's own manner."""
    rng, code, style = s.rng, s.currency, s.money_style
    cents = int(10 ** rng.uniform(low, high + 1))
    if rng.random() < 0.45 and cents >= 100:
        cents -= cents % 100
        number, bare = cents // 100, f"{cents // 100}"
        if rng.random() < 0.4:
            number, bare = float(number), f"{number}.00"
    else:
        number, bare = cents / 100, f"{cents // 100}.{cents % 100:02d}"
    if style in (0, 1, 2) and cents >= 100000:
        whole, _, rest = bare.partition(".")
        bare = f"{int(whole):,}" + (f".{rest}" if rest else "")
    if style < 5:
        text = CURRENCIES[code] + bare
    elif style == 5:
        text = f"{bare} {code}"
    elif style == 6:
        text = f"{code} {bare}"
    else:
        text = f"{bare} {CURRENCY_WORDS.get(code, code)}"
    return Value(number, text, text, 0.08)


def count(s: Scene, high: int = 12) -> Value:
    number = s.rng.randint(1, high)
    text = NUMBER_WORDS[number] if number <= 12 and s.rng.random() < 0.25 else str(number)
    return Value(number, text, str(number), 0.04)


def identifier(s: Scene) -> Value:
    rng = s.rng
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    prefix = "".join(rng.choice(letters) for _ in range(rng.randint(1, 3)))
    number = digits(rng, rng.randint(3, 7))
    mixed = "".join(rng.choice(letters + "0123456789") for _ in range(rng.randint(5, 8)))
    if rng.random() < 0.35:
        return Value(number, number, int(number), 0.25)
    return copied(
        rng.choice(
            (
                f"{prefix}-{number}",
                f"{prefix}{number}",
                f"{rng.randint(2015, 2029)}-{number}",
                f"{prefix}-{rng.randint(2015, 2029)}-{number}",
                mixed,
                f"{number}/{prefix}",
                f"{prefix} {number}",
            )
        )
    )


def url(s: Scene) -> Value:
    rng = s.rng
    name = rng.choice((s.domain, word(rng).lower()))
    host = f"{name}.{rng.choice(('com', 'org', 'io', 'net', 'eu'))}"
    path = f"/{word(rng).lower()}" if rng.random() < 0.4 else ""
    return copied(
        rng.choice((f"https://www.{host}{path}", f"https://{host}{path}", f"www.{host}{path}"))
    )


def product_name(s: Scene) -> str:
    rng = s.rng
    noun = s.pick(pools.PRODUCT_NOUNS) if rng.random() < 0.6 else invented(s)
    roll = rng.random()
    if roll < 0.4:
        return f"{s.pick(pools.ADJECTIVES)} {noun}"
    if roll < 0.55:
        return f"{made_up_name(rng)} {noun}"
    return f"{noun} {rng.choice('ABCXZ')}{rng.randint(1, 99)}" if roll < 0.63 else noun


def title(s: Scene) -> Value:
    rng = s.rng
    topic = s.pick(pools.TOPICS) if rng.random() < 0.65 else invented(s)
    name = made_up_name(rng)
    choices = (
        f"{name} {topic}",
        f"{topic} for {name}",
        f"Update on {topic}",
        f"{topic} {rng.randint(2, 99)}",
        f"{name}: {topic}",
        f"Question about {topic}",
        f"{topic} and {s.pick(pools.TOPICS)}",
        f"Re: {topic}",
        f"{s.pick(pools.ADJECTIVES)} {topic}",
    )
    text = rng.choice(choices)
    text = text[0].upper() + text[1:]
    if rng.random() < 0.03:
        text = f'"{name}" {topic}'
    return copied(text)


def invented(s: Scene) -> str:
    """One or two made-up words: who only knew the closed pools could not copy a new word."""
    rng = s.rng
    first = blend(rng) if rng.random() < 0.6 else word(rng)
    roll = rng.random()
    if roll < 0.3:
        first = first.capitalize()
    if roll > 0.65:
        return f"{first}{rng.choice((' ', ' ', ' ', '-', ' of '))}{word(rng)}"
    return f"{s.pick(pools.ADJECTIVES)} {first}" if 0.5 < roll < 0.58 else first


def some(s: Scene, pool: Pool, low: int = 2, high: int = 5) -> list[str]:
    """Distinct entries of a list; documents differ in how many of them are invented."""
    wanted, known = s.rng.randint(low, high), s.rng.choice((0.2, 0.5, 0.9))
    words = [s.pick(pool) if s.rng.random() < known else invented(s) for _ in range(wanted)]
    return list(dict.fromkeys(words))


def listed(s: Scene, parts: list[str]) -> str:
    """The list as people write it: commas, and usually "and" before the last."""
    if len(parts) == 1:
        return parts[0]
    last = s.rng.choice((" and ", " and ", ", and ", ", ", " & "))
    return ", ".join(parts[:-1]) + last + parts[-1]


def word_list(pool: Pool) -> Callable[[Scene], Value]:
    def draw(s: Scene) -> Value:
        parts = some(s, pool, 1, 5)
        return Value(parts, listed(s, parts))

    return draw


def people(s: Scene) -> Value:
    names = list(dict.fromkeys(person_name(s) for _ in range(s.rng.randint(2, 4))))
    return Value(names, listed(s, names))


def items(s: Scene) -> Value:
    """Order lines: name, quantity, unit price."""
    rng, rows, texts = s.rng, [], []
    style = int(rng.random() * 6)
    for _ in range(rng.randint(1, 4)):
        name, quantity, price = product_name(s), count(s), money(s, 2, 3.5)
        rows.append({"name": name, "quantity": quantity.json, "price": price.json})
        texts.append(
            (
                f"{quantity.text} x {name} at {price.text}",
                f"{quantity.text} {name} for {price.text} each",
                f"{name} (qty {quantity.json}, {price.text})",
                f"{quantity.json}x {name} @ {price.text}",
                f"{name}, quantity {quantity.text}, unit price {price.text}",
                f"{name} x{quantity.json} {price.text}",
            )[style]
        )
    joined = "; ".join(texts) if style in (4, 5) or rng.random() < 0.3 else listed(s, texts)
    return Value(rows, joined)


def roster(s: Scene) -> Value:
    """Several people in one document, each with an age, a job and a city."""
    rng, rows, texts = s.rng, [], []
    style = int(rng.random() * 5)
    for _ in range(rng.randint(2, 4)):
        name, age, job, city = person_name(s), rng.randint(18, 80), job_role(s), city_name(s)
        row = {"name": name, "age": age, "job": job, "city": city}
        if style == 0:
            row.pop("job"), row.pop("city")
        elif style == 1:
            row.pop("city")
        elif style == 2:
            row.pop("age"), row.pop("job")
        rows.append(row)
        texts.append(
            (
                f"{name} is {age}",
                f"{name} ({job}, {age})",
                f"{name} lives in {city}",
                f"{name}, {age}, works as a {job} in {city}",
                f"{name} from {city} is a {job} aged {age}",
            )[style]
        )
    return Value(rows, "; ".join(texts) if rng.random() < 0.4 else listed(s, texts))


def measured(low: int, high: int, units: str, as_text: float) -> Callable[[Scene], Value]:
    """A whole number with a unit; with chance ``as_text`` a schema wants both, as a string."""

    def draw(s: Scene) -> Value:
        number = s.rng.randint(low, high)
        text = f"{number}{s.rng.choice(units.split('|'))}"
        return Value(number, text, text, as_text)

    return draw


def weight(s: Scene) -> Value:
    number = s.rng.choice((s.rng.randint(1, 90), round(s.rng.uniform(0.1, 30), 1)))
    text = f"{number}{s.rng.choice((' kg', 'kg', ' g', ' lbs'))}"
    return Value(number, text, text, 0.4)


def rating(s: Scene) -> Value:
    number = s.rng.choice((s.rng.randint(1, 5), round(s.rng.uniform(1, 5), 1)))
    ways = (f"{number} out of 5", f"{number}/5", f"{number} stars", f"{number} of 5 stars")
    return Value(number, s.rng.choice(ways))


def plain_int(low: int, high: int) -> Callable[[Scene], Value]:
    def draw(s: Scene) -> Value:
        number = s.rng.randint(low, high)
        return Value(number, str(number), str(number), 0.03)

    return draw


def from_pool(pool: Pool, made_up: float = 0.4) -> Callable[[Scene], Value]:
    def draw(s: Scene) -> Value:
        if s.rng.random() >= made_up:
            return copied(s.pick(pool))
        return copied(made_up_name(s.rng) if s.rng.random() < 0.5 else invented(s))

    return draw


def letters(s: Scene, size: int) -> str:
    return "".join(s.rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(size))


def job_role(s: Scene) -> str:
    roll = s.rng.random()
    if roll < 0.65:
        return s.pick(pools.JOB_ROLES)
    return f"{word(s.rng)} {s.pick(pools.JOB_ROLES).split(' ')[-1]}" if roll < 0.8 else invented(s)


def job_title(s: Scene) -> Value:
    role = job_role(s)
    text = f"{s.pick(pools.JOB_LEVELS)} {role}" if s.rng.random() < 0.35 else role
    return copied(text.title() if s.rng.random() < 0.2 else text)


def venue_name(s: Scene) -> str:
    sort = s.pick(pools.VENUE_TYPES) if s.rng.random() < 0.65 else made_up_name(s.rng)
    return f"{made_up_name(s.rng)} {sort}" if s.rng.random() < 0.8 else f"The {made_up_name(s.rng)}"


def event_name(s: Scene) -> str:
    rng = s.rng
    sort = s.pick(pools.EVENT_TYPES) if rng.random() < 0.65 else word(rng)
    if rng.random() < 0.6:
        return f"{made_up_name(rng)} {sort}".title()
    return f"{s.pick(pools.TOPICS) if rng.random() < 0.6 else invented(s)} {sort}"


def course_name(s: Scene) -> str:
    rng = s.rng
    subject = s.pick(pools.COURSE_SUBJECTS) if rng.random() < 0.6 else made_up_name(rng)
    lead = rng.choice(("Introduction to ", "Advanced ", "", "Applied "))
    return lead + subject + rng.choice(("", " I", " II", " 101"))


VALUES: dict[str, Callable[[Scene], Value]] = {
    "person": lambda s: copied(person_name(s)),
    "company": lambda s: copied(company_name(s)),
    "organisation": organisation,
    "email": email,
    "phone": phone,
    "street": lambda s: copied(street_name(s)),
    "city": lambda s: copied(city_name(s)),
    "postcode": lambda s: copied(postcode_text(s)),
    "country": from_pool(pools.COUNTRIES, 0.2),
    "address": address,
    "date": day,
    "time": clock,
    "amount": money,
    "big_amount": lambda s: money(s, 5, 7.5),
    "quantity": count,
    "small_count": lambda s: count(s, 8),
    "integer": plain_int(1, 5000),
    "age": plain_int(16, 95),
    "year": plain_int(1960, 2026),
    "rating": rating,
    "identifier": identifier,
    "url": url,
    "job_title": job_title,
    "product": lambda s: copied(product_name(s)),
    "brand": from_pool(pools.COMPANY_WORDS, 0.6),
    "color": from_pool(pools.COLORS),
    "material": from_pool(pools.MATERIALS),
    "weight": weight,
    "minutes": measured(5, 240, " minutes| min| mins", 0.25),
    "months": measured(3, 60, " months| month", 0.25),
    "percent": measured(1, 90, "%| percent", 0.15),
    "area": measured(18, 400, " square meters| m²| sqm| square feet", 0.2),
    "distance": measured(500, 250000, " km| miles", 0.2),
    "title": title,
    "department": from_pool(pools.DEPARTMENTS),
    "language": from_pool(pools.LANGUAGES),
    "airline": from_pool(pools.AIRLINES),
    "airport": lambda s: copied(letters(s, 3)),
    "flight_number": lambda s: copied(
        letters(s, 2) + s.rng.choice(("", "", " ")) + digits(s.rng, s.rng.randint(2, 4))
    ),
    "seat": lambda s: copied(f"{s.rng.randint(1, 48)}{s.rng.choice('ABCDEFHJK')}"),
    "gate": lambda s: copied(f"{s.rng.choice('ABCDEFG')}{s.rng.randint(1, 60)}"),
    "car_make": from_pool(pools.CAR_MAKES, 0.2),
    "car_model": from_pool(pools.CAR_MODELS, 0.4),
    "venue": lambda s: copied(venue_name(s)),
    "place_name": lambda s: copied(
        s.rng.choice(
            (
                venue_name(s),
                f"The {s.pick(pools.ADJECTIVES).title()} {made_up_name(s.rng)}",
                f"{made_up_name(s.rng)}'s",
                made_up_name(s.rng),
            )
        )
    ),
    "event_name": lambda s: copied(event_name(s)),
    "course_name": lambda s: copied(course_name(s)),
    "dish": from_pool(pools.DISHES),
    "dishes": word_list(pools.DISHES),
    "tags": word_list(pools.TAGS),
    "skills": word_list(pools.SKILLS),
    "amenities": word_list(pools.AMENITIES),
    "ingredients": word_list(pools.INGREDIENTS),
    "languages": word_list(pools.LANGUAGES),
    "colors": word_list(pools.COLORS),
    "people": people,
    "items": items,
    "roster": roster,
    "month": lambda s: copied(s.rng.choice(MONTHS)),
}
