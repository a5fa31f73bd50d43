"""Read the keywords of subschemas into formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from structgen import budget
from structgen.errors import GrammarSyntaxError, LimitExceeded, SchemaError, UnsupportedSchemaError
from structgen.limits import Limits
from structgen.regular.charset import has_surrogate
from structgen.regular.ecma import check_pattern
from structgen.regular.formats import KNOWN_FORMATS
from structgen.schema.algebra import ANYTHING, FALSE, NOTHING, TRUE, Algebra, Formula
from structgen.schema.atoms import (
    ArrayShape,
    Contains,
    MultipleOf,
    NumberIn,
    NumberRange,
    ObjectShape,
    StringFormat,
    StringIn,
    StringLength,
    StringPattern,
    UniqueItems,
)
from structgen.schema.document import Document, escape, shown
from structgen.schema.options import SchemaOptions
from structgen.schema.plain import KNOWN, TYPES, Looks, Place
from structgen.schema.unevaluated import Evaluated, asked, evaluated_parts, unevaluated

# What a step of a node's plan combines: the formulas of subschemas of the same value.
Combine = Callable[[list[Formula]], Formula]
Step = tuple[Combine, list["Node"]]


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An atom that stands for a constraint which is not enforced."""

    message: str
    keyword: str
    pointer: str

    def error(self) -> UnsupportedSchemaError:
        return UnsupportedSchemaError(self.message, keyword=self.keyword, pointer=self.pointer)


@dataclass(slots=True, eq=False)
class Node:
    """A subschema at its place in the document; ``formula`` is there once it was asked for."""

    raw: Any
    pointer: str
    formula: Formula | None = None
    direct: list[Formula] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    is_read: bool = False
    dialect: int = 2020


