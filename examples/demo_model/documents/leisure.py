"""Kinds of documents about going out and what one thought of it."""

from __future__ import annotations

from .kind import choice, derived, flag, group, kind, text_field
from .opinions import opinions

OPINIONS = opinions()

EVENT = kind(
    "event",
    [
        text_field("name", "event_name", "name|event|event name|title|event title"),
        text_field("date", "date", "date|event date|start date|day|when|starts on"),
        text_field("end", "date", "end date|ends|until|ends on|last day"),
        text_field("time", "time", "time|start time|starts at|begins at|start|doors open"),
        text_field("venue", "venue", "venue|location|place|where|venue name"),
        text_field("city", "city", "city|town|host city"),
        text_field("organizer", "organisation", "organizer|host|organiser|organized by|hosted by"),
        text_field(
            "speakers", "people", "speakers|guests|performers|artists|attendees|participants"
        ),
        text_field("price", "amount", "price|ticket price|admission|cost|fee|entry fee"),
        derived("currency", "currency", "price", "currency|currency code"),
        text_field("capacity", "integer", "capacity|max attendees|seats|max participants|places"),
        text_field("website", "url", "website|url|link|registration link|web"),
        text_field("tags", "tags", "tags|topics|themes|keywords"),
        choice(
            "format",
            "format|mode|event format|attendance",
            online="It takes place online.|Join online.",
            in_person="You have to be there in person.|In person only.",
            hybrid="You can join online or in person.|A hybrid event.",
        ),
        flag(
            "registration",
            "registration required|requires registration|registration",
            "Registration is required.|Please register beforehand.",
            "No registration needed.|You do not have to register.",
        ),
    ],
    """
    {name} on {date} at {venue}, {city}.
    {name} takes place on {date} in {city}.
    Join us for {name} on {date} at {time}.
    Join us for {name}.
    The event is called {name}.
    {organizer} invites you to {name}.
    It runs from {date} to {end}.
    It is on {date}.
    It starts at {time}.
    On {date}, {time}.
    It ends on {end}.
    Venue: {venue}.
    We meet at {venue} in {city}.
    It is held at {venue}.
    This year it is in {city}.
    Hosted by {organizer}.
    The organizer is {organizer}.
    Speakers: {speakers}.
    With {speakers}.
    Tickets cost {price}.
    Admission is {price}.
    There is room for {capacity} people.
    Up to {capacity} guests can attend.
    Register at {website}.
    More at {website}.
    Topics include {tags}.
    """,
    """
    Drinks will be served.
    Last year it rained all day.
    Children are welcome.
    Bring a friend.
    The bus stops at the door.
    """,
    (group("location|place|venue", venue="name|venue|venue name", city="city|town"),),
)

REVIEW = kind(
    "review",
    [
        text_field(
            "place",
            "place_name",
            "restaurant|name|place|business|restaurant name|venue|place name|subject",
        ),
        text_field(
            "reviewer", "person", "reviewer|author|reviewer name|customer|written by|user|guest"
        ),
        text_field("rating", "rating", "rating|stars|score|overall rating|grade|points"),
        text_field("date", "date", "date|visit date|visited on|review date|date of visit"),
        text_field("city", "city", "city|location|town"),
        text_field("dishes", "dishes", "dishes|ordered dishes|food|ordered|meals|items ordered"),
        text_field("price", "amount", "price|bill|cost|amount paid|total|price per person"),
        derived("currency", "currency", "price", "currency|currency code"),
        text_field("wait", "minutes", "wait minutes|waiting time|wait time|wait|minutes waited"),
        text_field("party", "small_count", "party size|guests|number of guests|people"),
        choice(
            "sentiment",
            "sentiment|overall sentiment|opinion|tone|verdict|label",
            positive=OPINIONS["positive"],
            negative=OPINIONS["negative"],
            neutral=OPINIONS["neutral"],
        ),
        choice(
            "cuisine",
            "cuisine|food type|cuisine type|kitchen",
            Italian="They serve Italian food.|Italian cuisine.",
            Indian="They serve Indian food.|Indian cuisine.",
            Japanese="They serve Japanese food.|Japanese cuisine.",
            Mexican="They serve Mexican food.|Mexican cuisine.",
            French="They serve French food.|French cuisine.",
            Thai="They serve Thai food.|Thai cuisine.",
        ),
        flag(
            "recommend",
            "recommended|would recommend|recommends|recommend|will return",
            "I would recommend it.|We will come back.|Go there!",
            "I would not recommend it.|We will not come back.|Avoid it.",
        ),
    ],
    """
    {reviewer} gave {place} {rating}.
    {place} in {city}: {rating}.
    We visited {place} on {date}.
    We ate at {place} in {city}.
    I went to {place} last night.
    Review of {place} by {reviewer}.
    Review by {reviewer}.
    {reviewer} wrote this review.
    I give it {rating}.
    Rating: {rating}.
    Our visit was on {date}.
    It is in {city}.
    We ordered {dishes}.
    I had {dishes}.
    We paid {price}.
    The bill was {price} for {party} people.
    We were {party} people.
    We waited {wait} for the food.
    The wait was {wait}.
    """,
    """
    The place was full.
    There was live music.
    Parking was easy.
    The menu changes every month.
    We sat by the window.
    """,
)

COMMENT = kind(
    "product review",
    [
        choice(
            "sentiment",
            "sentiment|overall sentiment|tone|label|opinion|mood|polarity",
            positive=OPINIONS["positive"],
            negative=OPINIONS["negative"],
            neutral=OPINIONS["neutral"],
        ),
        text_field("product", "product", "product|item|product name|name|subject|article"),
        text_field("author", "person", "author|reviewer|user|written by|customer|username"),
        text_field("rating", "rating", "rating|stars|score|points"),
        text_field("date", "date", "date|review date|posted on|written on"),
        text_field("pros", "tags", "pros|advantages|strengths|likes|positives"),
        text_field("cons", "tags", "cons|disadvantages|weaknesses|dislikes|negatives"),
        text_field("price", "amount", "price|paid|cost"),
        flag(
            "verified",
            "verified|verified purchase|is verified",
            "Verified purchase.|The purchase is verified.",
            "Not a verified purchase.|Unverified.",
        ),
        flag(
            "recommend",
            "recommended|would recommend|recommends|recommend",
            "I recommend it.|I would buy it again.|Buy it!",
            "I do not recommend it.|I would not buy it again.|Do not buy it.",
        ),
    ],
    """
    {author} bought the {product}.
    {author} gave the {product} {rating}.
    I bought this {product} for {price}.
    I got the {product} last week.
    My new {product} arrived.
    About the {product}.
    Written by {author} on {date}.
    Review by {author}.
    Posted on {date}.
    I give it {rating}.
    I paid {price}.
    Pros: {pros}.
    Cons: {cons}.
    What I like: {pros}.
    What I do not like: {cons}.
    """,
    """
    I use it every day.
    It came in a large box.
    My brother has the same one.
    The parcel took three days.
    """,
)

KINDS = (EVENT, REVIEW, COMMENT)
