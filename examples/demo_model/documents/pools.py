"""Word pools, and how they are split so that held-out documents use words never trained on.

Most names are built from syllables: a model of a few million parameters that has seen every name
would learn to recall names, and the demo needs one that copies what stands in the document.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "heldout"]


def is_heldout(word: str) -> bool:
    """One word in eight is kept from training; the choice depends on nothing but the word."""
    return zlib.crc32(word.encode()) % 8 == 0


@dataclass(frozen=True)
class Pool:
    """Words of one sort; ``pick`` draws from the part that belongs to the split."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Pool:
        """``text`` lists the words, separated by ``|`` (line breaks around words do not count)."""
        words = dict.fromkeys(w.strip() for w in text.replace("\n", " ").split("|") if w.strip())
        train = tuple(w for w in words if not is_heldout(w))
        return cls(train, tuple(w for w in words if is_heldout(w)) or train[-1:])

    def pick(self, rng: random.Random, split: Split) -> str:
        words = self.train if split == "train" else self.heldout
        return words[int(rng.random() * len(words))]


FIRST_NAMES = Pool.of(
    """Anna|John|Maria|James|Sofia|David|Emma|Michael|Olivia|Daniel|Laura|Robert|Julia|Thomas|Sarah
    |William|Nina|Peter|Clara|Paul|Alice|Mark|Helen|George|Lucy|Henry|Grace|Samuel|Eva|Oscar|Ruth
    |Simon|Irene|Victor|Amelia|Felix|Nora|Hugo|Ella|Martin|Chloe|Adam|Zoe|Leo|Marta|Ivan|Lena|Tim
    |Carlos|Ines|Pedro|Rosa|Diego|Luis|José|Elena|Marco|Giulia|Luca|Paolo|Chiara|Francesca|Pierre
    |Camille|Antoine|Élodie|Juliette|Jürgen|Björn|Ingrid|Lars|Astrid|Sven|Freya|Søren|Mikkel|Aino
    |Eero|Katarina|Tomasz|Agnieszka|Piotr|Zofia|Jan|Petra|Milan|Jana|Dmitri|Olga|Natalia|Yuri|Boris
    |Aisha|Omar|Fatima|Hassan|Layla|Yusuf|Amina|Khalid|Noor|Tariq|Priya|Arjun|Ananya|Rahul|Deepa
    |Vikram|Sunita|Raj|Meera|Kiran|Wei|Li|Mei|Jun|Yan|Xiu|Hao|Ling|Hiroshi|Yuki|Kenji|Sakura|Akira
    |Haruto|Aiko|Min-jun|Seo-yeon|Ji-woo|Hyun|Thanh|Linh|Minh|Huong|Kwame|Ama|Kofi|Zuri|Chidi|Ngozi
    |Amara|Tendai|Thabo|Lindiwe|Abebe|Makena|Jack|Harry|Charlie|Jacob|Ethan|Mason|Logan|Lucas|Noah
    |Liam|Aiden|Isabella|Mia|Charlotte|Ava|Harper|Evelyn|Abigail|Emily|Madison|Scarlett|Victoria
    |Bob|Kate|Steve|Linda|Susan|Karen|Nancy|Betty|Sandra|Donna|Carol|Sharon|Kevin|Brian|Edward
    |Ronald|Anthony|Jason|Jeffrey|Ryan|Gary|Nicholas|Eric|Stephen|Jonathan|Larry|Scott|Frank|Brandon
    |Gregory|Benjamin|Patrick|Jeremy|Walter|Kyle|Bruce|Ralph|Roy|Eugene|Wayne|Alan|Juan|Philip
    |Diana"""
)
LAST_NAMES = Pool.of(
    """Smith|Johnson|Brown|Taylor|Wilson|Davies|Evans|Walker|Wright|Green|Baker|Clark|Turner|Hill
    |Cooper|Ward|Morris|Moore|Lee|King|Harris|Martin|Jackson|Thompson|White|Hughes|Edwards|Hall
    |Wood|Lewis|Scott|Young|Allen|Carter|Mitchell|Roberts|Phillips|Campbell|Parker|Collins|Murphy
    |Kelly|O'Brien|O'Connor|Ryan|Byrne|Walsh|McCarthy|Doyle|Gallagher|MacDonald|Stewart|Fraser
    |Müller|Schmidt|Schneider|Fischer|Weber|Meyer|Wagner|Becker|Hoffmann|Koch|Richter|Klein|Wolf
    |Schröder|Neumann|Schwarz|Zimmermann|Braun|Krüger|Hartmann|Lange|Dupont|Durand|Leroy|Moreau
    |Simon|Laurent|Lefebvre|Michel|Bertrand|Roux|Fournier|Girard|Bonnet|Rossi|Russo|Ferrari
    |Esposito|Bianchi|Romano|Colombo|Ricci|Marino|Greco|Bruno|Gallo|Conti|García|Martínez|López
    |Sánchez|Pérez|Gómez|Fernández|Díaz|Moreno|Álvarez|Romero|Torres|Silva|Santos|Oliveira|Pereira
    |Costa|Ferreira|Rodrigues|Almeida|Nielsen|Jensen|Hansen|Andersen|Larsen|Olsen|Johansson|Lindberg
    |Nilsson|Virtanen|Korhonen|Kowalski|Nowak|Wójcik|Novák|Svoboda|Horvat|Popescu|Ivanov|Petrov
    |Sokolova|Khan|Ahmed|Ali|Hussain|Rahman|Malik|Patel|Sharma|Singh|Kumar|Gupta|Mehta|Reddy|Iyer
    |Das|Chen|Wang|Zhang|Liu|Huang|Zhao|Wu|Zhou|Xu|Tanaka|Suzuki|Sato|Watanabe|Ito|Yamamoto|Kim
    |Park|Choi|Jung|Nguyen|Tran|Pham|Okafor|Mensah|Adeyemi|Diallo|Mwangi|Otieno|Ndlovu|Dlamini
    |Tesfaye|Cohen|Levi|Katz|Haddad|Nasser|Yilmaz|Demir|Kaya|van Dijk|de Vries|Jansen|Bakker|Visser
    |Adams|Bell|Foster|Gray|Hayes|Hunt|Jordan|Long|Marshall|Palmer|Reed|Shaw|Spencer|Stone|Webb"""
)
CITIES = Pool.of(
    """London|Paris|Berlin|Madrid|Rome|Vienna|Lisbon|Dublin|Oslo|Stockholm|Copenhagen|Helsinki|Warsaw
    |Prague|Budapest|Athens|Zurich|Geneva|Brussels|Amsterdam|Rotterdam|Hamburg|Munich|Cologne
    |Frankfurt|Leipzig|Dresden|Lyon|Marseille|Toulouse|Nice|Bordeaux|Milan|Turin|Naples|Florence
    |Venice|Bologna|Barcelona|Valencia|Seville|Porto|Manchester|Leeds|Bristol|Glasgow|Edinburgh
    |Cardiff|Belfast|Cork|Galway|Boston|Chicago|Seattle|Portland|Denver|Austin|Dallas|Houston
    |Atlanta|Miami|Phoenix|San Francisco|San Diego|Los Angeles|New York|Las Vegas|New Orleans
    |Salt Lake City|Kansas City|Minneapolis|Detroit|Cleveland|Pittsburgh|Philadelphia|Baltimore
    |Nashville|Toronto|Montreal|Vancouver|Calgary|Ottawa|Mexico City|Bogotá|Lima|Quito|Santiago
    |Buenos Aires|Montevideo|São Paulo|Rio de Janeiro|Tokyo|Osaka|Kyoto|Seoul|Busan|Beijing|Shanghai
    |Hong Kong|Taipei|Singapore|Bangkok|Hanoi|Jakarta|Manila|Kuala Lumpur|Mumbai|Delhi|Bangalore
    |Chennai|Kolkata|Karachi|Lahore|Dhaka|Dubai|Abu Dhabi|Doha|Riyadh|Amman|Beirut|Tel Aviv|Istanbul
    |Ankara|Cairo|Casablanca|Tunis|Lagos|Accra|Nairobi|Addis Ababa|Kampala|Cape Town|Johannesburg
    |Sydney|Melbourne|Brisbane|Perth|Adelaide|Auckland|Wellington|Reykjavik|Tallinn|Riga|Vilnius
    |Krakow|Gdansk|Brno|Bratislava|Ljubljana|Zagreb|Split|Belgrade|Sofia|Bucharest|Graz|Salzburg
    |Basel|Bern|Ghent|Antwerp|Utrecht|Eindhoven|Aarhus|Bergen|Gothenburg|Malmö|Tampere|Turku"""
)
COUNTRIES = Pool.of(
    """Germany|France|Spain|Italy|Portugal|Ireland|Norway|Sweden|Denmark|Finland|Poland|Austria
    |Switzerland|Belgium|Netherlands|Greece|Hungary|Romania|Bulgaria|Croatia|Slovenia|Slovakia
    |Czech Republic|Estonia|Latvia|Lithuania|Iceland|United Kingdom|United States|USA|UK|Canada
    |Mexico|Brazil|Argentina|Chile|Peru|Colombia|Uruguay|Ecuador|Japan|South Korea|China|Taiwan
    |Singapore|Thailand|Vietnam|Indonesia|Malaysia|Philippines|India|Pakistan|Bangladesh|Turkey
    |Egypt|Morocco|Tunisia|Nigeria|Ghana|Kenya|Ethiopia|Uganda|South Africa|Australia|New Zealand
    |Israel|Jordan|Qatar|Kuwait|Malta|Cyprus|Luxembourg|Serbia|Ukraine|Georgia|Armenia"""
)
STREET_NAMES = Pool.of(
    """Oak|Maple|Cedar|Pine|Elm|Birch|Willow|Ash|Chestnut|Walnut|Cherry|Church|Station|Mill|Park
    |Garden|River|Lake|Hill|Forest|Meadow|Spring|Sunset|Market|Bridge|King|Queen|Prince|Victoria
    |Albert|Washington|Lincoln|Jefferson|Franklin|Highland|Valley|Harbour|Castle|Abbey|Orchard
    |School|College|Main|High|North|South|East|West|Green|Silver|Golden|Rose|Lily|Linden|Juniper
    |Magnolia|Hawthorn|Canal|Dock|Quarry|Windmill|Summit|Ridge|Prospect|Liberty|Union|Commerce"""
)
STREET_SUFFIXES = Pool.of(
    """Street|Road|Avenue|Lane|Drive|Boulevard|Court|Place|Way|Terrace|Close|Square|St|Ave|Rd|Blvd
    |Crescent|Row|Parkway|Alley"""
)
COMPANY_WORDS = Pool.of(
    """Global|United|Pacific|Atlantic|Northern|Southern|Eastern|Western|Central|First|Prime|Blue|Red
    |Green|Silver|Golden|Bright|Clear|Rapid|Smart|Digital|Modern|Urban|Solar|Lunar|Stellar|Alpine
    |Nordic|Delta|Omega|Alpha|Sigma|Vertex|Apex|Summit|Pioneer|Horizon|Beacon|Anchor|Harbor|Falcon
    |Eagle|Lion|Tiger|Phoenix|Orchid|Cedar|Maple|Granite|Iron|Copper|Crystal|Quantum|Fusion|Matrix
    |Vector|Orbit|Nova|Echo|Pulse|Cloud|River|Ocean|Forest|Meadow|Acme|Initech|Globex|Contoso|Stark
    |Wayne|Umbra|Zenith|Atlas|Titan|Vega|Lumen|Terra|Aqua|Ember|Frost|Cobalt|Indigo|Sable|Willow"""
)
COMPANY_FIELDS = Pool.of(
    """Logistics|Foods|Textiles|Systems|Software|Solutions|Consulting|Energy|Motors|Furniture|Paper
    |Printing|Media|Design|Studios|Labs|Research|Robotics|Electronics|Instruments|Tools|Supplies
    |Trading|Partners|Holdings|Industries|Works|Bakery|Brewing|Coffee|Outdoors|Travel|Hotels
    |Airlines|Shipping|Freight|Health|Pharma|Dental|Optics|Analytics|Security|Networks|Telecom
    |Insurance|Capital|Finance|Bank|Realty|Homes|Builders|Construction|Steel|Glass|Ceramics
    |Plastics|Chemicals|Farms|Gardens|Toys|Games|Books|Publishing|Fashion|Sports|Cycles|Auto"""
)
COMPANY_SUFFIXES = Pool.of(
    "Ltd|Inc|Inc.|LLC|GmbH|AG|Corp|Corp.|Co.|S.A.|Group|B.V.|Oy|AB|Pty Ltd|SARL|plc"
)
ADJECTIVES = Pool.of(
    """compact|wireless|portable|foldable|ergonomic|adjustable|rechargeable|waterproof|stainless
    |wooden|leather|cotton|ceramic|digital|electric|manual|classic|modern|vintage|deluxe|premium
    |basic|heavy-duty|lightweight|slim|large|small|mini|double|single|round|square|smart|solar
    |insulated|handmade|recycled|organic|silent|magnetic|universal|professional|travel|outdoor
    |indoor|kids|ultra|thermal|padded|striped|matte|glossy|soft|hard|deep|flat|curved|high-speed"""
)
PRODUCT_NOUNS = Pool.of(
    """desk|lamp|chair|keyboard|mouse|monitor|headphones|speaker|backpack|bottle|mug|kettle|toaster
    |blender|notebook|pen|stapler|printer|scanner|router|cable|charger|battery|phone case|tablet
    |laptop stand|webcam|microphone|tripod|camera|drone|bicycle|helmet|tent|sleeping bag|jacket
    |shirt|scarf|gloves|boots|sandals|umbrella|watch|wallet|belt|suitcase|pillow|blanket|mattress
    |curtain|rug|shelf|cabinet|drawer|table|sofa|stool|mirror|clock|vase|candle|frame|bowl|plate
    |fork set|knife|pan|pot|cutting board|grill|oven|fridge|freezer|fan|heater|vacuum cleaner|iron
    |drill|hammer|screwdriver|wrench|saw|ladder|paint|brush|hose|lawn mower|wheelbarrow|seeds
    |fertilizer|paper|envelope|folder|binder|marker|whiteboard|projector|screen|adapter|USB stick
    |hard drive|SSD|graphics card|power supply|toolbox|flashlight|lantern|thermos|yoga mat|dumbbell
    |football|tennis racket|board game|puzzle|doll|toy car|book|poster|guitar|violin|flute
    |drum kit"""
)
JOB_ROLES = Pool.of(
    """software engineer|data scientist|data analyst|product manager|project manager|designer|nurse
    |accountant|teacher|lawyer|architect|electrician|plumber|carpenter|chef|baker|waiter|driver
    |mechanic|pilot|pharmacist|dentist|veterinarian|librarian|journalist|editor|translator
    |photographer|marketing manager|sales representative|account executive|recruiter|office manager
    |receptionist|warehouse worker|forklift operator|security guard|gardener|biologist|chemist
    |physicist|civil engineer|mechanical engineer|network administrator|database administrator
    |backend developer|frontend developer|DevOps engineer|UX researcher|copywriter|consultant
    |financial analyst|auditor|logistics coordinator|customer support agent|operations manager
    |research assistant|lab technician|social worker|physiotherapist|paramedic|firefighter
    |surveyor"""
)
JOB_LEVELS = Pool.of(
    "senior|junior|lead|principal|assistant|chief|staff|associate|head|trainee|deputy"
)
SKILLS = Pool.of(
    """Python|Java|Rust|Go|C++|JavaScript|TypeScript|SQL|Excel|Docker|Kubernetes|Linux|AWS|Git|React
    |Django|Terraform|statistics|machine learning|data analysis|project management|negotiation
    |public speaking|copywriting|photography|accounting|bookkeeping|budgeting|first aid|cooking
    |baking|welding|carpentry|plumbing|driving|teaching|translation|French|German|Spanish|Italian
    |Japanese|Mandarin|Arabic|Portuguese|leadership|communication|teamwork|customer service|sales
    |marketing|SEO|graphic design|Photoshop|AutoCAD|SAP|Salesforce|Figma|testing|networking|security
    |research|writing|editing|planning|logistics|scheduling|payroll|compliance|auditing|chemistry
    |biology|physics|mathematics|patient care|nursing|gardening|sewing|singing|piano|chess
    |swimming"""
)
TAGS = Pool.of(
    """travel|food|music|science|history|sports|health|fitness|finance|business|technology|design
    |art|culture|education|family|kids|pets|nature|garden|home|kitchen|office|outdoor|summer|winter
    |spring|autumn|sale|new|popular|limited|gift|holiday|budget|luxury|eco|vegan|organic|handmade
    |vintage|modern|classic|urgent|billing|login|bug|feature|refund|shipping|account|payment|mobile
    |web|security|performance|hardware|network|printer|email|training|remote|meeting|workshop
    |conference|keynote|networking|free|online|community|charity|startup|career|photography|cycling
    |hiking|running|yoga|reading|cinema|theatre|gaming|robotics|climate|energy|space|ocean
    |wildlife"""
)
AMENITIES = Pool.of(
    """balcony|garden|garage|parking|elevator|swimming pool|fireplace|air conditioning|dishwasher
    |washing machine|terrace|storage room|gym|sauna|sea view|furnished kitchen|solar panels
    |underfloor heating|security system|playground|bike storage|roof deck|walk-in closet|basement
    |free wifi|breakfast|airport shuttle|spa|restaurant|bar|room service|laundry|pet area|concierge
    |mini bar|safe|tennis court|private beach|conference room|fitness center|hot tub
    |barbecue area"""
)
DISHES = Pool.of(
    """tomato soup|lentil stew|mushroom risotto|chicken curry|beef goulash|fish tacos|apple pie
    |carrot cake|banana bread|Caesar salad|Greek salad|pad thai|sushi rolls|ramen|dumplings
    |spaghetti carbonara|lasagna|margherita pizza|cheese fondue|vegetable lasagna|pumpkin soup
    |chocolate mousse|lemon tart|blueberry muffins|pancakes|waffles|omelette|potato gratin
    |roast duck|grilled salmon|seafood paella|falafel wrap|hummus plate|beef burger|veggie burger
    |onion rings|tiramisu|panna cotta|crème brûlée|butter chicken|palak paneer|spring rolls|pho"""
)
INGREDIENTS = Pool.of(
    """flour|sugar|salt|pepper|butter|milk|cream|eggs|olive oil|garlic|onion|tomatoes|potatoes
    |carrots|celery|basil|oregano|thyme|parsley|cinnamon|vanilla|honey|yeast|rice|pasta|lentils
    |beans|chickpeas|mushrooms|spinach|broccoli|cheese|parmesan|mozzarella|yogurt|chicken|beef|pork
    |salmon|shrimp|tofu|soy sauce|ginger|lime|lemon|apples|bananas|walnuts|almonds|chocolate
    |cocoa"""
)
COLORS = Pool.of(
    """red|blue|green|yellow|black|white|grey|silver|orange|purple|brown|pink|beige|navy|turquoise
    |gold|ivory|maroon|teal|olive|charcoal|burgundy|cream|bronze|lavender|mint|dark green
    |sky blue"""
)
MATERIALS = Pool.of(
    """steel|oak|pine|bamboo|leather|cotton|wool|linen|plastic|glass|aluminium|ceramic|carbon fiber
    |polyester|copper|brass|silk|rubber|titanium|marble|nylon|walnut|cork|velvet"""
)
DEPARTMENTS = Pool.of(
    """Sales|Marketing|Finance|Engineering|Human Resources|Legal|Operations|Research|Support|Design
    |Procurement|Logistics|IT|Accounting|Security|Quality|Production|Training|Radiology|Cardiology
    |Pediatrics|Dermatology|Orthopedics|Neurology|Customer Success|Communications|Facilities"""
)
LANGUAGES = Pool.of(
    """English|French|German|Spanish|Italian|Portuguese|Dutch|Swedish|Norwegian|Danish|Finnish|Polish
    |Czech|Hungarian|Greek|Turkish|Russian|Ukrainian|Arabic|Hebrew|Hindi|Bengali|Mandarin|Japanese
    |Korean|Vietnamese|Thai|Swahili"""
)
CAR_MAKES = Pool.of(
    """Toyota|Honda|Ford|Volkswagen|BMW|Audi|Mercedes|Volvo|Renault|Peugeot|Fiat|Skoda|Seat|Kia
    |Hyundai|Nissan|Mazda|Subaru|Tesla|Jeep|Opel|Citroën|Suzuki|Lexus|Porsche|Mini|Dacia"""
)
CAR_MODELS = Pool.of(
    """Corolla|Civic|Focus|Golf|Passat|Octavia|Fabia|Clio|Panda|Leaf|Yaris|Polo|Model 3|A4|XC60
    |Ibiza
    |Sportage|Tucson|Outback|Wrangler|Swift|Duster|Cooper|Macan|Astra|Micra|Jazz|Fiesta|Zoe
    |Picasso"""
)
AIRLINES = Pool.of(
    """Lufthansa|Air France|KLM|British Airways|Iberia|SAS|Finnair|Swiss|Emirates|Qatar Airways
    |Delta|United|American Airlines|Air Canada|LATAM|Qantas|ANA|Korean Air|Singapore Airlines
    |easyJet
    |Ryanair|Norwegian|Turkish Airlines|Ethiopian|Kenya Airways|TAP|LOT|Vueling|Wizz Air|JetBlue"""
)
TOPICS = Pool.of(
    """budget|launch|roadmap|website|newsletter|contract|invoice|delivery|schedule|interview|report
    |survey|presentation|office move|holiday party|server upgrade|data migration|product demo
    |marketing campaign|travel plans|team lunch|annual review|quarterly results|hiring plan|safety
    |training|password reset|login problem|printer issue|network outage|broken link|missing parcel
    |double charge|refund request|account access|app crash|slow performance|email delivery|backup
    |climate|robotics|photography|poetry|jazz|chess|cooking|gardening|astronomy|architecture|film"""
)
EVENT_TYPES = Pool.of(
    """conference|workshop|concert|festival|meetup|exhibition|seminar|webinar|summit|fair|reunion
    |tournament|auction|lecture|retreat|hackathon|gala|open day|book club|marathon|parade
    |symposium"""
)
VENUE_TYPES = Pool.of(
    """Hall|Center|Theatre|Arena|Hotel|Museum|Library|Gallery|Stadium|Auditorium|Pavilion|Club|Park
    |Studio|Room|Campus|House|Café"""
)
COURSE_SUBJECTS = Pool.of(
    """Algebra|Biology|Chemistry|Physics|History|Philosophy|Economics|Statistics|Painting|Drawing
    |Pottery|Robotics|Programming|Data Science|Astronomy|Geology|Linguistics|Psychology|Sociology
    |Accounting|Marketing|Photography|Creative Writing|Music Theory|Web Design|Public Speaking"""
)

