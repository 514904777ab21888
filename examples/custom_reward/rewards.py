"""A reward by a rule: short answers that end with a full stop, and say so once."""

MAX_WORDS = 12


def brevity(prompts, responses, finished, **kwargs):
    """One number for each response, higher is better: 1 for a short sentence, about -3 for a long-winded answer.

    prompts: conversations, lists of {"role", "content"}. responses: texts. finished: False where one was cut off.
    """
    return [score(text, ended) for text, ended in zip(responses, finished, strict=True)]


def score(text, ended):
    words = text.split()
    too_long = max(0, len(words) - MAX_WORDS) / MAX_WORDS
    repeated = 1 - len({word.lower() for word in words}) / len(words) if words else 1
    return 1.0 * (ended and text.rstrip().endswith(".")) - too_long - repeated
