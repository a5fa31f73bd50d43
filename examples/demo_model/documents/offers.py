"""Kinds of documents about expenses, cars and homes."""

from __future__ import annotations

from .kind import choice, derived, flag, group, kind, text_field

RECEIPT = kind(
    "expense",
    [
        text_field(
            "merchant",
            "organisation",
            "merchant|shop|store|vendor|merchant name|place|business|payee",
        ),
        text_field(
            "employee",
            "person",
            "employee|claimed by|submitted by|employee name|name|claimant|person",
        ),
        text_field("date", "date", "date|expense date|transaction date|purchase date|spent on"),
        text_field("amount", "amount", "amount|total|cost|sum|total amount|price|value"),
        derived("currency", "currency", "amount", "currency|currency code"),
        text_field("tip", "amount", "tip|gratuity|tip amount"),
        text_field(
            "project", "identifier", "project|project code|cost center|project id|project number"
        ),
        text_field("card", "integer", "card|card number|card last digits|card ending|last four"),
        choice(
            "category",
            "category|expense type|type|expense category",
            travel="It was for travel.|A travel expense.|Booked for a business trip.",
            meals="It was for meals.|Lunch with a client.|A team dinner.",
            office="For office supplies.|Things for the office.",
            software="A software subscription.|For software licences.",
            lodging="For the hotel room.|Two nights of lodging.",
        ),
        flag(
            "reimbursed",
            "reimbursed|is reimbursed|paid back|refunded",
            "It has been reimbursed.|The money was paid back.",
            "It has not been reimbursed yet.|Not yet paid back.|Reimbursement is still open.",
        ),
        flag(
            "receipt",
            "receipt|has receipt|receipt attached",
            "The receipt is attached.|See the attached receipt.",
            "There is no receipt.|The receipt was lost.|No receipt.",
        ),
    ],
    """
    {employee} spent {amount} at {merchant} on {date}.
    {employee} paid {merchant} {amount}.
    Expense report by {employee}.
    {amount} was spent at {merchant}.
    Receipt from {merchant}, {date}.
    Bought at {merchant}.
    The expense of {amount} was made on {date}.
    The date on the receipt is {date}.
    Submitted by {employee}.
    Total: {amount}.
    The amount was {amount} including a tip of {tip}.
    A tip of {tip} was added.
    Charge it to project {project}.
    It belongs to cost center {project}.
    Paid with the card ending in {card}.
    """,
    """
    Please approve it soon.
    The policy allows this.
    Last month's report was {identifier}.
    Keep the original for your records.
    """,
)

VEHICLE = kind(
    "vehicle",
    [
        text_field("make", "car_make", "make|brand|manufacturer|car make|maker"),
        text_field("model", "car_model", "model|car model|model name|vehicle model"),
        text_field(
            "year", "year", "year|model year|built|year built|production year|first registration"
        ),
        text_field("mileage", "distance", "mileage|odometer|distance|mileage km|miles|kilometers"),
        text_field("price", "big_amount", "price|asking price|cost|amount|sale price"),
        derived("currency", "currency", "price", "currency|currency code"),
        text_field("color", "color", "color|colour|paint|exterior color|body color"),
        text_field("seller", "organisation", "seller|dealer|sold by|owner|seller name|contact"),
        text_field("phone", "phone", "phone|phone number|telephone|seller phone|contact number"),
        text_field("city", "city", "city|location|town|place"),
        text_field("doors", "small_count", "doors|number of doors|door count"),
        text_field(
            "plate",
            "identifier",
            "plate|license plate|registration|registration number|licence plate",
        ),
        choice(
            "fuel",
            "fuel|fuel type|engine|engine type",
            petrol="It runs on petrol.|Petrol engine.",
            diesel="It has a diesel engine.|A diesel.",
            electric="It is fully electric.|An electric car.",
            hybrid="It is a hybrid.|Hybrid drive.",
        ),
        choice(
            "gearbox",
            "transmission|gearbox|gear type",
            manual="Manual gearbox.|It has a manual transmission.",
            automatic="Automatic gearbox.|It has an automatic transmission.",
        ),
        flag(
            "accident_free",
            "accident free|no accidents|is accident free",
            "It is accident free.|It never had an accident.",
            "It has had an accident.|It was repaired after an accident.|Not accident free.",
        ),
    ],
    """
    For sale: {make} {model}, {year}, {price}.
    {year} {make} {model} with {mileage}.
    {color} {make} {model} from {year}.
    Selling my {make} {model}.
    The car is a {make} {model}.
    A {model} made by {make}.
    It was built in {year}.
    First registered in {year}.
    It has {mileage} on the clock.
    The odometer shows {mileage}.
    The asking price is {price}.
    Yours for {price}.
    The paint is {color}.
    It has {doors} doors.
    Sold by {seller} in {city}.
    Contact {seller} at {phone}.
    Call {phone}.
    The seller is {seller}.
    The car can be seen in {city}.
    Licence plate {plate}.
    """,
    """
    New tyres and a full service history.
    Test drives are welcome.
    No smoking, no pets.
    Offers below the asking price will be ignored.
    """,
    (
        group(
            "seller|dealer|contact",
            seller="name|seller name",
            phone="phone|phone number|telephone",
            city="city|location",
        ),
    ),
)

