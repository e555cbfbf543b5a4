"""How numbers of things are put into words. The page's script does the same: static/js/dom.js."""


def counted(count: int, one: str, several: str | None = None) -> str:
    """Write a number with the noun that follows it, and its verb where there is one: "1 picture was", "1,024 pictures".

    Args:
        count: how many there are.
        one: what follows 1.
        several: what follows any other number, 0 too; where not given, `one` with an s.
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
