"""Kinds of documents about people, where they live and jobs."""

from __future__ import annotations

from .kind import choice, derived, flag, group, kind, text_field

PERSON = kind(
    "person",
    [
        text_field("name", "person", "name|full name|person|person name|fullname"),
        derived("first", "first_name", "name", "first name|given name|firstname|forename"),
        derived("last", "last_name", "name", "last name|surname|family name|lastname"),
        text_field("age", "age", "age|years old|age years|age in years"),
        text_field("job", "job_title", "job|occupation|profession|job title|title|role|position"),
        text_field(
            "company",
            "company",
            "company|employer|organization|works at|workplace|company name|organisation",
        ),
        text_field(
            "city", "city", "city|location|residence|home town|lives in|hometown|town|city name"
        ),
        text_field(
            "country",
            "country",
            "country|nationality country|country of residence|nation|home country",
        ),
        text_field("email", "email", "email|email address|e mail|mail|contact email"),
        text_field("phone", "phone", "phone|phone number|telephone|mobile|cell|tel|mobile number"),
        text_field("born", "date", "birth date|date of birth|born|birthday|birthdate|dob"),
        text_field("skills", "skills", "skills|abilities|expertise|competences|strengths"),
        text_field("hobbies", "tags", "hobbies|interests|likes|pastimes"),
        text_field("languages", "languages", "languages|spoken languages|speaks"),
        text_field("children", "small_count", "children|number of children|kids|num children"),
        text_field("website", "url", "website|url|homepage|web|site"),
        choice(
            "marital",
            "marital status|relationship status|civil status",
            single="They are single.|Still single.",
            married="They are married.|Happily married.",
            divorced="They are divorced.|Now divorced.",
            widowed="They are widowed.|A widowed neighbour.",
        ),
        flag(
            "smoker",
            "smoker|smokes|is smoker",
            "They smoke.|A smoker.",
            "They do not smoke.|A non-smoker.",
        ),
    ],
    """
    {name} is {age} years old and lives in {city}.
    {name} is a {age}-year-old {job} from {city}.
    {name} is a {job} at {company}.
    {name}, {age}, {job}.
    {name} works for {company} as a {job}.
    {name} lives in {city}, {country}.
    My name is {name}.
    My name is {name} and I am {age}.
    I'm {name}, {age} years old, from {city}.
    This is {name}.
    Meet {name}.
    I work as a {job}.
    I live in {city}.
    Age {age}.
    At {age} years old, life is good.
    Working as a {job} at {company}.
    Employed at {company}.
    Based in {city}.
    From {country}.
    Lives in {country}.
    Reach them at {email} or {phone}.
    Email {email}.
    You can write to {email}.
    The phone number is {phone}.
    Call {phone}.
    Born on {born}.
    The date of birth is {born}.
    Skills include {skills}.
    Good at {skills}.
    Knows {skills}.
    Enjoys {hobbies}.
    Hobbies are {hobbies}.
    Speaks {languages}.
    They have {children} children.
    See {website} for more.
    """,
    """
    They moved a few years ago.
    Friends describe them as kind and patient.
    Weekends are for family.
    Their neighbour {person} is a good friend.
    Coffee comes first.
    """,
    (
        group(
            "contact|contact info|contact details",
            email="email|email address|mail",
            phone="phone|phone number|telephone|mobile",
        ),
        group("address|location|home", city="city|town", country="country|nation"),
        group(
            "work|employment|job", job="title|job title|position|role", company="company|employer"
        ),
    ),
)

