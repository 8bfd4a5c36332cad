"""Being written."""


def handler(event: object, context: object) -> object:
    return event
