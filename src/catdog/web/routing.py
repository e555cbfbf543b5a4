"""Numbers in URLs: only those that fit into 64 bits."""

from werkzeug.routing import IntegerConverter


class NumberConverter(IntegerConverter):
    """`<int:…>` of at most 18 digits; longer ones are not found (404)."""

    regex = "[0-9]{1,18}"