CONTACT = kind(
    "contact",
    [
        text_field(
            "name", "organisation", "name|contact|contact name|full name|recipient|addressee"
        ),
        text_field(
            "street", "street", "street|street address|address|address line|road|address line 1"
        ),
        text_field("city", "city", "city|town|city name|place|locality"),
        text_field(
            "postcode", "postcode", "postal code|postcode|zip|zip code|post code|postal|zipcode"
        ),
        text_field("country", "country", "country|nation|country name"),
        text_field("phone", "phone", "phone|phone number|telephone|tel|mobile"),
        text_field("email", "email", "email|email address|mail|e mail"),
        text_field("website", "url", "website|url|web|homepage|web page"),
        text_field("department", "department", "department|division|team|unit"),
        text_field(
            "account", "identifier", "account number|account|customer number|customer id|account id"
        ),
    ],
    """
    {name}, {street}, {postcode} {city}, {country}
    {name}, {street}, {city} {postcode}
    Send it to {name}, {street}, {city}.
    {street}, {postcode} {city}
    {street}, {city}, {country}
    Our new address is {street} in {city}.
    The contact is {name}.
    {name} has moved to {street}.
    The street is {street}.
    The office is in {city}.
    The postal code is {postcode}.
    ZIP {postcode}.
    It is in {country}.
    Tel. {phone}
    Phone {phone}, email {email}.
    Email: {email}
    The website is {website}.
    Visit {website}.
    {department} department.
    Please ask for the {department} team.
    The account number is {account}.
    """,
    """
    Please update your records.
    The door is on the left.
    Parking is behind the building.
    """,
    (
        group(
            "address|postal address|mailing address|location",
            street="street|street address|line 1|road",
            city="city|town",
            postcode="postal code|zip|postcode|zip code",
            country="country",
        ),
        group(
            "contact|contact details",
            phone="phone|telephone|phone number",
            email="email|email address",
            website="website|url",
        ),
    ),
)

JOB = kind(
    "job posting",
    [
        text_field("title", "job_title", "title|job title|position|role|job|vacancy|opening"),
        text_field(
            "company", "company", "company|employer|company name|organization|hiring company|firm"
        ),
        text_field("city", "city", "location|city|place|office|job location|based in"),
        text_field(
            "salary",
            "big_amount",
            "salary|annual salary|pay|compensation|yearly salary|salary amount|wage",
        ),
        derived("currency", "currency", "salary", "currency|salary currency|currency code"),
        text_field(
            "skills",
            "skills",
            "skills|required skills|requirements|qualifications|must have|key skills",
        ),
        text_field(
            "years",
            "small_count",
            "years of experience|experience|min experience|experience years|required experience",
        ),
        text_field(
            "deadline",
            "date",
            "deadline|apply by|application deadline|closing date|applications close",
        ),
        text_field("start", "date", "start date|starting|begin|starts on|start"),
        text_field("contact", "email", "contact|email|contact email|application email|apply to"),
        text_field("recruiter", "person", "recruiter|contact person|hiring manager|recruiter name"),
        text_field("department", "department", "department|team|division|unit"),
        text_field(
            "openings", "small_count", "openings|positions|number of openings|vacancies|headcount"
        ),
        text_field("reference", "identifier", "reference|job id|reference number|posting id|id"),
        choice(
            "type",
            "employment type|type|job type|contract type|contract",
            full_time="This is a full-time position.|Full time.|A full-time role.",
            part_time="This is a part-time position.|Part time.|Part-time work.",
            contract="This is a contract role.|A fixed-term contract.",
            internship="This is an internship.|A paid internship.",
        ),
        choice(
            "level",
            "level|seniority|experience level|seniority level",
            junior="Suitable for juniors.|A junior level job.",
            mid="A mid-level job.|For people with mid-level experience.",
            senior="For senior people.|A senior level job.",
        ),
        flag(
            "remote",
            "remote|is remote|remote work|remote possible|work from home",
            "The job is fully remote.|Remote work is possible.|You can work from home.",
            "On-site only.|Remote work is not possible.|You will work in the office.",
        ),
    ],
    """
    {company} is hiring a {title} in {city}.
    {company} is looking for a {title}.
    We are looking for a {title}.
    Job: {title} at {company}, {city}.
    {title} wanted.
    Join {company} in {city}.
    Join {company}.
    The office is in {city}.
    The salary is {salary} a year.
    We pay {salary}.
    Required skills: {skills}.
    You should know {skills}.
    At least {years} years of experience are required.
    {years} years of experience needed.
    Apply by {deadline}.
    The deadline for applications is {deadline}.
    The job starts on {start}.
    Start date: {start}.
    Send your CV to {contact}.
    Write to {recruiter} at {contact}.
    The hiring manager is {recruiter}.
    You will join the {department} team.
    There are {openings} openings.
    Reference {reference}.
    """,
    """
    We offer free fruit and good coffee.
    Our team comes from all over the world.
    A pension plan is included.
    We value diversity.
    The company was founded in {year}.
    """,
    (
        group(
            "contact|application", recruiter="name|person|recruiter", contact="email|email address"
        ),
    ),
)

KINDS = (PERSON, CONTACT, JOB)
