"""Kinds of documents about travelling, cooking and learning."""

from __future__ import annotations

from .kind import choice, derived, flag, group, kind, text_field

FLIGHT = kind(
    "flight",
    [
        text_field(
            "number", "flight_number", "flight number|flight|flight no|number|flight id|flight code"
        ),
        text_field("airline", "airline", "airline|carrier|operated by|airline name|operator"),
        text_field(
            "origin", "city", "origin|from|departure city|departs from|departure|from city|start"
        ),
        text_field("destination", "city", "destination|to|arrival city|arrives in|arrival|to city"),
        text_field(
            "origin_code", "airport", "origin airport|departure airport|from airport|origin code"
        ),
        text_field("date", "date", "date|departure date|flight date|day|travel date"),
        text_field("departs", "time", "departure time|departs|departs at|takes off at|leaves at"),
        text_field("arrives", "time", "arrival time|arrives|arrives at|lands at|landing time"),
        text_field(
            "passenger", "person", "passenger|passenger name|traveler|name|traveller|booked for"
        ),
        text_field("seat", "seat", "seat|seat number|seat no"),
        text_field("gate", "gate", "gate|departure gate|boarding gate"),
        text_field(
            "booking",
            "identifier",
            "booking reference|booking code|confirmation number|reservation|booking|pnr",
        ),
        text_field("price", "amount", "price|fare|ticket price|cost|amount"),
        derived("currency", "currency", "price", "currency|currency code"),
        text_field("bags", "small_count", "bags|checked bags|baggage|luggage|number of bags"),
        choice(
            "cabin",
            "cabin|class|cabin class|travel class|booking class",
            economy="You fly in economy.|An economy seat.",
            business="You fly in business.|A business class seat.",
            first="You fly in first class.|A first class seat.",
        ),
        choice(
            "status",
            "status|flight status|state",
            on_time="The flight is on time.|Everything is on time.",
            delayed="The flight is delayed.|There is a delay.",
            cancelled="The flight was cancelled.|It has been cancelled.",
        ),
        flag(
            "direct",
            "direct|nonstop|is direct|non stop|direct flight",
            "It is a direct flight.|A nonstop flight.",
            "There is one stop.|Not a direct flight.|You change planes once.",
        ),
    ],
    """
    Flight {number} from {origin} to {destination} on {date}.
    {airline} flight {number} leaves {origin} at {departs} and lands in {destination} at {arrives}.
    {airline} flight {number}.
    Flight {number}
    {passenger} flies from {origin} to {destination} on {date}.
    {passenger} flies from {origin} to {destination}.
    From {origin} to {destination}.
    Operated by {airline}.
    It departs from {origin}.
    Departure from {origin} at {departs}.
    The destination is {destination}.
    Arriving in {destination} at {arrives}.
    The departure airport is {origin_code}.
    The flight is on {date}.
    It takes off at {departs}.
    It lands at {arrives}.
    The passenger is {passenger}.
    Booked for {passenger}, seat {seat}.
    Your seat is {seat}.
    Boarding at gate {gate}.
    Gate {gate}, seat {seat}.
    Booking reference {booking}.
    The confirmation code is {booking}.
    The ticket cost {price}.
    The fare is {price}.
    {bags} bags are included.
    """,
    """
    Please be at the airport two hours before.
    Meals are served on board.
    Have your passport ready.
    Boarding ends {minutes} before take-off.
    """,
    (
        group(
            "departure|origin|from",
            origin="city|from",
            departs="time|departure time",
            origin_code="airport|code",
        ),
        group("arrival|destination|to", destination="city|to", arrives="time|arrival time"),
    ),
)

