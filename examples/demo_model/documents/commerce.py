"""Kinds of documents about buying and selling."""

from __future__ import annotations

from .kind import choice, derived, flag, group, kind, text_field

INVOICE = kind(
    "invoice",
    [
        text_field(
            "number",
            "identifier",
            "invoice number|number|invoice id|invoice no|id|reference|invoice|ref|bill number",
        ),
        text_field(
            "vendor",
            "organisation",
            "vendor|supplier|seller|from|company|issuer|vendor name|supplier name|billed by|biller",
        ),
        text_field(
            "customer",
            "organisation",
            "customer|client|buyer|bill to|customer name|recipient|client name|billed to",
        ),
        text_field(
            "email", "email", "email|customer email|contact email|billing email|email address"
        ),
        text_field("issued", "date", "date|invoice date|issued|issue date|issued on|date issued"),
        text_field(
            "due", "date", "due date|due|payment due|due on|pay by|payment deadline|deadline"
        ),
        text_field(
            "total",
            "amount",
            "total|total amount|amount|amount due|grand total|invoice total|sum|"
            "total due|price|amount total",
        ),
        derived("currency", "currency", "total", "currency|currency code"),
        text_field("tax", "percent", "tax|tax rate|vat|vat rate|vat percent|tax percent"),
        text_field("items", "items", "items|line items|lines|products|positions|entries"),
        text_field("po", "identifier", "purchase order|po number|po|order number|order reference"),
        choice(
            "status",
            "status|payment status|state|invoice status",
            paid="It has been paid in full.|Payment was received last week.|"
            "The amount has already been paid.|Already paid.",
            unpaid="It is still unpaid.|No payment has been received yet.|Not paid yet.|"
            "Payment is outstanding.",
            overdue="It is overdue.|Payment is overdue.|The payment is late.|"
            "This invoice is past due.",
        ),
    ],
    """
    Invoice {number} from {vendor}, due {due}.
    Invoice {number} from {vendor}, total {total}, due {due}.
    Invoice {number}: {vendor} bills {customer} {total}.
    {vendor} sent invoice {number} to {customer} on {issued}.
    Invoice no. {number}, dated {issued}.
    Invoice #{number}
    This is invoice {number}.
    {vendor} issued this invoice on {issued}.
    The invoice was issued by {vendor}.
    Billed to {customer}.
    The customer is {customer} ({email}).
    Questions go to {email}.
    The invoice date is {issued}.
    Issued on {issued}, payable by {due}.
    Payment is due on {due}.
    Please pay {total} by {due}.
    Please pay by {due}.
    The total comes to {total}.
    Amount due: {total}.
    {customer} owes {vendor} {total}.
    {customer} owes {total}.
    Prices include {tax} VAT.
    A tax rate of {tax} applies.
    It covers {items}.
    Items: {items}.
    We delivered {items}.
    Your purchase order {po} is referenced.
    It refers to PO {po}.
    """,
    """
    Thank you for your business.
    Please quote the number with your payment.
    The previous bill, {identifier}, was settled in {month}.
    Bank transfer is preferred.
    Late payments may incur a fee.
    Our office is closed on public holidays.
    Page 1 of {small_count}.
    """,
    (
        group(
            "customer|client|buyer|bill to|recipient",
            customer="name|full name|customer name",
            email="email|email address",
        ),
    ),
)