class Reader:
    """Reads subschemas as they are reached. No method recurses on the depth of the schema."""

    def __init__(
        self,
        document: Document,
        algebra: Algebra,
        limits: Limits,
        options: SchemaOptions,
        left_out: Set[str] = frozenset(),
    ) -> None:
        """``left_out``: pointers of subschemas whose ``uniqueItems`` is not enforced."""
        self.document, self.algebra, self.left_out = document, algebra, left_out
        self.limits, self.options = limits, options
        self.warnings: list[str] = []
        self._n_read = 0
        self._places: dict[int, Formula] = {}
        self._nodes: dict[int, Node | None] = {}  # None: counted, not asked for yet
        self._alike: dict[object, Node] = {}
        self.looks = Looks(document, limits.literal_length)
        # Which of the root's definitions an array's or object's shape is of.
        self.definitions: Set[int] = frozenset()
        self.sources: dict[ObjectShape | ArrayShape, Any] = {}
        self.true = Node(True, "#", ANYTHING, is_read=True)
        self.false = Node(False, "#", NOTHING, is_read=True)
        self._keywords: dict[str, Callable[[Node, Any], None]] = {
            "type": self._type,
            "enum": self._enum,
            "const": lambda n, v: n.direct.append(self._one_of_values([v], n.pointer)),
            "multipleOf": self._multiple_of,
            "pattern": self._pattern,
            "format": self._format,
            "uniqueItems": self._unique_items,
            "$ref": self._ref,
            "$dynamicRef": self._dynamic_ref,
            "$recursiveRef": self._dynamic_ref,
            "unevaluatedProperties": lambda n, v: self._unevaluated(n, "unevaluatedProperties", v),
            "unevaluatedItems": lambda n, v: self._unevaluated(n, "unevaluatedItems", v),
            "allOf": lambda n, v: self._branches(n, "allOf", v, self.algebra.conjunction),
            "anyOf": lambda n, v: self._branches(n, "anyOf", v, self.algebra.disjunction),
            "oneOf": lambda n, v: self._branches(n, "oneOf", v, self.algebra.one_of),
            "not": lambda n, v: n.steps.append(
                (lambda fs: self.algebra.complement(fs[0]), [self._child(n, "not", v)])
            ),
            "if": self._if,
            "dependencies": lambda n, v: self._dependencies(n, "dependencies", v),
            "dependentRequired": lambda n, v: self._dependencies(n, "dependentRequired", v),
            "dependentSchemas": lambda n, v: self._dependencies(n, "dependentSchemas", v),
        }
        for name in ("extends", "disallow"):
            self._keywords[name] = self._unsupported(name)

    # -- places ---------------------------------------------------------------------------------

    def node(self, raw: Any, pointer: str) -> Node:
        """The node of a subschema; the same for the same object."""
        if raw is True:
            return self.true
        if raw is False:
            return self.false
        if not isinstance(raw, dict):
            raise SchemaError(
                f"a schema is an object or a boolean, not {shown(raw)}", pointer=pointer
            )
        found = self._nodes.get(id(raw))
        if found is None:
            if id(raw) not in self._nodes:
                self._admit(raw, pointer)
            key = self.looks.scalar_key(raw)
            found = self._alike.get(key)
            if found is None:
                found = Node(raw, pointer, dialect=self.document.dialect_at(raw))
                if key is not None:
                    self._alike[key] = found
            self._nodes[id(raw)] = found
        return found

    def look(self, raw: dict[str, Any], pointer: str) -> list[Place] | None:
        """The subschemas within one that can be read later; None where it must be read now."""
        found = self.looks.look(raw, pointer)
        for below, at in found or ():
            if id(below) not in self._nodes:
                self._admit(below, at)
        return found

    def _admit(self, raw: dict[str, Any], pointer: str) -> None:
        """Count one more subschema."""
        if len(self._nodes) >= self.limits.schema_nodes:
            raise LimitExceeded(limit="schema_nodes", value=self.limits.schema_nodes, where=pointer)
        self._nodes[id(raw)] = None

    def _child(self, parent: Node, keyword: str, raw: Any) -> Node:
        return self.node(raw, f"{parent.pointer}/{keyword}")

    def formula(self, node: Node) -> Formula:
        """What the subschema says, references and combinations resolved."""
        if node.formula is None and not self._read_alone(node):
            self._read_together(node)
        assert node.formula is not None
        return node.formula

    def _read_alone(self, node: Node) -> bool:
        """Read a subschema; its formula is there at once where it needs no other's."""
        if not node.is_read:
            self._n_read += 1
            if not self._n_read % 16:
                budget.check("the subschemas")
                budget.charge(16_000, "the subschemas")
            self._read(node)
            node.is_read = True
        if node.steps:
            return False
        node.formula = self.algebra.conjunction(node.direct)
        return True

    def _read_together(self, node: Node) -> None:
        """Compute the formula of a subschema that needs others' first."""
        stack, active = [node], {id(node)}
        # Of each node on the stack, those that it needs and that were not looked at yet.
        unseen = [(n for _, nodes in node.steps for n in nodes)]
        while stack:
            for needed in unseen[-1]:
                if needed.formula is not None or self._read_alone(needed):
                    continue
                if id(needed) in active:
                    raise SchemaError(
                        "the schema refers to itself for the same value, without end",
                        pointer=needed.pointer,
                    )
                active.add(id(needed))
                stack.append(needed)
                unseen.append(n for _, nodes in needed.steps for n in nodes)
                break
            else:
                unseen.pop()
                top = stack.pop()
                active.discard(id(top))
                parts = list(top.direct)
                for combine, nodes in top.steps:
                    parts.append(combine([n.formula for n in nodes if n.formula is not None]))
                top.formula = self.algebra.conjunction(parts)

    def place_formula(self, node: Node) -> Formula:
        """The formula of a place of values, as the options want it read."""
        if not self.options.relaxed and self.options.additional_properties:
            return self.formula(node)
        found = self._places.get(id(node))
        if found is None:
            found = self.formula(node)
            if not self.options.additional_properties:
                found = self.algebra.conjunction([found, self._closed(node)])
            if self.options.relaxed:
                number, string, array, object_ = (self._relax(i) for i in found[2:])
                found = (*found[:2], number, string, array, object_)
            self._places[id(node)] = found
        return found

    def _closed(self, node: Node) -> Formula:
        """No properties but those that the subschemas for a place's value declare.

        A conjunct beside the schema, so that what satisfies it satisfies the schema as it stands.
        Anything where they declare none, or say themselves what undeclared ones satisfy.
        """
        declared = Evaluated()
        for part in evaluated_parts(self, node, 5):
            declared.add(part.evaluated)
        if declared.everything or not (declared.names or declared.patterns):
            return ANYTHING
        shape = ObjectShape(
            dict.fromkeys(declared.names, self.true),
            additional=self.false,
            patterns=tuple((p, self.true) for p in declared.patterns),
        )
        return self._object_atom(shape)

    def _relax(self, i: int) -> int:
        """A type formula with what is not enforced counted as satisfied, and a warning for it."""

        def holds(atom: Any) -> bool:
            if isinstance(atom, Unsupported):
                self.warn(f"{atom.message} (at {atom.pointer})")
                return True
            return False

        return self.algebra.weaken(i, holds)

    def warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)

    # -- keywords -------------------------------------------------------------------------------

    def _read(self, node: Node) -> None:
        # What was read before an error, such as that the time is over, is read again.
        node.direct.clear()
        node.steps.clear()
        raw = node.raw
        if "$ref" in raw and node.dialect <= 7:
            self._ref(node, raw["$ref"])  # siblings of $ref count for nothing up to draft 7
            return
        seen: set[str] = set()
        for keyword, value in raw.items():
            if keyword not in KNOWN:
                continue
            if node.dialect < _SINCE.get(keyword, 0) or node.dialect > _UNTIL.get(keyword, 9999):
                continue  # unknown to the draft, so an annotation
            handler = self._keywords.get(keyword)
            if handler is not None:
                handler(node, value)
                continue
            group = _GROUPS[keyword]
            if group not in seen:
                seen.add(group)
                getattr(self, group)(node)

    def _bad(self, node: Node, keyword: str, expected: str) -> SchemaError:
        value = node.raw.get(keyword)
        return SchemaError(
            f"{keyword} must be {expected}, not {shown(value)}",
            pointer=f"{node.pointer}/{keyword}",
        )

    def _only(self, slot: int, formula: int) -> Formula:
        """A formula about one type; values of the others are not constrained."""
        parts = list(ANYTHING)
        parts[slot] = formula
        return tuple(parts)  # type: ignore[return-value]

    def _number_atom(self, atom: Any) -> Formula:
        return self._only(2, self.algebra.atom(atom))

    def _string_atom(self, atom: Any) -> Formula:
        return self._only(3, self.algebra.atom(atom))

    def _object_atom(self, shape: ObjectShape) -> Formula:
        return self._only(5, self.algebra.atom(shape))

    def _type(self, node: Node, value: Any) -> None:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or (not names and node.dialect > 4):
            raise self._bad(node, "type", "a type name or a list of them")
        for name in names:
            if name not in TYPES:
                raise self._bad(node, "type", f"one of {', '.join(TYPES)}")
        number = FALSE
        if "number" in names:
            number = TRUE
        elif "integer" in names:
            # 1.0 is an integer from draft 6 on (validation, section 6.1.1).
            integral = "literal" if node.dialect <= 4 else "value"
            number = self.algebra.atom(NumberRange(integral=integral))
        node.direct.append(
            (
                int("null" in names),
                3 if "boolean" in names else 0,
                number,
                int("string" in names),
                int("array" in names),
                int("object" in names),
            )
        )

    def _enum(self, node: Node, value: Any) -> None:
        if not isinstance(value, list):
            raise self._bad(node, "enum", "a list")
        node.direct.append(self._one_of_values(value, node.pointer + "/enum"))

    def _one_of_values(self, values: list[Any], pointer: str) -> Formula:
        null = boolean = 0
        numbers: dict[Decimal, None] = {}
        strings: dict[str, None] = {}
        arrays: list[int] = []
        objects: list[int] = []
        for i, value in enumerate(values):
            if value is None:
                null = 1
            elif isinstance(value, bool):
                boolean |= 2 if value else 1
            elif isinstance(value, str):
                strings[value] = None
            elif isinstance(value, dict):
                properties = {
                    k: self._constant(v, f"{pointer}/{i}/{escape(k)}") for k, v in value.items()
                }
                shape = ObjectShape(properties, tuple(properties), self.false)
                objects.append(self.algebra.atom(shape))
            elif isinstance(value, list | tuple):
                items = tuple(self._constant(v, f"{pointer}/{i}/{k}") for k, v in enumerate(value))
                arrays.append(
                    self.algebra.atom(ArrayShape(items, self.false, len(items), len(items)))
                )
            else:
                numbers[exact(value)] = None
        string = FALSE
        if sum(map(len, strings)) > self.limits.literal_length:
            raise LimitExceeded(
                limit="literal_length", value=self.limits.literal_length, where=pointer
            )
        if strings:
            good = tuple(s for s in strings if not has_surrogate(s))
            string = self.algebra.atom(StringIn(good)) if good else FALSE
        return (
            null,
            boolean,
            self.algebra.atom(NumberIn(tuple(numbers))) if numbers else FALSE,
            string,
            self.algebra.any_of(arrays),
            self.algebra.any_of(objects),
        )

    def value_formula(self, slot: int, value: Any) -> Formula:
        """The formula of one scalar of the type at ``slot``."""
        return self._one_of_values([value], "#")

    def _constant(self, value: Any, pointer: str) -> Node:
        node = self.node({"const": value}, pointer)
        node.dialect = 2020  # of our own making, whatever the document's draft
        return node

    def any_of_nodes(self, nodes: Sequence[Node]) -> Node:
        """A node that holds where one of these does."""
        node = Node({}, nodes[0].pointer, is_read=True)
        node.steps.append((self.algebra.disjunction, list(nodes)))
        return node

    def _multiple_of(self, node: Node, value: Any) -> None:
        if not _is_number(value) or value <= 0:
            raise self._bad(node, "multipleOf", "a number above 0")
        node.direct.append(self._number_atom(MultipleOf(exact(value))))

    def _pattern(self, node: Node, value: Any) -> None:
        if not isinstance(value, str):
            raise self._bad(node, "pattern", "a string")
        try:
            check_pattern(value)
        except UnsupportedSchemaError as error:
            message = str(error).removesuffix(" (at #)")
            atom = Unsupported(message, "pattern", f"{node.pointer}/pattern")
            node.direct.append(self._string_atom(atom))
            return
        except GrammarSyntaxError as error:
            raise SchemaError(f"pattern: {error}", pointer=f"{node.pointer}/pattern") from None
        node.direct.append(self._string_atom(StringPattern(value)))

    def _format(self, node: Node, value: Any) -> None:
        if not isinstance(value, str):
            raise self._bad(node, "format", "a string")
        # An unknown format is an annotation.
        if value in KNOWN_FORMATS or value in self.options.formats:
            node.direct.append(self._string_atom(StringFormat(value)))

    def _unique_items(self, node: Node, value: Any) -> None:
        if not isinstance(value, bool):
            raise self._bad(node, "uniqueItems", "a boolean")
        most = node.raw.get("maxItems")
        if value and not (_is_number(most) and most <= 1):
            atom: Any = UniqueItems(node.pointer)
            if node.pointer in self.left_out:
                atom = Unsupported("uniqueItems is not enforced", "uniqueItems", node.pointer)
            node.direct.append(self._only(4, self.algebra.atom(atom)))

    def _unsupported(self, keyword: str) -> Callable[[Node, Any], None]:
        def handle(node: Node, value: Any) -> None:
            atom = Unsupported(f"{keyword} is not enforced", keyword, node.pointer)
            node.direct.append((0, 0, *(self.algebra.atom(atom),) * 4))

        return handle

    def _ref(self, node: Node, value: Any) -> None:
        if not isinstance(value, str):
            raise self._bad(node, "$ref", "a string")
        target, pointer = self.document.resolve(value, node.raw, node.pointer)
        node.steps.append((self.algebra.conjunction, [self.node(target, pointer)]))

    def _dynamic_ref(self, node: Node, value: Any) -> None:
        if not isinstance(value, str):
            raise SchemaError("a reference must be a string", pointer=node.pointer)
        try:
            target, pointer = self.document.resolve_dynamic(value, node.raw, node.pointer)
        except UnsupportedSchemaError as error:
            message = str(error).removesuffix(f" (at {node.pointer})")
            unsupported = self.algebra.atom(Unsupported(message, error.keyword, node.pointer))
            node.direct.append((0, 0, *(unsupported,) * 4))
            return
        node.steps.append((self.algebra.conjunction, [self.node(target, pointer)]))

    def _unevaluated(self, node: Node, keyword: str, value: Any) -> None:
        if value is True or value == {}:
            return
        slot = 4 if keyword == "unevaluatedItems" else 5
        rest = self._child(node, keyword, value)
        parts = evaluated_parts(self, node, slot)

        def combine(formulas: list[Formula]) -> Formula:
            i = unevaluated(self, parts, rest, slot, formulas)
            if i is None:
                message = f"{keyword} that depends on many subschemas is not enforced"
                i = self.algebra.atom(Unsupported(message, keyword, node.pointer))
            return self._only(slot, i)

        node.steps.append((combine, asked(parts)))

    def _branches(self, node: Node, keyword: str, value: Any, combine: Combine) -> None:
        if not isinstance(value, list) or not value:
            raise self._bad(node, keyword, "a list of schemas that is not empty")
        at = f"{node.pointer}/{keyword}"
        node.steps.append((combine, [self.node(v, f"{at}/{i}") for i, v in enumerate(value)]))

    def _if(self, node: Node, value: Any) -> None:
        raw = node.raw
        if "then" not in raw and "else" not in raw:
            return
        parts = [self._child(node, "if", value)]
        parts += [self._child(node, k, raw.get(k, True)) for k in ("then", "else")]
        a = self.algebra

        def combine(formulas: list[Formula]) -> Formula:
            condition, then, otherwise = formulas
            return a.conjunction(
                [
                    a.disjunction([a.complement(condition), then]),
                    a.disjunction([condition, otherwise]),
                ]
            )

        node.steps.append((combine, parts))

    def _dependencies(self, node: Node, keyword: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise self._bad(node, keyword, "an object")
        for name, needs in value.items():
            absent = self._object_atom(ObjectShape({name: self.false}))
            if isinstance(needs, str):
                needs = [needs]  # draft 3
            if isinstance(needs, list):
                present = self._object_atom(ObjectShape({}, self._names(node, needs)))
                node.direct.append(self.algebra.disjunction([absent, present]))
                continue
            child = self.node(needs, f"{node.pointer}/{keyword}/{escape(name)}")
            node.steps.append((self._unless(absent), [child]))

    def _unless(self, absent: Formula) -> Combine:
        return lambda formulas: self.algebra.disjunction([absent, *formulas])

    # -- groups of keywords that are read together ---------------------------------------------

    def _numbers(self, node: Node) -> None:
        raw = node.raw
        low = low_exclusive = high = high_exclusive = None
        for keyword in ("minimum", "maximum"):
            if keyword in raw and not _is_number(raw[keyword]):
                raise self._bad(node, keyword, "a number")
        if "minimum" in raw:
            low = exact(raw["minimum"])
        if "maximum" in raw:
            high = exact(raw["maximum"])
        for keyword in ("exclusiveMinimum", "exclusiveMaximum"):
            value = raw.get(keyword)
            if value is None and keyword not in raw:
                continue
            # A boolean modifies minimum or maximum (draft 4); a number is a bound of its own.
            if isinstance(value, bool):
                if value and keyword == "exclusiveMinimum" and low is not None:
                    low, low_exclusive = None, low
                elif value and keyword == "exclusiveMaximum" and high is not None:
                    high, high_exclusive = None, high
            elif not _is_number(value):
                raise self._bad(node, keyword, "a number")
            elif keyword == "exclusiveMinimum":
                low_exclusive = exact(value)
            else:
                high_exclusive = exact(value)
        if low is not None or high is not None:
            node.direct.append(self._number_atom(NumberRange(low, high)))
        if low_exclusive is not None or high_exclusive is not None:
            bounds = NumberRange(low_exclusive, high_exclusive, True, True)
            node.direct.append(self._number_atom(bounds))

    def _lengths(self, node: Node) -> None:
        low, high = self._count(node, "minLength"), self._count(node, "maxLength")
        if low or high is not None:
            node.direct.append(self._string_atom(StringLength(low or 0, high)))

    def _count(self, node: Node, keyword: str) -> int | None:
        value = node.raw.get(keyword)
        if value is None and keyword not in node.raw:
            return None
        if not _is_number(value) or value < 0 or not _is_whole(value):
            raise self._bad(node, keyword, "a whole number, 0 or more")
        return int(min(value, 2**30))  # in this order: 1e999999999 has too many digits to convert

    def _object(self, node: Node) -> None:
        raw = node.raw
        properties = raw.get("properties", {})
        if not isinstance(properties, dict):
            raise self._bad(node, "properties", "an object")
        required = raw.get("required", [])
        at = f"{node.pointer}/properties"
        children = {
            name: self.node(value, f"{at}/{escape(name)}") for name, value in properties.items()
        }
        if isinstance(required, bool) and node.dialect <= 4:
            required = []  # draft 3 puts it on the property
        additional = None
        if "additionalProperties" in raw and raw["additionalProperties"] not in (True, {}):
            additional = self._child(node, "additionalProperties", raw["additionalProperties"])
        patterns = raw.get("patternProperties", {})
        if not isinstance(patterns, dict):
            raise self._bad(node, "patternProperties", "an object")
        at = f"{node.pointer}/patternProperties"
        by_pattern = tuple((p, self.node(v, f"{at}/{escape(p)}")) for p, v in patterns.items())
        condition = None
        if raw.get("propertyNames", True) not in (True, {}):
            condition = self._child(node, "propertyNames", raw["propertyNames"])
        shape = ObjectShape(
            children,
            self._names(node, required),
            additional,
            by_pattern,
            condition,
            self._count(node, "minProperties") or 0,
            self._count(node, "maxProperties"),
        )
        if shape.minimum and shape.maximum is None and shape.minimum <= len(shape.required):
            shape = replace(shape, minimum=0)  # the required ones are enough
        if id(raw) in self.definitions:
            self.sources[shape] = raw
        node.direct.append(self._object_atom(shape))

    def _names(self, node: Node, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise SchemaError(
                f"a list of property names is expected, not {shown(value)}", pointer=node.pointer
            )
        return tuple(dict.fromkeys(value))

    def _array(self, node: Node) -> None:
        raw = node.raw
        prefix = raw.get("prefixItems", [])
        items = raw.get("items", True)
        if isinstance(items, list) and "prefixItems" not in raw:
            # The array form of items, up to draft 2019-09.
            prefix, items = items, raw.get("additionalItems", True)
        if not isinstance(prefix, list):
            raise self._bad(node, "prefixItems", "a list of schemas")
        name = "prefixItems" if "prefixItems" in raw else "items"
        before = tuple(self.node(v, f"{node.pointer}/{name}/{i}") for i, v in enumerate(prefix))
        rest = None if items is True or items == {} else self._child(node, "items", items)
        low, high = self._count(node, "minItems"), self._count(node, "maxItems")
        if before or rest is not None or low or high is not None:
            shape = ArrayShape(before, rest, low or 0, high)
            if id(raw) in self.definitions:
                self.sources[shape] = raw
            node.direct.append(self._only(4, self.algebra.atom(shape)))

    def _contains(self, node: Node) -> None:
        raw = node.raw
        if "contains" not in raw:
            return
        low, high = self._count(node, "minContains"), self._count(node, "maxContains")
        least = 1 if low is None or node.dialect < 2019 else low
        most = high if node.dialect >= 2019 else None
        if least or most is not None:
            atom = Contains(self._child(node, "contains", raw["contains"]), least, most)
            node.direct.append(self._only(4, self.algebra.atom(atom)))


# The first draft that knows a keyword, and the last that does: those where it matters in practice.
_SINCE = {
    "const": 6,
    "contains": 6,
    "propertyNames": 6,
    "if": 7,
    "$recursiveRef": 2019,
    "$dynamicRef": 2020,
    "dependentRequired": 2019,
    "dependentSchemas": 2019,
    "unevaluatedProperties": 2019,
    "unevaluatedItems": 2019,
    "prefixItems": 2020,
}
_UNTIL = {"extends": 3, "disallow": 3, "$recursiveRef": 2019}

# Keywords that are read together, by the method that reads them.
_GROUPS = {
    "minimum": "_numbers",
    "maximum": "_numbers",
    "exclusiveMinimum": "_numbers",
    "exclusiveMaximum": "_numbers",
    "minLength": "_lengths",
    "maxLength": "_lengths",
    "properties": "_object",
    "required": "_object",
    "additionalProperties": "_object",
    "patternProperties": "_object",
    "propertyNames": "_object",
    "minProperties": "_object",
    "maxProperties": "_object",
    "contains": "_contains",
    "items": "_array",
    "prefixItems": "_array",
    "minItems": "_array",
    "maxItems": "_array",
}


def exact(value: Any) -> Decimal:
    """The decimal that a JSON number was written as (a float's shortest spelling)."""
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    return number or Decimal(0)  # 0e999999999 is written with as many zeros


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_whole(value: int | float | Decimal) -> bool:
    if isinstance(value, Decimal):
        return value == value.to_integral_value()
    return isinstance(value, int) or value.is_integer()