HOTEL = kind(
    "hotel booking",
    [
        text_field("hotel", "venue", "hotel|hotel name|property|name|accommodation"),
        text_field("guest", "person", "guest|guest name|name|booked by|customer|guest full name"),
        text_field("city", "city", "city|location|town|destination"),
        text_field("check_in", "date", "check in|check in date|arrival|arrival date|from|checkin"),
        text_field(
            "check_out", "date", "check out|check out date|departure|departure date|until|checkout"
        ),
        text_field("nights", "small_count", "nights|number of nights|length of stay|stay nights"),
        text_field("guests", "small_count", "guests|number of guests|people|adults|guest count"),
        text_field("price", "amount", "price|total|total price|cost|amount|total cost"),
        derived("currency", "currency", "price", "currency|currency code"),
        text_field(
            "confirmation",
            "identifier",
            "confirmation number|booking number|confirmation|reservation number|"
            "booking id|booking reference",
        ),
        text_field("amenities", "amenities", "amenities|facilities|extras|services"),
        text_field("phone", "phone", "phone|phone number|hotel phone|telephone"),
        choice(
            "room",
            "room type|room|type of room|room category",
            single="A single room.|It is a single room.",
            double="A double room.|It is a double room.",
            suite="A suite.|You get the suite.",
            family="A family room.|It is a family room.",
        ),
        flag(
            "breakfast",
            "breakfast included|breakfast|includes breakfast|with breakfast",
            "Breakfast is included.|With breakfast.",
            "Breakfast is not included.|Without breakfast.",
        ),
        flag(
            "refundable",
            "refundable|is refundable|free cancellation|cancellable",
            "Cancellation is free.|The booking is refundable.",
            "It is non-refundable.|It cannot be cancelled.",
        ),
    ],
    """
    {guest} booked {nights} nights at {hotel} in {city}.
    {guest} stays at {hotel} from {check_in} to {check_out}.
    Your stay at {hotel}, {city}.
    Welcome to {hotel}.
    The hotel is {hotel}.
    Reservation for {guest}.
    The guest is {guest}.
    It is in {city}.
    Check-in is on {check_in}.
    Check-in {check_in}, check-out {check_out}.
    Check-out is on {check_out}.
    For {guests} guests and {nights} nights.
    You stay {nights} nights.
    The room is for {guests} people.
    The price is {price}.
    Total {price}.
    Confirmation number {confirmation}.
    Your booking number is {confirmation}.
    The hotel has {amenities}.
    Amenities: {amenities}.
    Call the hotel at {phone}.
    """,
    """
    We look forward to your visit.
    Late arrival is possible.
    The old town is near.
    Towels are in the room.
    """,
    (
        group(
            "stay|dates|period",
            check_in="check in|from|start|arrival",
            check_out="check out|to|end|departure",
            nights="nights",
        ),
        group("guest|booked by", guest="name|full name", guests="count|number"),
    ),
)

RECIPE = kind(
    "recipe",
    [
        text_field("dish", "dish", "name|dish|title|recipe|recipe name|dish name"),
        text_field("author", "person", "author|chef|cook|by|created by"),
        text_field("servings", "small_count", "servings|serves|portions|yield|number of servings"),
        text_field(
            "prep",
            "minutes",
            "prep time|preparation time|prep minutes|prep time minutes|preparation",
        ),
        text_field(
            "cook", "minutes", "cook time|cooking time|cook minutes|cook time minutes|baking time"
        ),
        text_field(
            "ingredients", "ingredients", "ingredients|ingredient list|shopping list|you need"
        ),
        text_field("calories", "integer", "calories|kcal|calories per serving|energy"),
        text_field("tags", "tags", "tags|labels|keywords"),
        text_field("source", "url", "source|url|link|website"),
        choice(
            "difficulty",
            "difficulty|level|difficulty level|skill level",
            easy="It is easy.|Simple to make.|Anyone can do it.",
            medium="It takes some practice.|Medium difficulty.",
            hard="It is hard.|Only for experienced cooks.|Difficult to get right.",
        ),
        choice(
            "course",
            "course|meal|meal type|type",
            breakfast="Best for breakfast.|A fine breakfast.",
            lunch="Best for lunch.|A quick lunch.",
            dinner="Best for dinner.|A rich dinner.",
            dessert="Served as dessert.|A sweet dessert.",
        ),
        flag(
            "vegetarian",
            "vegetarian|is vegetarian|veggie|meat free",
            "It is vegetarian.|No meat in it.",
            "It is not vegetarian.|It contains meat.",
        ),
    ],
    """
    {dish} by {author}.
    {dish}, serves {servings}.
    How to make {dish}.
    Today we cook {dish}.
    A recipe by {author}.
    It serves {servings}.
    Enough for {servings} people.
    Preparation takes {prep}.
    Prep {prep}, cooking {cook}.
    Cook it for {cook}.
    You need {ingredients}.
    Ingredients: {ingredients}.
    It has {calories} calories.
    Filed under {tags}.
    Found at {source}.
    """,
    """
    Serve it warm.
    It tastes even better the next day.
    My grandmother taught me this.
    Use a large bowl.
    """,
    (group("time|times", prep="prep|preparation|prep minutes", cook="cook|cooking|cook minutes"),),
)