ESTATE = kind(
    "property",
    [
        text_field("address", "address", "address|location|property address|full address"),
        text_field("price", "big_amount", "price|asking price|rent|cost|amount|list price"),
        derived("currency", "currency", "price", "currency|currency code"),
        text_field(
            "bedrooms", "small_count", "bedrooms|number of bedrooms|beds|bedroom count|num bedrooms"
        ),
        text_field(
            "bathrooms",
            "small_count",
            "bathrooms|number of bathrooms|baths|bathroom count|num bathrooms",
        ),
        text_field(
            "area", "area", "area|size|living area|floor area|square meters|area sqm|living space"
        ),
        text_field("year", "year", "year built|built|construction year|year|built in"),
        text_field("amenities", "amenities", "amenities|features|extras|facilities"),
        text_field("agent", "person", "agent|agent name|contact|realtor|broker|contact person"),
        text_field("phone", "phone", "phone|agent phone|phone number|contact phone|telephone"),
        text_field(
            "available", "date", "available from|available|move in date|availability|free from"
        ),
        text_field("floor", "small_count", "floor|storey|floor number|level"),
        choice(
            "type",
            "property type|type|kind|building type",
            apartment="It is an apartment.|A bright apartment.",
            house="It is a house.|A family house.",
            studio="It is a studio.|A small studio.",
            villa="It is a villa.|A villa with style.",
            office="It is an office.|Office space.",
        ),
        choice(
            "offer",
            "listing type|offer|offer type|for",
            sale="It is for sale.|Offered for sale.",
            rent="It is for rent.|To let.|Available to rent.",
        ),
        flag(
            "furnished",
            "furnished|is furnished|furniture included",
            "It is furnished.|Fully furnished.",
            "It is unfurnished.|Not furnished.|It comes without furniture.",
        ),
        flag(
            "pets",
            "pets allowed|pets|pet friendly|allows pets",
            "Pets are allowed.|Pets are welcome.",
            "No pets.|Pets are not allowed.",
        ),
    ],
    """
    {bedrooms} bedrooms, {bathrooms} bathrooms, {area}, {price}.
    The property at {address} is listed at {price}.
    Located at {address}.
    The address is {address}.
    The price is {price}.
    Asking {price}.
    It has {bedrooms} bedrooms and {bathrooms} bathrooms.
    There are {bedrooms} bedrooms.
    There are {bathrooms} bathrooms.
    {area} of living space.
    The living area is {area}.
    Built in {year}.
    The building dates from {year}.
    Features: {amenities}.
    It offers {amenities}.
    Contact {agent} at {phone}.
    Ask for {agent}.
    Your agent is {agent}.
    Call {phone} for a viewing.
    Available from {available}.
    You can move in on {available}.
    It is on floor {floor}.
    """,
    """
    Close to schools and shops.
    Viewings by appointment only.
    A quiet neighbourhood with friendly people.
    The station is a {minutes} walk away.
    """,
    (
        group(
            "agent|contact|realtor", agent="name|agent name", phone="phone|phone number|telephone"
        ),
        group("rooms", bedrooms="bedrooms|beds", bathrooms="bathrooms|baths"),
    ),
)

KINDS = (RECEIPT, VEHICLE, ESTATE)
