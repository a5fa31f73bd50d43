"""How a schema is read and enforced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from structgen.errors import StructgenError
from structgen.schema.document import Resources


@dataclass(frozen=True, slots=True)
class SchemaOptions:
    """Options of :meth:`structgen.Compiler.compile_json_schema`.

    Attributes:
        property_order: "schema" (declared properties in the order of the schema) or "any".
        unsupported: "error", or "relax": what cannot be enforced is left out and listed in
            ``warnings``.
        additional_properties: what an object schema that declares properties and does not mention
            ``additionalProperties`` (or ``unevaluatedProperties``) allows; False is the strict
            reading of OpenAI-style tools.
        formats: patterns (ECMA-262, the whole string) for names of ``format``; they replace
            built-in ones of the same name.
        resources: other documents that ``$ref`` may name, by URI without fragment, or a function
            from such a URI to a schema (or None). The network is never asked.
    """

    property_order: str = "schema"
    unsupported: str = "error"
    additional_properties: bool = True
    formats: Mapping[str, str] = field(default_factory=dict)
    resources: Resources | None = None

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("property_order", self.property_order, ("schema", "any")),
            ("unsupported", self.unsupported, ("error", "relax")),
        ):
            if value not in choices:
                raise StructgenError(
                    f"{name} must be {' or '.join(map(repr, choices))}, not {value!r}"
                )

        formats = self.formats
        texts = isinstance(formats, Mapping) and all(
            isinstance(name, str) and isinstance(pattern, str) for name, pattern in formats.items()
        )
        if not texts:
            raise StructgenError("formats maps names to patterns, both strings")
        if not (self.resources is None or callable(self.resources)) and not isinstance(
            self.resources, Mapping
        ):
            raise StructgenError("resources maps URIs to schemas, or is a function from one to it")

    @property
    def relaxed(self) -> bool:
        return self.unsupported == "relax"

    def to_json(self) -> dict[str, object]:
        return {
            "property_order": self.property_order,
            "unsupported": self.unsupported,
            "additional_properties": self.additional_properties,
            "formats": dict(self.formats),
            **({} if self.resources is None else {"resources": self._resources_json()}),
        }

    def _resources_json(self) -> object:
        if callable(self.resources):
            raise TypeError("resources given as a function cannot be written down")
        return dict(self.resources or {})