COURSE = kind(
    "course",
    [
        text_field("name", "course_name", "course|course name|title|name|class|subject"),
        text_field(
            "teacher", "person", "instructor|teacher|taught by|lecturer|professor|instructor name"
        ),
        text_field("code", "identifier", "course code|code|course id|id|course number"),
        text_field("start", "date", "start date|starts|begins|from|first day|start"),
        text_field("end", "date", "end date|ends|until|last day|end"),
        text_field("time", "time", "time|class time|start time|meets at"),
        text_field("room", "integer", "room|room number|classroom"),
        text_field(
            "students", "integer", "students|enrolled|number of students|enrollment|participants"
        ),
        text_field("credits", "small_count", "credits|credit points|ects|points"),
        text_field("fee", "amount", "fee|price|tuition|cost|course fee"),
        derived("currency", "currency", "fee", "currency|currency code"),
        text_field("language", "language", "language|taught in|language of instruction"),
        text_field("topics", "tags", "topics|content|covers|syllabus|subjects"),
        choice(
            "level",
            "level|difficulty|course level",
            beginner="For beginners.|A beginner course.",
            intermediate="An intermediate course.|For intermediate learners.",
            advanced="An advanced course.|For advanced learners.",
        ),
        choice(
            "day",
            "weekday|day|day of week|meets on",
            Monday="Every Monday.|On Mondays.",
            Tuesday="Every Tuesday.|On Tuesdays.",
            Wednesday="Every Wednesday.|On Wednesdays.",
            Thursday="Every Thursday.|On Thursdays.",
            Friday="Every Friday.|On Fridays.",
        ),
        flag(
            "online",
            "online|is online|remote|virtual",
            "It is taught online.|An online course.",
            "It is taught on campus.|Not online.",
        ),
        flag(
            "certificate",
            "certificate|certified|has certificate",
            "You get a certificate.|A certificate is included.",
            "There is no certificate.|Without a certificate.",
        ),
    ],
    """
    {name} with {teacher} starts on {start}.
    {name} ({code}), taught by {teacher}.
    {teacher} teaches {name}.
    The course is called {name}.
    Sign up for {name}.
    The instructor is {teacher}.
    Course code {code}.
    It runs from {start} to {end}.
    It starts on {start}.
    It ends on {end}.
    Classes begin at {time} in room {room}.
    Class is at {time}.
    In room {room}.
    {students} students have enrolled.
    It gives {credits} credits.
    The fee is {fee}.
    It costs {fee}.
    It is taught in {language}.
    Topics: {topics}.
    You will learn about {topics}.
    """,
    """
    Bring a notebook.
    Homework is given every week.
    The exam is written.
    Places are limited.
    """,
    (
        group(
            "schedule|dates|period",
            start="start|from|start date|begins",
            end="end|to|end date|until",
        ),
    ),
)

KINDS = (FLIGHT, HOTEL, RECIPE, COURSE)
