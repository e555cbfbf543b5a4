"""Numbers in addresses: only those that a database, a folder or Python can hold."""

from werkzeug.routing import IntegerConverter


class NumberConverter(IntegerConverter):
    """`<int:…>` of at most 18 digits, which fit into 64 bits; at a longer one there is nothing (404)."""

    regex = "[0-9]{1,18}"
