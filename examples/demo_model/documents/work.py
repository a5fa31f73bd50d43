"""Kinds of documents that people write to one another at work."""

from __future__ import annotations

from .kind import choice, derived, flag, group, kind, text_field

MESSAGE = kind(
    "message",
    [
        text_field("sender", "person", "sender|from|author|from name|sent by|sender name|writer"),
        text_field("recipient", "person", "recipient|to|receiver|addressee|recipient name|sent to"),
        text_field(
            "email", "email", "email|sender email|from email|reply to|email address|from address"
        ),
        text_field("subject", "title", "subject|title|topic|subject line|about|heading"),
        text_field("date", "date", "date|sent|sent on|date sent|sent date"),
        text_field("time", "time", "time|sent at|time sent|sent time"),
        text_field("meeting", "date", "meeting date|meeting|meeting day|appointment|proposed date"),
        text_field("attendees", "people", "attendees|participants|cc|invited|people|copied"),
        text_field("tags", "tags", "tags|labels|topics|keywords"),
        text_field(
            "attachments", "small_count", "attachments|attachment count|number of attachments|files"
        ),
        choice(
            "priority",
            "priority|importance|urgency|priority level",
            low="No hurry at all.|Low priority.|Whenever you have time.",
            normal="Normal priority.|Please answer this week.",
            high="High priority.|This is important.|Please answer today.",
            urgent="This is urgent!|Urgent.|I need this immediately.",
        ),
        choice(
            "intent",
            "intent|purpose|message type|type",
            question="I have a question.|Could you tell me more?",
            request="Could you please help?|I would like to request this.",
            complaint="I am very unhappy about this.|I want to complain.",
            thanks="Thank you so much for your help.|Many thanks for everything.",
        ),
        flag(
            "reply",
            "reply needed|needs reply|answer expected|response required",
            "Please reply.|I am waiting for your answer.",
            "No reply needed.|No need to answer.",
        ),
    ],
    """
    From: {sender} To: {recipient} Subject: {subject}
    From: {sender} <{email}>
    Hi {recipient}, this is {sender}.
    Dear {recipient}, I am writing about "{subject}".
    {sender} wrote to {recipient} on {date}.
    {sender} wrote to {recipient}.
    Subject: {subject}
    The subject is {subject}.
    To: {recipient}
    Dear {recipient},
    Best regards, {sender}
    Regards, {sender} ({email})
    Sent by {sender}.
    My address is {email}.
    Sent on {date} at {time}.
    Sent on {date}.
    It was sent at {time}.
    Let us meet on {meeting}.
    The meeting is on {meeting}.
    Cc: {attendees}
    Invited are {attendees}.
    {attendees} will join us.
    Labels: {tags}.
    There are {attachments} files attached.
    """,
    """
    I hope you are well.
    The weather is lovely today.
    See you soon.
    Sent from my phone.
    Please find the details below.
    """,
    (group("sender|from|author", sender="name|full name", email="email|email address|address"),),
)

TICKET = kind(
    "support ticket",
    [
        text_field(
            "number",
            "identifier",
            "ticket id|ticket number|id|ticket|case number|case id|number|reference",
        ),
        text_field(
            "customer",
            "person",
            "customer|customer name|name|reporter|user|reported by|client|requester",
        ),
        text_field("email", "email", "email|customer email|contact email|email address|user email"),
        text_field("subject", "title", "subject|title|summary|issue|problem|topic"),
        text_field("product", "product", "product|affected product|item|product name|device"),
        text_field(
            "opened", "date", "opened|created|date|created at|opened on|reported on|created on"
        ),
        text_field("agent", "person", "agent|assigned to|assignee|handled by|owner|support agent"),
        text_field("version", "integer", "version|software version|build|build number"),
        text_field("tags", "tags", "tags|labels|keywords"),
        text_field("affected", "integer", "affected users|users affected|affected|number of users"),
        choice(
            "priority",
            "priority|urgency|severity|priority level",
            low="Low priority.|This can wait.|There is no rush.|"
            "Just a small cosmetic thing.|A typo on one page.|No hurry.|Not important.",
            medium="Medium priority.|Moderately important.",
            high="High priority.|This is very important to us.|We cannot work like this.|"
            "Many customers complain.|It blocks our work.|Please look at it today.",
            urgent="This is urgent!|Please fix it immediately.|Everything is down.|"
            "Production is down.|The server is down and nobody can work.|Emergency!|"
            "We lose money every minute.|ASAP please.",
        ),
        choice(
            "status",
            "status|state|ticket status",
            open="The ticket is open.|Nobody has looked at it yet.",
            in_progress="We are working on it.|Work is in progress.",
            resolved="It has been resolved.|The problem was fixed.",
            closed="The ticket is closed.|It was closed.",
        ),
        choice(
            "category",
            "category|type|issue type|ticket type",
            billing="I was charged twice.|There is a mistake on my bill.|It is about billing.",
            technical="The app crashes all the time.|I get an error message.|"
            "It is a technical problem.",
            account="I cannot log in to my account.|It is about my account.|I forgot my password.",
            shipping="My parcel never arrived.|The delivery is late.|It is about shipping.",
        ),
        choice(
            "sentiment",
            "sentiment|mood|tone|customer sentiment",
            negative="I am really annoyed.|This is very disappointing.",
            neutral="Just letting you know.|For your information.",
            positive="Otherwise I love the service.|Thanks, your team is great.",
        ),
        flag(
            "escalated",
            "escalated|is escalated|escalation",
            "The case has been escalated.|It was escalated to the manager.",
            "It was not escalated.|No escalation so far.",
        ),
    ],
    """
    Ticket {number}: {subject}. Reported by {customer}.
    Ticket {number} was opened by {customer} on {opened}.
    Ticket #{number}
    Case {number}.
    {customer} writes: {subject}.
    {customer} ({email}) has a problem with the {product}.
    {customer} reports a problem.
    My {product} does not work.
    It concerns the {product}.
    Subject: {subject}.
    The issue: {subject}.
    Opened on {opened}.
    Created {opened}, assigned to {agent}.
    {agent} is taking care of it.
    Assigned to {agent}.
    Contact: {email}.
    The customer can be reached at {email}.
    Running version {version}.
    It affects {affected} users.
    Labels: {tags}.
    """,
    """
    I restarted everything.
    It worked last week.
    A similar case was {identifier}.
    Screenshots are attached.
    Please let me know when it is done.
    """,
    (
        group(
            "customer|requester|user|reporter",
            customer="name|full name",
            email="email|email address",
        ),
    ),
)