ORDER = kind(
    "order",
    [
        text_field(
            "number", "identifier", "order number|order id|id|number|order no|order|reference"
        ),
        text_field(
            "customer", "person", "customer|customer name|buyer|name|client|ordered by|purchaser"
        ),
        text_field("email", "email", "email|customer email|email address|contact email"),
        text_field(
            "date", "date", "date|order date|ordered on|placed on|purchase date|order placed"
        ),
        text_field("items", "items", "items|line items|products|lines|order items|articles|cart"),
        text_field(
            "total", "amount", "total|total price|amount|order total|grand total|total amount|price"
        ),
        derived("currency", "currency", "total", "currency|currency code"),
        text_field(
            "shipping_cost",
            "amount",
            "shipping|shipping cost|shipping fee|delivery fee|delivery cost|postage",
        ),
        text_field(
            "address",
            "address",
            "address|shipping address|delivery address|ship to|deliver to|destination",
        ),
        text_field(
            "delivery",
            "date",
            "delivery date|expected delivery|arrival|estimated delivery|delivered on|delivery",
        ),
        text_field(
            "tracking",
            "identifier",
            "tracking number|tracking|tracking code|tracking id|parcel number",
        ),
        choice(
            "status",
            "status|order status|state|fulfilment status",
            pending="The order is pending.|It has not been processed yet.|Still pending.",
            shipped="The parcel has been shipped.|It shipped this morning.|"
            "The goods are on their way.",
            delivered="Everything has been delivered.|The parcel was delivered.|It arrived safely.",
            cancelled="The order was cancelled.|It has been cancelled.|The customer cancelled it.",
        ),
        flag(
            "gift",
            "gift|is gift|gift wrap|gift wrapped",
            "It is a gift.|Please gift wrap it.|Gift wrapping was requested.",
            "It is not a gift.|No gift wrapping needed.|No gift wrap.",
        ),
        choice(
            "payment",
            "payment method|payment|paid with|paid by",
            card="Paid by credit card.|The customer paid by card.",
            paypal="Paid via PayPal.|PayPal was used to pay.",
            cash="To be paid in cash.|Paid in cash.",
            bank_transfer="Paid by bank transfer.|Payment by bank transfer.",
        ),
    ],
    """
    Order {number} by {customer}: {items}.
    Order {number} was placed by {customer} on {date}.
    Order number {number}.
    {customer} ordered {items}.
    {customer} bought {items} on {date}.
    I would like to order {items}.
    Please send me {items}.
    The customer is {customer}.
    My name is {customer}.
    {customer} ({email}) placed the order.
    A confirmation was sent to {email}.
    It was placed on {date}.
    Ordered items: {items}.
    The total is {total}.
    In total {total}, plus {shipping_cost} shipping.
    Shipping costs {shipping_cost}.
    The order total is {total}.
    Ship to {address}.
    Deliver it to {address} by {delivery}.
    The delivery address is {address}.
    Delivery is expected on {delivery}.
    Track it with {tracking}.
    The tracking number is {tracking}.
    """,
    """
    Thank you for shopping with us.
    You can return goods within {small_count} days.
    The last order was {identifier}.
    Our support team is happy to help.
    Please ring twice.
    """,
    (
        group(
            "customer|buyer|client",
            customer="name|full name|customer name",
            email="email|email address",
        ),
        group(
            "shipping|delivery",
            address="address|destination|to",
            delivery="date|expected|delivery date",
            shipping_cost="cost|fee|price",
        ),
    ),
)

PRODUCT = kind(
    "product",
    [
        text_field("name", "product", "name|product|product name|title|item|item name|article"),
        text_field("brand", "brand", "brand|manufacturer|maker|brand name|made by|producer"),
        text_field(
            "price", "amount", "price|cost|unit price|retail price|price amount|list price|amount"
        ),
        derived("currency", "currency", "price", "currency|currency code|price currency"),
        text_field(
            "sku",
            "identifier",
            "sku|item number|product code|article number|product id|id|code|model number",
        ),
        text_field("colors", "colors", "colors|available colors|colours|color options"),
        text_field("material", "material", "material|made of|main material"),
        text_field("weight", "weight", "weight|item weight|product weight"),
        text_field(
            "stock",
            "integer",
            "stock|quantity|units in stock|inventory|stock count|available units|"
            "quantity available",
        ),
        text_field("rating", "rating", "rating|average rating|stars|score|customer rating"),
        text_field(
            "reviews", "integer", "reviews|review count|number of reviews|num reviews|ratings count"
        ),
        text_field(
            "warranty",
            "months",
            "warranty months|warranty|warranty period|guarantee|guarantee months",
        ),
        text_field("tags", "tags", "tags|keywords|labels"),
        text_field(
            "discount", "percent", "discount|discount percent|sale|reduction|discount percentage"
        ),
        choice(
            "category",
            "category|product category|type|department",
            electronics="It belongs in electronics.|Find it in the electronics section.|"
            "An electronics product.",
            furniture="It is a piece of furniture.|Found in the furniture section.",
            clothing="It is listed under clothing.|An item of clothing.",
            kitchen="Made for the kitchen.|A kitchen product.",
            toys="It is in the toys section.|A toy for children.",
            garden="Made for the garden.|A garden product.",
            sports="From the sports range.|For sports lovers.",
        ),
        flag(
            "in_stock",
            "in stock|available|is available|availability|is in stock",
            "It is in stock.|Available now.|In stock and ready to ship.",
            "It is out of stock.|Sold out.|Currently unavailable.|Not available.",
        ),
    ],
    """
    The {name} by {brand} costs {price}.
    {brand} {name} for {price}.
    {name} ({sku}), {price}.
    {brand} presents the {name}.
    Meet the {name}.
    The product is called {name}.
    It is made by {brand}.
    Manufacturer: {brand}.
    It sells for {price}.
    The price is {price}.
    Get it for {price}, now {discount} off.
    Save {discount} this week.
    Item number {sku}.
    The SKU is {sku}.
    It comes in {colors}.
    Available in {colors}.
    It is made of {material}.
    Made of {material}, it weighs {weight}.
    It weighs {weight}.
    We have {stock} units in stock.
    {stock} pieces are left in the warehouse.
    Customers rate it {rating}.
    Rated {rating} by {reviews} customers.
    There are {reviews} reviews.
    It comes with a warranty of {warranty}.
    Tags: {tags}.
    Filed under {tags}.
    """,
    """
    Free returns on everything.
    Batteries are not included.
    Assembly takes only a few minutes.
    People who bought this also liked the {product}.
    Our shops open every day.
    """,
)

KINDS = (INVOICE, ORDER, PRODUCT)
