"""Random JSON schemas, and values that satisfy them."""

from typing import Any

from hypothesis import strategies as st

from sculptor.mom.language.protocol import ARGUMENT_TOKENS

Draw = Any

keys = st.sampled_from([*list(ARGUMENT_TOKENS)[:6], "a", "ab", "größe", 'q"', "x\ny", "id"])
texts = st.text(st.characters(codec="utf-8"), max_size=6)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), texts)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def limits(draw: Draw, low: str, high: str, most: int) -> dict[str, int]:
    """Return some of two limits, in order."""
    a, b = sorted([draw(st.integers(0, most)), draw(st.integers(0, most))])
    return {low: a} | ({high: b} if draw(st.booleans()) else {})


@st.composite
def numbers(draw: Draw) -> dict[str, Any]:
    """Return the schema of a number within limits."""
    kind = draw(st.sampled_from(["integer", "number"]))
    bound = st.integers(-30, 30) if kind == "integer" else st.floats(-30, 30).map(_rounded)
    low, high = sorted([draw(bound), draw(bound)])
    schema: dict[str, Any] = {"type": kind}
    if draw(st.booleans()):
        schema["minimum"] = low
    if draw(st.booleans()):
        schema["maximum"] = high
    return schema


@st.composite
def objects(draw: Draw, inner: Any) -> dict[str, Any]:
    """Return the schema of an object."""
    properties = draw(st.dictionaries(keys, inner, max_size=4))
    free = draw(st.sampled_from([False, False, True, None]) | inner)
    required = [name for name in properties if draw(st.booleans())]
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    schema |= draw(counts(len(required), len(properties)))
    return schema if free is None else schema | {"additionalProperties": free}


@st.composite
def counts(draw: Draw, required: int, named: int) -> dict[str, int]:
    """Return limits of how many keys there are, which the named ones alone can meet, or none."""
    if draw(st.booleans()):
        return {}
    least = draw(st.integers(0, named))
    most = draw(st.integers(max(required, least), named + 1))
    return {"minProperties": least, "maxProperties": most}


@st.composite
def arrays(draw: Draw, inner: Any) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": draw(inner)} | draw(limits("minItems", "maxItems", 3))


plain = st.one_of(
    st.sampled_from([{"type": "string"}, {"type": "boolean"}, {"type": "null"}, {}, True]),
    limits("minLength", "maxLength", 4).map(lambda found: {"type": "string", **found}),
    numbers(),
    st.lists(values, min_size=1, max_size=4).map(lambda found: {"enum": found}),
    values.map(lambda found: {"const": found}),
    st.just({"type": ["string", "null"]}),
    st.just({"$ref": "#/$defs/tree"}),
)
inner_schemas = st.recursive(
    plain,
    lambda inner: st.one_of(
        objects(inner),
        arrays(inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found}),
    ),
    max_leaves=8,
)
TREE = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "maxLength": 3},
        "left": {"$ref": "#/$defs/tree"},
        "all": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
    },
    "required": ["query"],
    "additionalProperties": False,
}
schemas = objects(inner_schemas).map(lambda found: found | {"$defs": {"tree": TREE}})


@st.composite
def instances(draw: Draw, schema: Any, depth: int = 0) -> Any:
    """Return a value that satisfies a schema made here."""
    if schema is True or not schema.keys() - {"$defs"}:
        return draw(values)
    if "$ref" in schema:
        schema = TREE
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return draw(instances(draw(st.sampled_from(schema["anyOf"])), depth))
    kind = schema["type"]
    if isinstance(kind, list):
        return draw(texts | st.none())
    return draw(_of_kind(kind, schema, depth))


@st.composite
def _of_kind(draw: Draw, kind: str, schema: Any, depth: int) -> Any:
    match kind:
        case "string":
            least = schema.get("minLength", 0)
            most = schema.get("maxLength", least + 4)
            return draw(st.text(st.characters(codec="utf-8"), min_size=least, max_size=most))
        case "integer":
            low, high = schema.get("minimum", -(10**18)), schema.get("maximum", 10**18)
            return draw(st.integers(low, high))
        case "number":
            low, high = schema.get("minimum", -99.5), schema.get("maximum", 99.5)
            low, high = min(low, high), max(low, high)
            return draw(st.sampled_from([low, high, _between(low, high)]))
        case "boolean":
            return draw(st.booleans())
        case "null":
            return None
        case "array":
            least = schema.get("minItems", 0)
            count = draw(st.integers(least, schema.get("maxItems", least + 2)))
            return [draw(instances(schema["items"], depth + 1)) for _ in range(count)]
        case _:
            return draw(_members(schema, depth))


@st.composite
def _members(draw: Draw, schema: Any, depth: int) -> Any:
    named = list(schema["required"])
    most = schema.get("maxProperties", len(schema["properties"]) + 1)
    for name in schema["properties"].keys() - named:
        few = len(named) < schema.get("minProperties", 0)
        if few or (len(named) < most and depth < 3 and draw(st.booleans())):
            named.append(name)
    made = {name: draw(instances(schema["properties"][name], depth + 1)) for name in named}
    free = schema.get("additionalProperties", False)  # none are written where it does not say
    if free is not False and len(made) < most and draw(st.booleans()):
        name = draw(keys.filter(lambda key: key not in schema["properties"]))
        made[name] = draw(instances(free, depth + 1))
    return dict(draw(st.permutations(list(made.items()))))


def _rounded(value: float) -> float:
    return round(value, 3)


def _between(low: float, high: float) -> float:
    return min(max(round((low + high) / 2, 4), low), high)