ONSETS = (
    "b br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p pl pr qu r s sh sl st str t th tr "
    "v w x z"
).split()
VOWELS = "a e i o u a e i o u ai au ea ee ia ie oo ou y é ö ü".split()
CODAS = "  n r l s t m x k ck nd nt rt st ll ss ng rn lm th".split(" ")


LEXICON: list[str] = []
"""Every word of the kinds' own sentences and of the training pools (filled by the package)."""


def blend(rng: random.Random) -> str:
    """A word of the lexicon, or pieces of several: each token is at times to be copied."""
    if rng.random() < 0.4:
        return rng.choice(LEXICON)
    parts = []
    for _ in range(rng.randint(1, 3)):
        source = rng.choice(LEXICON)
        cut = rng.randint(2, max(2, len(source)))
        parts.append(source[:cut] if rng.random() < 0.5 else source[-cut:])
    return "".join(parts)


def word(rng: random.Random, low: int = 1, high: int = 3) -> str:
    """A made-up word of ``low`` to ``high`` syllables; now and then one no language would have."""
    roll = rng.random()
    if roll < 0.03:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 8)))
    if roll < 0.035:
        start, size = rng.choice(
            ((0x430, 32), (0x3B1, 25), (0x4E00, 800), (0x3042, 80), (0x5D0, 27))
        )
        return "".join(chr(start + int(rng.random() * size)) for _ in range(rng.randint(2, 5)))
    if roll < 0.2:
        return blend(rng)
    parts = []
    for _ in range(rng.randint(low, high)):
        parts.append(ONSETS[int(rng.random() * len(ONSETS))])
        parts.append(VOWELS[int(rng.random() * len(VOWELS))])
    parts.append(CODAS[int(rng.random() * len(CODAS))])
    return "".join(parts)


def made_up_name(rng: random.Random, low: int = 1, high: int = 3) -> str:
    return word(rng, low, high).capitalize()