TEAM = kind(
    "team",
    [
        text_field("people", "roster", "people|members|persons|team members|employees|team"),
        text_field("team", "brand", "team name|team|group|name|group name"),
        text_field("department", "department", "department|division|unit"),
        text_field("leader", "person", "leader|manager|lead|team lead|head|boss"),
        text_field("founded", "year", "founded|since|year|year founded"),
        text_field("budget", "big_amount", "budget|annual budget|funds"),
        derived("currency", "currency", "budget", "currency|currency code"),
    ],
    """
    {people}.
    Our people: {people}.
    Members: {people}.
    In the team, {people}.
    Team {team}: {people}.
    The team is called {team}.
    We are the {team} team.
    They belong to the {department} department.
    It is part of {department}.
    {leader} leads the group.
    The manager is {leader}.
    It was founded in {founded}.
    The budget is {budget}.
    """,
    """
    They meet every Monday.
    Everybody gets along well.
    The office has a new coffee machine.
    """,
)

APPOINTMENT = kind(
    "appointment",
    [
        text_field("patient", "person", "patient|name|patient name|client|person|full name"),
        text_field("doctor", "person", "doctor|physician|doctor name|with|specialist|practitioner"),
        text_field("date", "date", "date|appointment date|day|scheduled date|when|visit date"),
        text_field("time", "time", "time|appointment time|start time|at|hour|scheduled time"),
        text_field("clinic", "venue", "clinic|location|place|practice|hospital|where"),
        text_field(
            "duration", "minutes", "duration|duration minutes|length|minutes|length minutes"
        ),
        text_field("phone", "phone", "phone|phone number|telephone|callback number"),
        text_field("room", "integer", "room|room number"),
        text_field("department", "department", "department|specialty|unit|ward"),
        text_field(
            "insurance",
            "identifier",
            "insurance number|insurance id|insurance|policy number|member id",
        ),
        text_field("fee", "amount", "fee|cost|price|amount"),
        choice(
            "type",
            "type|visit type|appointment type|reason",
            checkup="It is a routine checkup.|Just a checkup.",
            followup="It is a followup visit.|To follow up on the last visit.",
            vaccination="It is for a vaccination.|A vaccination is planned.",
            surgery="Minor surgery is planned.|It is for a surgery.",
        ),
        flag(
            "confirmed",
            "confirmed|is confirmed|confirmation",
            "The appointment is confirmed.|It has been confirmed.",
            "It is not confirmed yet.|Still to be confirmed.",
        ),
        flag(
            "first_visit",
            "first visit|new patient|is new patient",
            "It is the first visit.|A new patient.",
            "Not a new patient.|They have been here before.",
        ),
    ],
    """
    {patient} has an appointment with Dr. {doctor} on {date} at {time}.
    Appointment for {patient} on {date}.
    {patient} sees Dr. {doctor}.
    The patient is {patient}.
    Booked for {patient}, {date}, {time}.
    With Dr. {doctor}.
    The doctor is {doctor}.
    On {date} at {time}.
    The date is {date}.
    It starts at {time}.
    At {time} in room {room}.
    At {clinic}.
    It takes place at {clinic}.
    It takes about {duration}.
    Please come to room {room}.
    Call {phone} to change it.
    The phone number is {phone}.
    In the {department} department.
    The insurance number is {insurance}.
    The fee is {fee}.
    """,
    """
    Please arrive ten minutes early.
    Bring your documents.
    Do not eat before the visit.
    The waiting room is on the ground floor.
    """,
)

KINDS = (MESSAGE, TICKET, TEAM, APPOINTMENT)
